"""Clients that speak of tables and versions, not of objects; `test_tables.py` and `test_dvc.py` say what their cells mean."""

from .base import Absent, Client, output, package
from .workers import fsspec_python


class Polars(Client):
    """Polars: data frames in Parquet."""

    name = "Polars"
    settings = "`aws_allow_http` for an endpoint without TLS"

    @classmethod
    def version(cls):
        return package("polars")

    def options(self):
        """Returns what object_store must be told; Polars and deltalake take it alike."""
        return {
            "aws_endpoint_url": self.gateway.s3,
            "aws_region": "us-east-1",
            "aws_access_key_id": self.gateway.access_key,
            "aws_secret_access_key": self.gateway.secret_key,
            "aws_allow_http": "true",
        }

    def at(self, key):
        return f"s3://{self.bucket}/{key}"


class DeltaLake(Polars):
    """deltalake: tables whose commits are conditional writes."""

    name = "deltalake"

    @classmethod
    def version(cls):
        return package("deltalake")


class DuckDb(Client):
    """DuckDB with its extension httpfs, as a Python package ships it."""

    name = "DuckDB (httpfs)"
    settings = "`URL_STYLE 'path'` unless buckets have host names"

    @classmethod
    def version(cls):
        package("duckdb-extension-httpfs")
        return package("duckdb")

    def connect(self):
        """Returns a connection for which `s3://` is this gateway."""
        import duckdb
        from importlib import resources

        extension = next(resources.files("duckdb_extension_httpfs").glob("extensions/*/*.duckdb_extension"))
        database = duckdb.connect()
        database.execute(f"LOAD '{extension}'")
        host = self.gateway.s3.removeprefix("http://")
        database.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{self.gateway.access_key}', SECRET '{self.gateway.secret_key}',"
            f" ENDPOINT '{host}', USE_SSL false, URL_STYLE 'path')"
        )
        return database

    def at(self, key):
        return f"s3://{self.bucket}/{key}"


class Dvc(Client):
    """DVC with its S3 remote."""

    name = "DVC (dvc-s3)"

    @classmethod
    def version(cls):
        said = output(fsspec_python(), "-m", "dvc", "--version").strip()
        if not said:
            raise Absent("dvc is not installed")
        return said

    def dvc(self, *arguments):
        # A site without analytics and update checks, and configuration that is nobody else's.
        return self.run(
            fsspec_python(), "-m", "dvc", *arguments,
            DVC_NO_ANALYTICS="1",
            DVC_GLOBAL_CONFIG_DIR=self.directory / "global",
            DVC_SYSTEM_CONFIG_DIR=self.directory / "system",
            DVC_SITE_CACHE_DIR=self.directory / "site",
            CI="1",
        )  # fmt: skip
