"""Both doors lead to the same files: what the Hub's own clients write, S3 reads, and the other way round."""

import random
import sys
from pathlib import Path


def hf_script(run, gateway, source):
    """Runs Python code with huggingface_hub in a process of its own: it reads its environment when it is imported."""
    return run(sys.executable, "-c", source, env=gateway.hf_environment())


def test_the_hub_sees_what_s3_wrote(gateway, s3, run, bucket, tmp_path):
    data = random.Random(1).randbytes(3_000_000)
    s3.put_object(Bucket=bucket, Key="models/weights.bin", Body=data)
    hf_script(run, gateway, f"""
from huggingface_hub import HfApi
HfApi().download_bucket_files(
    "{gateway.namespace}/{bucket}", files=[("models/weights.bin", "{tmp_path / 'weights.bin'}")]
)""")
    assert (tmp_path / "weights.bin").read_bytes() == data


def test_s3_sees_what_the_hub_wrote(gateway, s3, run, bucket, tmp_path):
    data = random.Random(2).randbytes(3_000_000)
    (tmp_path / "weights.bin").write_bytes(data)
    hf_script(run, gateway, f"""
from huggingface_hub import HfApi
HfApi().batch_bucket_files(
    "{gateway.namespace}/{bucket}", add=[("{tmp_path / 'weights.bin'}", "models/weights.bin")]
)""")
    assert s3.get_object(Bucket=bucket, Key="models/weights.bin")["Body"].read() == data


def test_metadata_never_outlives_what_the_hub_replaced(start_gateway, run, tmp_path):
    # Without a cache, what the Hub's client does is seen at once.
    with start_gateway(HUGBUCKET_FILE_INFO_CACHE_TTL="0s") as gateway:
        s3 = gateway.client()
        s3.create_bucket(Bucket="replaced")
        data = random.Random(3).randbytes(100_000)
        keys = ("same", "other", "gone")

        def put(key, **metadata):
            s3.put_object(Bucket="replaced", Key=key, Body=data, Metadata=metadata)

        def metadata(key):
            head = s3.head_object(Bucket="replaced", Key=key)
            return head["Metadata"], head["ResponseMetadata"]["HTTPHeaders"]["etag"]

        for key in keys:
            put(key, who="me")
        tag = metadata("same")[1]
        assert metadata("same") == metadata("gone") == ({"who": "me"}, tag)
        (tmp_path / "same").write_bytes(data)
        (tmp_path / "other").write_bytes(data[::-1])
        hf_script(run, gateway, f"""
from huggingface_hub import HfApi
HfApi().batch_bucket_files(
    "{gateway.namespace}/replaced",
    add=[("{tmp_path / 'same'}", "same"), ("{tmp_path / 'other'}", "other")],
    delete=["gone"],
)""")
        assert metadata("same") == ({}, tag)
        assert metadata("other")[0] == {}
        assert "gone" not in [found["Key"] for found in s3.list_objects_v2(Bucket="replaced")["Contents"]]
        put("gone")
        assert metadata("gone") == ({}, tag)


def test_the_hubs_own_clients_accept_the_development_hub(gateway, run):
    script = Path(__file__).with_name("hf_roundtrip.py")
    run(sys.executable, script, env=gateway.hf_environment())
