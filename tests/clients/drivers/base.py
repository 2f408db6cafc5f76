"""What a client of the compatibility table is, and how tests become its cells."""

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1 << 20

# The columns of the table, in its order.
OPERATIONS = ("put", "get", "list", "range", "multipart", "copy", "delete", "bytes")

# Files of one command may take this long; a debug binary on a busy machine is slow.
COMMAND_TIMEOUT_SECS = 300


class Absent(Exception):
    """The client is not installed on this machine; the text says what is missing."""


class Client:
    """A row of the table: one S3 client with its default settings.

    A subclass implements the operations that its client has. One that stays `None` is a cell without a verdict: nobody can
    ask this client for it. Local content lies in files, so that no driver holds more than its client does.
    """

    name = ""
    # What the client must be told beyond endpoint, credentials, and region.
    settings = ""
    # A size from which on it uploads in parts, and how it is told to where `put` would not do so.
    multipart_bytes = 20 * MIB
    # Rows that must be compiled first are left to `make e2e`.
    is_compiled = False
    # A client may be unable to name some keys as the source of a copy, whatever the server.
    copies_any_name = True
    # A client may take a `?` in a name for a wildcard of its own, whatever the server.
    takes_wildcards = False
    # Operations that are known not to work, and why. A test that passes nevertheless fails.
    broken = {}

    put = get = list = range = copy = delete = None

    def __init__(self, gateway, bucket, directory):
        self.gateway, self.bucket, self.directory = gateway, bucket, Path(directory)

    @classmethod
    def version(cls):
        """Returns what the table shows beside the name, or raises `Absent`."""
        raise NotImplementedError

    def multipart(self, key, path):
        """Uploads a file of `multipart_bytes` in parts."""
        self.put(key, path)

    def put_all(self, folder, prefix):
        """Uploads every file below a folder."""
        for path in files(folder):
            self.put(prefix + path.relative_to(folder).as_posix(), path)

    def get_all(self, prefix, folder, names):
        """Downloads the named objects below a prefix into a folder."""
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.get(prefix + name, folder / name)

    @classmethod
    def offers(cls, operation):
        """Says whether the client has an operation of its own."""
        needed = {"multipart": ("put",), "bytes": ("put", "get")}.get(operation, (operation,))
        return all(getattr(cls, name) is not None for name in needed)

    def run(self, *command, **settings):
        """Runs a command that reads this gateway's settings from its environment. Returns its output as bytes."""
        command = [str(part) for part in command]
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_SECS,
            env=self.gateway.aws_environment(**settings),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
        )
        said = (done.stdout[-2000:] + done.stderr[-4000:]).decode(errors="replace")
        assert done.returncode == 0, f"{command}\n{said}"
        return done.stdout


def files(folder):
    """Returns every file below a folder."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def cell(operations, *clients):
    """Makes a test the given cells, separated by blanks, of each client's row. It gets the client as `client`."""

    def row(client):
        marks = [pytest.mark.cell(client.name, *operations.split())]
        if client.is_compiled:
            marks.append(pytest.mark.e2e)
        if operations in client.broken:
            marks.append(pytest.mark.xfail(reason=client.broken[operations], strict=True))
        return pytest.param(client, id=client.name, marks=marks)

    return pytest.mark.parametrize("client", [row(client) for client in clients], indirect=True)


@functools.cache
def command(name):
    """Returns the path of a command of the tests' environment, or of the system."""
    beside = Path(sys.executable).with_name(name)
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        raise Absent(f"{name} is not installed")
    return path


@functools.cache
def output(*words):
    """Returns what a command prints, for the version of a client."""
    return subprocess.run(words, capture_output=True, text=True, timeout=60, env=os.environ | {"NO_COLOR": "1"}).stdout


def package(name):
    """Returns the version of a Python package of the tests' environment."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        raise Absent(f"the Python package {name} is not installed") from None
