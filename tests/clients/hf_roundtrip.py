#!/usr/bin/env python3
"""Runs the real Hugging Face clients against an endpoint and compares every byte.

Covers `huggingface_hub` with `hf_xet`, and the `hf` command: create, upload, list, look up, download, copy, sync,
move, settings, delete, and what must be refused. Install the versions that the project is checked against, then run:

    python3 -m venv .venv && .venv/bin/pip install huggingface_hub==2.4.0 hf_xet==1.8.0
    hugbucket devhub --addr 127.0.0.1:8800 &
    HF_ENDPOINT=http://127.0.0.1:8800 HF_TOKEN=<its token> .venv/bin/python tests/clients/hf_roundtrip.py

It creates one bucket with a random name and deletes it. Exit status 0 means that everything held.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# The clients keep caches of what they uploaded; a fresh home keeps runs independent of each other.
HOME = tempfile.mkdtemp(prefix="hf-roundtrip-")
os.environ["HF_HOME"] = HOME
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["NO_COLOR"] = "1"

if not os.environ.get("HF_ENDPOINT") or not os.environ.get("HF_TOKEN"):
    sys.exit("set HF_ENDPOINT and HF_TOKEN")

from huggingface_hub import HfApi  # noqa: E402
from huggingface_hub.errors import BucketNotFoundError, HfHubHTTPError  # noqa: E402

SIZES = [0, 1, 65535, 65536, 65537, 5 << 20]
HF = Path(sys.executable).with_name("hf")
passed = 0


def step(name):
    """Prints what is about to be checked."""
    global passed
    passed += 1
    print(f"{passed:2}. {name}", flush=True)


def content(size, seed):
    return random.Random(seed).randbytes(size)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def hf(*arguments):
    """Runs the `hf` command and returns what it prints."""
    done = subprocess.run([str(HF), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"hf {' '.join(arguments)}: {done.stdout}\n{done.stderr}"
    return done.stdout


def paths(api, bucket, **options):
    return sorted(item.path for item in api.list_bucket_tree(bucket, recursive=True, **options))


def download(api, bucket, names, to):
    api.download_bucket_files(bucket, [(name, to / name) for name in names], raise_on_missing_files=True)
    return {name: (to / name).read_bytes() for name in names}


def library(api, bucket, work):
    step("create: a second time is a conflict, unless that is allowed")
    url = api.create_bucket(bucket, private=True)
    assert url.bucket_id == bucket, url
    api.create_bucket(bucket, exist_ok=True)
    try:
        api.create_bucket(bucket)
        raise AssertionError("created twice")
    except HfHubHTTPError as error:
        assert error.response.status_code == 409, error
    assert api.bucket_info(bucket).private
    assert bucket in [info.id for info in api.list_buckets()]

    step("upload: six sizes, from memory and from files")
    files = {f"sizes/{size}.bin": content(size, size) for size in SIZES}
    files["text/a b#c%?.txt"] = b"hello " * 40000
    local = work / "local"
    for name, data in files.items():
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).write_bytes(data)
    half = len(files) // 2
    names = list(files)
    api.batch_bucket_files(bucket, add=[(files[name], name) for name in names[:half]])
    api.batch_bucket_files(bucket, add=[(local / name, name) for name in names[half:]])

    step("list: every path, with its size")
    assert paths(api, bucket) == sorted(files)
    assert {item.path: item.size for item in api.list_bucket_tree(bucket, recursive=True)} == {
        name: len(data) for name, data in files.items()
    }
    top = [item.path for item in api.list_bucket_tree(bucket, recursive=False)]
    assert sorted(top) == ["sizes", "text"], top
    info = api.bucket_info(bucket)
    assert (info.total_files, info.size) == (len(files), sum(map(len, files.values()))), info

    step("look up: found files only")
    found = list(api.get_bucket_paths_info(bucket, ["sizes/1.bin", "sizes/none"]))
    assert [(item.path, item.size) for item in found] == [("sizes/1.bin", 1)], found

    step("download: byte for byte")
    assert download(api, bucket, list(files), work / "down") == files

    step("copy: within the bucket and to another one, by hash")
    api.copy_files(f"hf://buckets/{bucket}/sizes/65537.bin", f"hf://buckets/{bucket}/copies/one.bin")
    other = f"{bucket}-copy"
    api.create_bucket(other)
    api.copy_files(f"hf://buckets/{bucket}/sizes/", f"hf://buckets/{other}/all/")
    assert paths(api, other) == sorted(f"all/{size}.bin" for size in SIZES)
    copied = download(api, bucket, ["copies/one.bin"], work / "copy")
    assert digest(copied["copies/one.bin"]) == digest(files["sizes/65537.bin"])
    five = f"all/{5 << 20}.bin"
    assert download(api, other, [five], work / "other")[five] == files[f"sizes/{5 << 20}.bin"]

    step("move and settings")
    moved = f"{bucket}-moved"
    api.move_bucket(other, moved)
    api.update_bucket_settings(moved, private=True)
    assert api.bucket_info(moved).private
    api.delete_bucket(moved)
    try:
        api.bucket_info(moved)
        raise AssertionError("still there")
    except BucketNotFoundError:
        pass

    step("overwrite and delete in one batch")
    fresh = content(200_000, "fresh")
    api.batch_bucket_files(bucket, add=[(fresh, "sizes/1.bin")], delete=["sizes/65535.bin", "copies/one.bin"])
    assert download(api, bucket, ["sizes/1.bin"], work / "fresh")["sizes/1.bin"] == fresh
    assert "sizes/65535.bin" not in paths(api, bucket)


def plain_http(api, bucket):
    step("resolve: a redirect to another origin that honours ranges")
    import httpx2

    data = content(5 << 20, 5 << 20)
    auth = {"Authorization": f"Bearer {os.environ['HF_TOKEN']}"}
    url = f"{api.endpoint}/buckets/{bucket}/resolve/sizes/{5 << 20}.bin"
    redirect = httpx2.get(url, headers=auth, follow_redirects=False)
    assert redirect.status_code == 302, redirect
    target = redirect.headers["location"]
    assert httpx2.get(target).content == data
    part = httpx2.get(target, headers={"Range": "bytes=1000000-3000000"})
    assert part.status_code == 206 and part.content == data[1000000:3000001]
    assert httpx2.get(url, follow_redirects=False).status_code == 401


def command(bucket, work):
    step("hf: who am I, list, copy in and out")
    assert bucket.split("/")[0] in hf("auth", "whoami")
    uri = f"hf://buckets/{bucket}"
    data = content(300_000, "command")
    (work / "in.bin").write_bytes(data)
    hf("buckets", "cp", str(work / "in.bin"), f"{uri}/command/in.bin")
    assert "in.bin" in hf("buckets", "list", bucket, "-R")
    hf("buckets", "cp", f"{uri}/command/in.bin", str(work / "out.bin"))
    assert (work / "out.bin").read_bytes() == data

    step("hf: sync up, change, sync up with --delete, sync down")
    tree = work / "tree"
    (tree / "deep").mkdir(parents=True)
    for number in range(20):
        (tree / "deep" / f"{number}.bin").write_bytes(content(1000 * number, number))
    hf("buckets", "sync", str(tree), f"{uri}/tree")
    (tree / "deep" / "3.bin").unlink()
    (tree / "deep" / "new.bin").write_bytes(b"new")
    hf("buckets", "sync", str(tree), f"{uri}/tree", "--delete")
    back = work / "back"
    hf("buckets", "sync", f"{uri}/tree", str(back))
    read = lambda root: {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}  # noqa: E731
    assert read(back) == read(tree)

    step("hf: remove files and the bucket")
    hf("buckets", "rm", f"{bucket}/tree", "--recursive", "--yes")
    assert "tree/" not in hf("buckets", "list", bucket, "-R")
    hf("buckets", "delete", bucket, "--yes")


def main():
    api = HfApi()
    bucket = f"{api.whoami()['name']}/roundtrip-{int(time.time())}-{os.getpid()}"
    work = Path(tempfile.mkdtemp(prefix="hf-roundtrip-work-"))
    try:
        library(api, bucket, work)
        plain_http(api, bucket)
        command(bucket, work)
        print(f"all {passed} steps held")
    finally:
        for name in (bucket, f"{bucket}-copy", f"{bucket}-moved"):
            api.delete_bucket(name, missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(HOME, ignore_errors=True)


if __name__ == "__main__":
    main()
