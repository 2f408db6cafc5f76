//! What a client of S3 does all day.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use reqwest::Method;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::content::Content;
use crate::dice::Dice;
use crate::ledger::Pending;
use crate::register::Fate;
use crate::s3::{Answer, Request, Signed, Signing, client, element, elements};
use crate::stand::{Address, BUCKET};
use crate::world::{MARK, SOURCES, World, shared_key, source_content, source_key, source_mark};

/// A kind of operation.
#[derive(Debug, Clone, Copy)]
enum Work {
    Put,
    PutIfAbsent,
    PutIfMatch,
    PutThenGet,
    Multipart,
    Copy,
    Delete,
    DeleteMany,
    Tag,
    Leave,
    Get,
    GetRange,
    GetAndLeave,
    GetTags,
    Head,
    List,
}

/// How often each is done.
const WORK: &[(u64, Work)] = &[
    (14, Work::Put),
    (5, Work::PutIfAbsent),
    (4, Work::PutIfMatch),
    (10, Work::PutThenGet),
    (2, Work::Multipart),
    (6, Work::Copy),
    (4, Work::Delete),
    (3, Work::DeleteMany),
    (4, Work::Tag),
    (3, Work::Leave),
    (20, Work::Get),
    (8, Work::GetRange),
    (2, Work::GetAndLeave),
    (5, Work::GetTags),
    (4, Work::Head),
    (4, Work::List),
];

/// A client.
pub(crate) struct Worker {
    pub(super) world: Arc<World>,
    number: u64,
    pub(super) dice: Dice,
    pub(super) http: reqwest::Client,
}

impl Worker {
    pub(crate) fn new(world: Arc<World>, number: u64) -> Self {
        Self {
            dice: Dice::of(world.seed, number),
            http: client(),
            world,
            number,
        }
    }

    /// Works until the time is over, and ends with a write that nobody replaces.
    pub(crate) async fn work(mut self) {
        while self.world.goes_on() {
            self.world.stand.is_up().await;
            match self.dice.weighted(WORK) {
                Work::Put => self.put().await,
                Work::PutIfAbsent => self.put_if_absent().await,
                Work::PutIfMatch => self.put_if_match().await,
                Work::PutThenGet => self.put_then_get().await,
                Work::Multipart => self.multipart().await,
                Work::Copy => self.copy().await,
                Work::Delete => self.delete().await,
                Work::DeleteMany => self.delete_many().await,
                Work::Tag => self.tag().await,
                Work::Leave => self.leave().await,
                Work::Get => self.get().await,
                Work::GetRange => self.get_range().await,
                Work::GetAndLeave => self.get_and_leave().await,
                Work::GetTags => self.get_tags().await,
                Work::Head => self.head().await,
                Work::List => self.list().await,
            }
        }
        let key = format!("end/c{}", self.number);
        while self.put_to(&key).await != Fate::Done && self.world.has_time() {
            self.world.stand.is_up().await;
        }
    }

    /// Stores the objects that copies are made of.
    pub(crate) async fn store_sources(&self) {
        for number in 0..SOURCES {
            let request = Request::new(Method::PUT, &source_key(number))
                .header("x-amz-meta-mark", source_mark(number))
                .body(source_content(number).bytes(), Signing::Unsigned);
            let stored = request.send(&self.http, &self.address().s3).await.unwrap();
            assert_eq!(stored.status, 200, "{}", stored.text());
        }
    }

    pub(super) fn address(&self) -> Address {
        self.world.stand.address()
    }

    pub(super) fn own_key(&mut self) -> String {
        format!("own/c{}/k{}", self.number, self.dice.below(4))
    }

    /// Returns a key that others use too, or one of this client's own.
    pub(super) fn any_key(&mut self) -> String {
        match self.dice.below(3) {
            0 => self.own_key(),
            _ => shared_key(&mut self.dice),
        }
    }

    fn signing(&mut self) -> Signing {
        self.dice.weighted(&[
            (2, Signing::Unsigned),
            (1, Signing::Whole),
            (2, Signing::Chunks),
        ])
    }

    fn mark(&mut self) -> Option<String> {
        let mark = self.dice.next();
        mark.is_multiple_of(3).then(|| format!("{MARK}{mark:016x}"))
    }

    async fn put(&mut self) {
        let key = self.any_key();
        self.put_to(&key).await;
    }

    async fn put_to(&mut self, key: &str) -> Fate {
        self.put_with("put", key, |request| request, &[]).await.0
    }

    /// Stores new content under a key, and returns what became of it.
    async fn put_with(
        &mut self,
        name: &'static str,
        key: &str,
        condition: impl FnOnce(Request) -> Request,
        expected: &[u16],
    ) -> (Fate, Pending, u16) {
        let (content, mark, signing) = (Content::draw(&mut self.dice), self.mark(), self.signing());
        let request = Request::new(Method::PUT, key).body(content.bytes(), signing);
        let request = match &mark {
            Some(mark) => request.header("x-amz-meta-mark", mark),
            None => request,
        };
        let address = self.address();
        let ledger = &self.world.ledger;
        let pending = ledger.begin(key, Some(&content), mark.as_deref(), address.generation);
        let answer = condition(request).send(&self.http, &address.s3).await;
        let fate = self.world.fate(name, key, &answer, expected);
        self.world.ledger.end(&pending, fate);
        self.world.operation(name, &pending, fate);
        let status = answer.map_or(0, |answer| answer.status);
        (fate, pending, status)
    }

    async fn put_if_absent(&mut self) {
        let key = self.any_key();
        let condition = |request: Request| request.header("if-none-match", "*");
        let put = self.put_with("put-if-absent", &key, condition, &[412, 409]);
        let (fate, pending, status) = put.await;
        match (fate, status) {
            (Fate::Done, _) => self.world.ledger.was_first(&pending),
            (_, 412) => self.world.ledger.was_there(&pending),
            _ => {}
        }
    }

    async fn put_if_match(&mut self) {
        let key = self.any_key();
        let Some((value, etag)) = self.get_from(&key).await else {
            return;
        };
        let condition = |request: Request| request.header("if-match", etag);
        let put = self.put_with("put-if-match", &key, condition, &[404, 409, 412]);
        if let (Fate::Done, pending, _) = put.await {
            self.world.ledger.replaced(&pending, value);
        }
    }

    async fn put_then_get(&mut self) {
        let key = self.own_key();
        self.put_to(&key).await;
        self.get_from(&key).await;
    }

    async fn multipart(&mut self) {
        let key = self.any_key();
        let (parts, mark) = (Content::draw_parts(&mut self.dice), self.mark());
        let is_given_up = self.dice.below(5) == 0;
        let address = self.address();
        let begin = Request::new(Method::POST, &key).query("uploads", "");
        let begin = match &mark {
            Some(mark) => begin.header("x-amz-meta-mark", mark),
            None => begin,
        };
        let Some(begun) = self.step("begin upload", &key, begin, &address).await else {
            return;
        };
        let upload = begun.element("UploadId").unwrap_or_default();
        let mut document = String::new();
        for (index, part) in parts.iter().enumerate() {
            let request = Request::new(Method::PUT, &key)
                .query("partNumber", (index + 1).to_string())
                .query("uploadId", &upload)
                .body(part.bytes(), self.signing());
            let Some(sent) = self.step("upload part", &key, request, &address).await else {
                return;
            };
            let etag = sent.header("etag").unwrap_or_default();
            let number = index + 1;
            document.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            ));
        }
        if is_given_up {
            let abort = Request::new(Method::DELETE, &key).query("uploadId", &upload);
            self.step("abort upload", &key, abort, &address).await;
            return;
        }
        let whole = parts.iter().skip(1);
        let content = whole.fold(parts[0].clone(), |content, part| content.then(part));
        let document = format!("<CompleteMultipartUpload>{document}</CompleteMultipartUpload>");
        let request = Request::new(Method::POST, &key)
            .query("uploadId", &upload)
            .body(document.into_bytes(), Signing::Whole);
        let ledger = &self.world.ledger;
        let pending = ledger.begin(&key, Some(&content), mark.as_deref(), address.generation);
        let answer = request.send(&self.http, &address.s3).await;
        let fate = self.world.fate("complete upload", &key, &answer, &[]);
        self.world.ledger.end(&pending, fate);
        self.world.operation("complete upload", &pending, fate);
    }

    /// Sends a request that no object depends on, and returns the answer if it is a success.
    async fn step(
        &self,
        name: &'static str,
        key: &str,
        request: Request,
        address: &Address,
    ) -> Option<Answer> {
        let from = self.world.ledger.now();
        let answer = request.send(&self.http, &address.s3).await;
        let fate = self.world.fate(name, key, &answer, &[]);
        let is_done = fate == Fate::Done;
        self.world.ledger.operation(name, from, !is_done);
        answer.ok().filter(|_| is_done)
    }

    async fn copy(&mut self) {
        let (key, source) = (self.any_key(), self.dice.below(SOURCES));
        let address = self.address();
        let (content, mark) = (source_content(source), source_mark(source));
        let request = Request::new(Method::PUT, &key).header(
            "x-amz-copy-source",
            format!("/{BUCKET}/{}", source_key(source)),
        );
        let ledger = &self.world.ledger;
        let pending = ledger.begin(&key, Some(&content), Some(&mark), address.generation);
        let answer = request.send(&self.http, &address.s3).await;
        let fate = self.world.fate("copy", &key, &answer, &[]);
        self.world.ledger.end(&pending, fate);
        self.world.operation("copy", &pending, fate);
    }

    async fn delete(&mut self) {
        let key = self.any_key();
        let address = self.address();
        let pending = (self.world.ledger).begin(&key, None, None, address.generation);
        let request = Request::new(Method::DELETE, &key);
        let answer = request.send(&self.http, &address.s3).await;
        let fate = self.world.fate("delete", &key, &answer, &[]);
        self.world.ledger.end(&pending, fate);
        self.world.operation("delete", &pending, fate);
    }

    async fn delete_many(&mut self) {
        let mut keys: Vec<String> = (0..=self.dice.below(4)).map(|_| self.any_key()).collect();
        keys.sort_unstable();
        keys.dedup();
        let address = self.address();
        let objects: String = (keys.iter())
            .map(|key| format!("<Object><Key>{key}</Key></Object>"))
            .collect();
        let document = format!("<Delete>{objects}</Delete>").into_bytes();
        let pending: Vec<Pending> = (keys.iter())
            .map(|key| (self.world.ledger).begin(key, None, None, address.generation))
            .collect();
        let request = Request::new(Method::POST, "")
            .query("delete", "")
            .header("content-md5", STANDARD.encode(Md5::digest(&document)))
            .body(document, Signing::Whole);
        let answer = request.send(&self.http, &address.s3).await;
        let fate = self.world.fate("delete objects", &keys[0], &answer, &[]);
        let text = answer.map(|answer| answer.text()).unwrap_or_default();
        let failed = elements(&text, "Error");
        for (key, pending) in keys.iter().zip(&pending) {
            let error = (failed.iter()).find(|error| element(error, "Key") == Some(key));
            let fate = match error {
                // What is wrong with one of them is the upstream's fault here.
                Some(_) => Fate::Failed,
                None => fate,
            };
            self.world.ledger.end(pending, fate);
        }
        self.world.operation("delete objects", &pending[0], fate);
    }

    async fn tag(&mut self) {
        let key = self.own_key();
        let tag = format!("{:016x}", self.dice.next());
        let address = self.address();
        let document = format!(
            "<Tagging><TagSet><Tag><Key>mark</Key><Value>{tag}</Value></Tag></TagSet></Tagging>"
        );
        let document = document.into_bytes();
        let request = Request::new(Method::PUT, &key)
            .query("tagging", "")
            .header("content-md5", STANDARD.encode(Md5::digest(&document)))
            .body(document, Signing::Whole);
        let pending = (self.world.ledger).begin_tags(&key, &tag, address.generation);
        let from = self.world.ledger.now();
        let answer = request.send(&self.http, &address.s3).await;
        let fate = self.world.fate("tag", &key, &answer, &[404, 409]);
        self.world.ledger.end(&pending, fate);
        self.world.operation("tag", &pending, fate);
        if answer.is_ok_and(|answer| answer.status == 404) {
            self.world.ledger.told("tagging", &key, None, from);
        }
    }

    /// Begins to store something, and leaves: in the middle of it, or just before the answer.
    async fn leave(&mut self) {
        let key = shared_key(&mut self.dice);
        let content = Content::of(self.dice.next(), 1000 + self.dice.index(200_000));
        let is_whole = self.dice.below(4) == 0;
        let address = self.address();
        let pending = (self.world.ledger).begin(&key, Some(&content), None, address.generation);
        let request = Request::new(Method::PUT, &key).body(content.bytes(), Signing::Unsigned);
        let signed = request.sign(&address.s3);
        let sent = match is_whole {
            true => signed.body.len(),
            false => self.dice.index(signed.body.len()),
        };
        let _ = begin(&address.s3, &signed, sent).await;
        let fate = match is_whole {
            true => Fate::Unanswered,
            false => Fate::Refused,
        };
        self.world.ledger.end(&pending, fate);
        self.world.operation("leave", &pending, fate);
    }
}

/// Sends the head of a request and so many bytes of its body, and closes the connection.
async fn begin(host: &str, signed: &Signed, sent: usize) -> std::io::Result<()> {
    let headers: String = (signed.headers.iter())
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let (method, target, len) = (&signed.method, &signed.target, signed.body.len());
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: {host}\r\n{headers}content-length: {len}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&signed.body[..sent]).await?;
    stream.shutdown().await
}
