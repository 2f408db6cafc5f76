"""Polars, deltalake, and DuckDB: what the cells of the compatibility table mean for clients that speak of tables.

put and get write and read Parquet, list finds what a pattern or a table names, range reads one column of a file with many,
multipart writes a table larger than a part, and bytes says that the object is what the same call writes to a local file.
"""

import io
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from conftest import counted
from drivers import DeltaLake, DuckDb, Polars, cell

ROWS = 10_000
# A table of 60 MB: more than any of these clients sends in one part.
LARGE_ROWS = 800_000
# A table so large that clients read it in pieces.
WIDE_ROWS = 200_000


def numbers(rows=ROWS, seed=1):
    """Returns a table with a column that counts, and eight whose numbers no encoding makes smaller than 8 bytes."""
    noise = {name: pc.random(rows, initializer=100 * seed + column) for column, name in enumerate("abcdefgh")}
    return pa.table({"i": pa.array(range(rows))} | noise)


@pytest.fixture
def stored(s3, bucket):
    """Returns a function that reads a Parquet object with boto3 and PyArrow."""
    return lambda key: parquet.read_table(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))


@pytest.fixture
def store(s3, bucket):
    """Returns a function that writes a table with PyArrow and boto3."""

    def write(key, table):
        file = io.BytesIO()
        parquet.write_table(table, file)
        s3.put_object(Bucket=bucket, Key=key, Body=file.getvalue())

    return write


@pytest.fixture
def sent(gateway):
    """Returns a function that says how many bytes of objects the gateway has sent."""

    def count():
        from urllib.request import urlopen

        name = 'hugbucket_sent_bytes_total{operation="GetObject",protocol="s3"}'
        with urlopen(f"{gateway.admin}/metrics") as metrics:
            return next(int(line.split()[-1]) for line in metrics.read().decode().splitlines() if line.startswith(name))

    return count


# === Polars ===


@cell("put", Polars)
def test_polars_writes_parquet(client, stored):
    import polars

    polars.from_arrow(numbers()).write_parquet(client.at("a b/n.parquet"), storage_options=client.options())
    assert stored("a b/n.parquet").cast(numbers().schema) == numbers()


@cell("get", Polars)
def test_polars_reads_parquet(client, store):
    import polars

    store("n.parquet", numbers())
    assert polars.read_parquet(client.at("n.parquet"), storage_options=client.options()).to_arrow() == numbers()


@cell("list", Polars)
def test_polars_scans_a_pattern(client, store):
    import polars

    for number in range(3):
        store(f"in/{number}.parquet", numbers(1000, number))
    store("out/9.parquet", numbers(1000, 9))
    found = polars.scan_parquet(client.at("in/*.parquet"), storage_options=client.options()).collect()
    assert found.to_arrow() == pa.concat_tables([numbers(1000, number) for number in range(3)])


@cell("range", Polars)
def test_polars_reads_one_column_only(client, store, sent):
    import polars

    table = numbers(WIDE_ROWS)
    store("n.parquet", table)
    before = sent()
    got = polars.scan_parquet(client.at("n.parquet"), storage_options=client.options()).select("e").collect()
    assert got.to_arrow() == table.select(["e"])
    assert 0 < sent() - before < table.nbytes / 2


@cell("multipart", Polars)
def test_polars_writes_a_large_table_in_parts(client, gateway, stored):
    import polars

    before = counted(gateway, "CompleteMultipartUpload")
    table = numbers(LARGE_ROWS)
    polars.from_arrow(table).write_parquet(client.at("large.parquet"), storage_options=client.options())
    assert counted(gateway, "CompleteMultipartUpload") == before + 1
    assert stored("large.parquet").cast(table.schema) == table


@cell("bytes", Polars)
def test_polars_writes_what_it_writes_to_a_local_file(client, s3, bucket, tmp_path):
    import polars

    frame = polars.from_arrow(numbers())
    frame.write_parquet(tmp_path / "local.parquet")
    frame.write_parquet(client.at("n.parquet"), storage_options=client.options())
    remote = s3.get_object(Bucket=bucket, Key="n.parquet")["Body"].read()
    assert remote == (tmp_path / "local.parquet").read_bytes()


# === deltalake ===


def table_of(client, name="table"):
    from deltalake import DeltaTable

    return DeltaTable(client.at(name), storage_options=client.options())


def append(client, table, name="table"):
    from deltalake import write_deltalake

    write_deltalake(client.at(name), table, mode="append", storage_options=client.options())


def read(client):
    return pa.table(table_of(client).to_pyarrow_table()).sort_by("i")


@cell("put", DeltaLake)
def test_deltalake_creates_and_appends(client, s3, bucket):
    append(client, numbers(1000))
    append(client, numbers(1000))
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix="table/_delta_log/")["Contents"]]
    assert [f"table/_delta_log/{version:020}.json" in keys for version in range(3)] == [True, True, False]


@cell("get bytes", DeltaLake)
def test_deltalake_reads_the_table_back(client):
    append(client, numbers())
    assert read(client) == numbers()


@cell("list", DeltaLake)
def test_deltalake_finds_the_files_of_the_table(client, s3, bucket):
    append(client, numbers(1000))
    append(client, numbers(1000))
    listed = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix="table/part-")["Contents"]]
    assert sorted(table_of(client).file_uris()) == sorted(client.at(key) for key in listed)


@cell("multipart", DeltaLake)
def test_deltalake_writes_a_large_file_in_parts(client, gateway):
    before = counted(gateway, "CompleteMultipartUpload")
    append(client, numbers(LARGE_ROWS))
    assert counted(gateway, "CompleteMultipartUpload") > before
    assert read(client) == numbers(LARGE_ROWS)


@cell("delete", DeltaLake)
def test_deltalake_vacuums_what_it_deleted(client, s3, bucket):
    append(client, numbers(1000))
    table = table_of(client)
    table.delete()
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="table/part-")
    assert read(client).num_rows == 0


@cell("put", DeltaLake)
def test_concurrent_commits_of_deltalake_all_count(client):
    """A commit is a conditional write of the next version: a lost one would be a lost append."""
    append(client, numbers(10, 0))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: append(client, numbers(10, seed)), range(1, 17)))
    assert table_of(client).version() == 16
    assert read(client).num_rows == 170


# === DuckDB ===


@pytest.fixture
def duck(client):
    with client.connect() as database:
        yield database


@cell("put", DuckDb)
def test_duckdb_writes_parquet(client, duck, stored):
    duck.register("numbers", numbers())
    duck.execute(f"COPY numbers TO '{client.at('n.parquet')}'")
    assert stored("n.parquet") == numbers()


@cell("multipart", DuckDb)
def test_duckdb_writes_a_large_table_in_parts(client, duck, gateway, stored):
    table = numbers(2 * LARGE_ROWS)
    before = counted(gateway, "CompleteMultipartUpload")
    duck.register("numbers", table)
    duck.execute(f"COPY numbers TO '{client.at('large.parquet')}'")
    assert counted(gateway, "CompleteMultipartUpload") == before + 1
    assert stored("large.parquet") == table


@cell("get", DuckDb)
def test_duckdb_reads_parquet(client, duck, store):
    store("n.parquet", numbers())
    assert pa.table(duck.execute(f"FROM '{client.at('n.parquet')}'").to_arrow_table()) == numbers()


@cell("list", DuckDb)
def test_duckdb_expands_a_pattern(client, duck, store):
    for key in ["in/a b.parquet", "in/deep/c.parquet", "in/d.csv", "out/e.parquet"]:
        store(key, numbers(10))
    found = duck.execute(f"FROM glob('{client.at('in/**/*.parquet')}')").fetchall()
    assert sorted(found) == [(client.at("in/a b.parquet"),), (client.at("in/deep/c.parquet"),)]


@cell("range", DuckDb)
def test_duckdb_reads_one_column_only(client, duck, store, sent):
    table = numbers(WIDE_ROWS)
    store("n.parquet", table)
    before = sent()
    got = duck.execute(f"SELECT e FROM '{client.at('n.parquet')}'").to_arrow_table()
    assert got == table.select(["e"])
    assert 0 < sent() - before < table.nbytes / 2


@cell("bytes", DuckDb)
def test_duckdb_writes_what_it_writes_to_a_local_file(client, duck, s3, bucket, tmp_path):
    duck.register("numbers", numbers())
    duck.execute(f"COPY numbers TO '{tmp_path / 'local.csv'}'")
    duck.execute(f"COPY numbers TO '{client.at('n.csv')}'")
    assert s3.get_object(Bucket=bucket, Key="n.csv")["Body"].read() == (tmp_path / "local.csv").read_bytes()
