// The worker for AWS's SDK for JavaScript; see `workers.py` for what it is asked.

const fs = require("node:fs");
const { pipeline } = require("node:stream/promises");
const {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3Client,
  paginateListObjectsV2,
} = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");

// The SDK puts the bucket into the host name, and an address has no subdomains.
const s3 = new S3Client({ forcePathStyle: true });

const operations = {
  async put(Bucket, Key, file) {
    await s3.send(new PutObjectCommand({ Bucket, Key, Body: fs.createReadStream(file), ContentLength: fs.statSync(file).size }));
  },

  async multipart(Bucket, Key, file) {
    await new Upload({ client: s3, params: { Bucket, Key, Body: fs.createReadStream(file) } }).done();
  },

  async get(Bucket, Key, file) {
    const answer = await s3.send(new GetObjectCommand({ Bucket, Key }));
    await pipeline(answer.Body, fs.createWriteStream(file));
  },

  async range(Bucket, Key, first, last) {
    const answer = await s3.send(new GetObjectCommand({ Bucket, Key, Range: `bytes=${first}-${last}` }));
    // Not writeSync: a pipe may take only a part of it.
    process.stdout.write(await answer.Body.transformToByteArray());
  },

  async list(Bucket, Prefix) {
    const keys = [];
    for await (const page of paginateListObjectsV2({ client: s3 }, { Bucket, Prefix })) {
      keys.push(...(page.Contents ?? []).map((found) => found.Key));
    }
    console.log(JSON.stringify(keys));
  },

  async copy(Bucket, source, Key) {
    const CopySource = `${Bucket}/${source.split("/").map(encodeURIComponent).join("/")}`;
    await s3.send(new CopyObjectCommand({ Bucket, Key, CopySource }));
  },

  async delete(Bucket, Key) {
    await s3.send(new DeleteObjectCommand({ Bucket, Key }));
  },

  async version() {
    console.log(require("@aws-sdk/client-s3/package.json").version);
  },
};

async function main(operation, bucket, ...words) {
  if (operation !== "put" && operation !== "get") {
    return operations[operation](bucket, ...words);
  }
  for (let at = 0; at < words.length; at += 2) {
    await operations[operation](bucket, words[at], words[at + 1]);
  }
}

main(...process.argv.slice(2));
