"""The clients of the compatibility table, one class each, one file for each family.

`base.py` says what a client is; `ftp.py` holds those that speak FTP, which have a table of their own. `test_matrix.py` and
`test_ftp.py` run the operations, byte for byte; `table.py` writes what came out into the README.
"""

from .aws import AwsCli, AwsCli2, AwsCli2Defaults, Boto3, Crt, S3Transfer
from .base import MIB, OPERATIONS, Absent, Client, cell, files
from .stores import MinioPy, Obstore, PyArrow
from .tables import DeltaLake, DuckDb, Dvc, Polars
from .tools import Curl, Rclone, S3cmd, S5cmd
from .workers import Aiobotocore, AwsSdkGo, AwsSdkJs, MinioGo, S3fs

# In the order of the table.
ROWS = (
    AwsCli,
    AwsCli2Defaults,
    AwsCli2,
    Boto3,
    S3Transfer,
    Aiobotocore,
    S3fs,
    Crt,
    AwsSdkJs,
    AwsSdkGo,
    MinioPy,
    MinioGo,
    PyArrow,
    Obstore,
    Rclone,
    S5cmd,
    S3cmd,
    Curl,
    Polars,
    DeltaLake,
    DuckDb,
    Dvc,
)

__all__ = ["MIB", "OPERATIONS", "ROWS", "Absent", "Client", "cell", "files"] + [row.__name__ for row in ROWS]
