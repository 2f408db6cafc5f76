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


def test_the_hubs_own_clients_accept_the_development_hub(gateway, run):
    script = Path(__file__).with_name("hf_roundtrip.py")
    run(sys.executable, script, env=gateway.hf_environment())
