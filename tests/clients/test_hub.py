"""Both doors lead to the same files: what the Hub's own clients write, S3 reads, and the other way round."""

import hashlib
import random
import sys
from pathlib import Path

import pytest

from drivers import MIB, AwsCli, Boto3, Rclone

SIZES = [0, 1, 65_535, 65_536, 65_537, 5 * MIB]
LARGE_SIZES = [64 * MIB - 1, 64 * MIB, 64 * MIB + 1]
HUGE = 512 * MIB
KEYS = ["a b", "a+b", "a%20b", "a#b", "a?b", "ä/ü/日本"]


def pieces(size, seed):
    """Yields content of a size, 8 MiB at a time and never twice the same."""
    dice = random.Random(f"{size} {seed}")
    for at in range(0, size, 8 * MIB):
        yield dice.randbytes(min(8 * MIB, size - at))


def write(path, size, seed=0):
    """Writes a file of random content, and returns its digest."""
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for piece in pieces(size, seed):
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def digest(path):
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(8 * MIB):
            found.update(piece)
    return found.hexdigest()


@pytest.fixture
def hf(gateway, tool, run, bucket):
    """Returns a function that runs `hf buckets`; where it says `{bucket}`, it means the test's bucket."""
    command, uri = tool("hf"), f"hf://buckets/{gateway.namespace}/{bucket}"

    def call(*words):
        words = [str(word).replace("{bucket}", uri) for word in words]
        return run(command, "buckets", *words, env=gateway.hf_environment())

    return call


@pytest.fixture
def client(request, gateway, bucket, tmp_path):
    return request.param(gateway, bucket, tmp_path)


every_client = pytest.mark.parametrize("client", [AwsCli, Boto3, Rclone], indirect=True, ids=lambda row: row.name)


@every_client
def test_hf_reads_what_s3_wrote(client, hf, tmp_path):
    expected = {f"{size}.bin": write(tmp_path / "in" / f"{size}.bin", size) for size in SIZES}
    expected |= {key: write(tmp_path / "in" / key, 1000, key) for key in KEYS}
    client.put_all(tmp_path / "in", "dir/")
    hf("sync", "{bucket}/dir", tmp_path / "out")
    assert {key: digest(tmp_path / "out" / key) for key in expected} == expected


@every_client
def test_s3_reads_what_hf_wrote(client, hf, tmp_path):
    expected = {f"{size}.bin": write(tmp_path / "in" / f"{size}.bin", size) for size in SIZES}
    expected |= {key: write(tmp_path / "in" / key, 1000, key) for key in KEYS}
    hf("sync", tmp_path / "in", "{bucket}/dir")
    client.get_all("dir/", tmp_path / "out", expected)
    assert {key: digest(tmp_path / "out" / key) for key in expected} == expected


def test_large_files_are_the_same_through_both_doors(gateway, bucket, hf, tmp_path):
    """Around 64 MiB, where a xorb ends: S3 writes and `hf` reads, and the other way round."""
    s3 = AwsCli(gateway, bucket, tmp_path)
    expected = {f"{size}.bin": write(tmp_path / "in" / f"{size}.bin", size) for size in LARGE_SIZES}
    s3.put_all(tmp_path / "in", "from-s3")
    hf("sync", "{bucket}/from-s3", tmp_path / "out")
    assert {key: digest(tmp_path / "out" / key) for key in expected} == expected
    # Other content: nothing of it may be known already.
    expected = {f"{size}.bin": write(tmp_path / "in" / f"{size}.bin", size, "hf") for size in LARGE_SIZES}
    hf("sync", tmp_path / "in", "{bucket}/from-hf")
    s3.get_all("from-hf", tmp_path / "back", expected)
    assert {key: digest(tmp_path / "back" / key) for key in expected} == expected


@pytest.mark.e2e
@every_client
def test_hf_reads_a_huge_file_that_s3_wrote(client, hf, tmp_path):
    expected = write(tmp_path / "in.bin", HUGE, client.name)
    client.multipart("huge.bin", tmp_path / "in.bin")
    hf("cp", "{bucket}/huge.bin", tmp_path / "out.bin")
    assert digest(tmp_path / "out.bin") == expected


@pytest.mark.e2e
@every_client
def test_s3_reads_a_huge_file_that_hf_wrote(client, hf, tmp_path):
    expected = write(tmp_path / "in.bin", HUGE, f"hf {client.name}")
    hf("cp", tmp_path / "in.bin", "{bucket}/huge.bin")
    client.get("huge.bin", tmp_path / "out.bin")
    assert digest(tmp_path / "out.bin") == expected


def test_the_library_and_s3_see_the_same_names(gateway, s3, run, bucket):
    for key in ("models/weights.bin", *KEYS):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    script = f"""
from huggingface_hub import HfApi
for item in HfApi().list_bucket_tree("{gateway.namespace}/{bucket}", recursive=True):
    print(item.path)"""
    # In a process of its own: huggingface_hub reads its environment when it is imported.
    listed = run(sys.executable, "-c", script, env=gateway.hf_environment(PYTHONIOENCODING="utf-8"))
    assert sorted(listed.splitlines()) == sorted(["models/weights.bin", *KEYS])


def test_the_hubs_own_clients_accept_the_development_hub(gateway, run):
    script = Path(__file__).with_name("hf_roundtrip.py")
    run(sys.executable, script, env=gateway.hf_environment())
