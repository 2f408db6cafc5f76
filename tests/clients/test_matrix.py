"""Every client, every operation, default settings: the cells of the README's compatibility table.

Each test has boto3 on the other side, so that a client never only agrees with itself: what it writes boto3 reads, and the
other way round. Contents are random, and compared byte for byte.
"""

import random

import pytest
from botocore.exceptions import ClientError

from conftest import counted
from drivers import MIB, ROWS, cell

SIZES = [0, 1, 65_535, 65_536, 65_537, 5 * MIB]
KEYS = ["a b", "a+b", "a%20b", "a#b", "a?b", "ä/ü/日本", "deep/er/file.bin"]


def content(size, seed=0):
    return random.Random(seed).randbytes(size)


def offering(operation):
    """Returns the clients of the table that have an operation."""
    return [row for row in ROWS if row.offers(operation)]


@pytest.fixture
def file(tmp_path):
    """Returns a function that writes a local file with the given content."""

    def write(data, name="local.bin"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def stored(s3, bucket):
    """Returns a function that reads an object with boto3."""
    return lambda key: s3.get_object(Bucket=bucket, Key=key)["Body"].read()


@pytest.fixture
def store(s3, bucket):
    """Returns a function that writes an object with boto3."""
    return lambda key, data: s3.put_object(Bucket=bucket, Key=key, Body=data)


@cell("put", *offering("put"))
def test_what_it_puts_others_read(client, file, stored):
    data = content(300_000)
    client.put("dir/ä b+c.bin", file(data))
    assert stored("dir/ä b+c.bin") == data


@cell("get", *offering("get"))
def test_it_gets_what_others_put(client, store, tmp_path):
    data = content(20 * MIB)
    store("dir/ä b+c.bin", data)
    client.get("dir/ä b+c.bin", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == data


@cell("list", *offering("list"))
def test_it_lists_every_key_below_a_prefix_and_no_other(client, store):
    expected = sorted(f"in/{key}" for key in KEYS)
    for key in [*expected, "inside", "out/x"]:
        store(key, b"x")
    assert sorted(client.list("in/")) == expected


@cell("range", *offering("range"))
def test_it_reads_a_part_of_an_object(client, store):
    data = content(300_000)
    store("k", data)
    assert client.range("k", 100_000, 200_000) == data[100_000:200_001]


@cell("multipart", *offering("multipart"))
def test_it_uploads_in_parts(client, file, stored, gateway):
    data = content(client.multipart_bytes + 1)
    before = counted(gateway, "CompleteMultipartUpload")
    client.multipart("dir/large", file(data))
    assert counted(gateway, "CompleteMultipartUpload") == before + 1
    assert stored("dir/large") == data


@cell("copy", *offering("copy"))
@pytest.mark.parametrize("size", [1000, 20 * MIB], ids=["small", "large"])
def test_it_copies(client, size, store, stored):
    data = content(size)
    name = "a b+c%20.bin" if client.copies_any_name else "a.bin"
    store(f"from/{name}", data)
    client.copy(f"from/{name}", f"to/{name}")
    assert stored(f"to/{name}") == data


@cell("delete", *offering("delete"))
def test_it_deletes_one_object_and_no_other(client, s3, bucket, store, stored):
    store("dir/a b+c", b"gone")
    store("dir/a b+cd", b"kept")
    client.delete("dir/a b+c")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=bucket, Key="dir/a b+c")
    assert stored("dir/a b+cd") == b"kept"


@cell("bytes", *offering("bytes"))
def test_all_sizes_and_names_come_back_unchanged(client, file, stored, tmp_path):
    contents = {f"{size}.bin": content(size, size) for size in SIZES}
    names = [key for key in KEYS if "?" not in key or not client.takes_wildcards]
    contents |= {key: content(1000, key) for key in names}
    for key, data in contents.items():
        file(data, f"in/{key}")
    client.put_all(tmp_path / "in", "all/")
    assert {key: stored(f"all/{key}") for key in contents} == contents
    client.get_all("all/", tmp_path / "out", contents)
    assert {key: (tmp_path / "out" / key).read_bytes() for key in contents} == contents
