"""DVC with a remote in a bucket: what the cells of the compatibility table mean for it."""

import random
import shutil

import pytest

from conftest import counted
from drivers import MIB, Dvc, cell


@pytest.fixture
def project(client, bucket):
    """A DVC project whose remote is the bucket, with a directory under its control."""
    client.dvc("init", "--no-scm")
    client.dvc("remote", "add", "--default", "hub", f"s3://{bucket}/dvc")
    data = client.directory / "data"
    data.mkdir()
    for number in range(3):
        (data / f"ä b+{number}.bin").write_bytes(random.Random(number).randbytes(300_000 * number))
    client.dvc("add", "data")
    return client.directory


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def objects(s3, bucket):
    found = s3.list_objects_v2(Bucket=bucket, Prefix="dvc/").get("Contents", [])
    return {entry["Key"]: s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read() for entry in found}


@cell("put get bytes", Dvc)
def test_dvc_pushes_every_file_and_pulls_it_into_an_empty_cache(client, project, s3, bucket):
    before = contents(project / "data")
    client.dvc("push")
    assert set(before.values()) < set(objects(s3, bucket).values())
    shutil.rmtree(project / "data")
    shutil.rmtree(project / ".dvc/cache")
    client.dvc("pull")
    assert contents(project / "data") == before


@cell("list delete", Dvc)
def test_dvc_sees_what_the_remote_lacks_and_collects_what_nothing_refers_to(client, project, s3, bucket):
    client.dvc("push")
    assert b"in sync" in client.dvc("status", "--cloud")
    (project / "data.dvc").unlink()
    (project / "kept").write_bytes(b"kept")
    client.dvc("add", "kept")
    assert b"new:" in client.dvc("status", "--cloud")
    client.dvc("push")
    client.dvc("gc", "--workspace", "--cloud", "--force")
    assert list(objects(s3, bucket).values()) == [b"kept"]


@pytest.mark.e2e
@cell("multipart", Dvc)
def test_dvc_pushes_a_large_file_in_parts(client, project, gateway, s3, bucket):
    # It takes more than twice the part size of s3fs.
    data = random.Random(9).randbytes(101 * MIB)
    (project / "large").write_bytes(data)
    client.dvc("add", "large")
    before = counted(gateway, "CompleteMultipartUpload")
    client.dvc("push")
    assert counted(gateway, "CompleteMultipartUpload") == before + 1
    assert data in objects(s3, bucket).values()
