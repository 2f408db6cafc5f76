"""The aws command with its default settings."""

import random
import subprocess
from urllib.request import urlopen

import pytest

from drivers import Absent, AwsCli, AwsCli2


def test_the_commands_of_the_readme_work(gateway, tool, run, tmp_path):
    aws, environment = tool("aws"), gateway.aws_environment()

    def s3(*arguments):
        return run(aws, "s3", *arguments, env=environment)

    (tmp_path / "README.md").write_text("hello")
    s3("mb", "s3://cli-demo")
    s3("cp", tmp_path / "README.md", "s3://cli-demo/")
    assert "README.md" in s3("ls", "s3://cli-demo/")
    assert s3("cp", "s3://cli-demo/README.md", "-") == "hello"
    s3("rb", "--force", "s3://cli-demo")
    assert "cli-demo" not in s3("ls")


def test_large_objects_are_copied_in_parts(gateway, tool, run, bucket, tmp_path):
    aws, environment = tool("aws"), gateway.aws_environment()
    (tmp_path / "large").write_bytes(random.Random(1).randbytes(20_000_000))
    for source, target in [
        (tmp_path / "large", f"s3://{bucket}/large"),
        # Above 8 MiB the command copies in parts.
        (f"s3://{bucket}/large", f"s3://{bucket}/copy"),
        (f"s3://{bucket}/copy", tmp_path / "copy"),
    ]:
        run(aws, "s3", "cp", source, target, env=environment)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "large").read_bytes()


def test_sync_copies_what_differs_and_nothing_twice(gateway, tool, run, bucket, tmp_path):
    aws, environment = tool("aws"), gateway.aws_environment()
    source, target = tmp_path / "source", tmp_path / "target"
    for number in range(5):
        path = source / f"dir{number % 2}" / f"file {number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(number * 3_000_000))
    run(aws, "s3", "sync", source, f"s3://{bucket}/tree", env=environment)
    assert run(aws, "s3", "sync", source, f"s3://{bucket}/tree", env=environment) == ""
    run(aws, "s3", "sync", f"s3://{bucket}/tree", target, env=environment)
    for path in source.rglob("*.bin"):
        assert (target / path.relative_to(source)).read_bytes() == path.read_bytes()
    (source / "dir0" / "file 0.bin").unlink()
    run(aws, "s3", "sync", "--delete", source, f"s3://{bucket}/tree", env=environment)
    assert "file 0.bin" not in run(aws, "s3", "ls", "--recursive", f"s3://{bucket}/", env=environment)


@pytest.fixture
def presign(gateway, bucket, tmp_path):
    """Returns a function that lets an aws command sign a URL for the object `k`."""

    def sign(client, *settings):
        try:
            client.version()
        except Absent as absent:
            pytest.skip(str(absent))
        cli = client(gateway, bucket, tmp_path)
        for setting in settings:
            cli.run(cli.program(), "configure", "set", *setting, AWS_CONFIG_FILE=tmp_path / "config")
        return cli.aws("s3", "presign", cli.uri("a b+ü"), AWS_CONFIG_FILE=tmp_path / "config").decode().strip()

    return sign


SIGNATURE_4 = ("default.s3.signature_version", "s3v4")


@pytest.mark.parametrize(("client", "settings"), [(AwsCli, [SIGNATURE_4]), (AwsCli2, [])], ids=["1", "2"])
def test_presigned_urls_are_read_without_credentials(client, settings, presign, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b+ü", Body=b"data")
    assert urlopen(presign(client, *settings)).read() == b"data"


def test_version_1_presigns_as_before_2012_unless_told_otherwise(presign, tool):
    """The README says how it is told: this is why it must."""
    url = presign(AwsCli)
    assert "AWSAccessKeyId=" in url
    refused = subprocess.run([tool("curl"), "--silent", url], capture_output=True, text=True).stdout
    assert "<Code>InvalidRequest</Code>" in refused and "AWS4-HMAC-SHA256" in refused
