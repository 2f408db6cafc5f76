"""What the documents of others say of each client; empty where they say nothing.

s3.hf.co: <https://huggingface.co/docs/hub/storage-buckets-s3>, as in huggingface/hub-docs on 2026-08-22, and
<https://github.com/huggingface/huggingface_hub/issues/4594>. Python HugBucket: README.md and tests/test_boto3.py of
<https://github.com/sachnun/hugbucket> at f34dee1. Nobody ran them for this table.
"""

S3_HF_CO = {
    "aws-cli 1": "with 3 settings",
    "aws-cli 1 with the defaults of current 2": "with 3 settings",
    "aws-cli 2": "with 3 settings",
    "boto3": "with 3 settings",
    "s3transfer": "with 3 settings",
    "AWS SDK for JavaScript 3": "GET reads 0 bytes",
    "AWS SDK for Go 2": "GET by redirect",
    "rclone": "with 2 settings, GET by redirect",
    "s5cmd": "GET by redirect",
    "curl --aws-sigv4": "GET by redirect",
    "DuckDB (httpfs)": "with `URL_STYLE 'path'`",
    "DVC (dvc-s3)": "works",
}

PYTHON_HUGBUCKET = {
    "aws-cli 1": "ls, cp",
    "aws-cli 1 with the defaults of current 2": "ls, cp",
    "aws-cli 2": "ls, cp",
    "boto3": "all but copy, in its tests",
}
