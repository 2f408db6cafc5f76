"""FTP clients with their default settings: the cells of the README's table of FTP clients, and what each does besides.

boto3 is on the other side, so that a client never only agrees with itself: what it writes over FTP is read over S3, and the
other way round. Contents are random, and compared byte for byte.
"""

import filecmp
import ftplib
import os
import random
import socket
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from drivers import MIB, cell
from drivers.ftp import FTP_OPERATIONS, FTP_ROWS, CurlFtp, Ftplib, Lftp, RcloneFtp

SIZES = [0, 1, 65_535, 65_536, 65_537, 5 * MIB]
NAMES = ["a b", " a", "a+b", "a%20b", "a#b", "a;b", "a'b", "-dash", "ä/ü/日本", "deep/er/file.bin"]


def content(size, seed=0):
    return random.Random(seed).randbytes(size)


def offering(operation):
    """Returns the clients of the table that have an operation."""
    assert operation in FTP_OPERATIONS
    return [row for row in FTP_ROWS if row.offers(operation)]


def is_same(left, right):
    compared = filecmp.dircmp(left, right)
    if compared.left_only or compared.right_only:
        return False
    _, different, odd = filecmp.cmpfiles(left, right, compared.common_files, shallow=False)
    return not different and not odd and all(is_same(left / name, right / name) for name in compared.common_dirs)


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


@pytest.fixture
def keys(s3, bucket):
    """Returns a function that lists all keys below a prefix with boto3."""

    def list_all(prefix=""):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    return list_all


@pytest.fixture
def tree(tmp_path):
    """A directory with small, empty, and oddly named files, and one larger than a chunk."""
    root = tmp_path / "from" / "tree"
    for name in ["a b", "a%20b", "a#b", "sub/ü", "sub/-dash", "sub/deep/er"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content(1000, name))
    (root / "empty").write_bytes(b"")
    (root / "large").write_bytes(content(3_000_000))
    return root


@pytest.fixture
def ftp(gateway, bucket, tmp_path):
    """A session of ftplib in the test's bucket."""
    with Ftplib(gateway, bucket, tmp_path).connect() as session:
        session.cwd(bucket)
        yield session


@pytest.fixture(scope="session")
def encrypted(start_gateway, tmp_path_factory, tool):
    """A gateway with a certificate, which nobody has signed."""
    where = tmp_path_factory.mktemp("certificate")
    key, certificate = where / "key.pem", where / "certificate.pem"
    made = subprocess.run(
        [tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-keyout", key, "-out", certificate],
        capture_output=True,
    )
    assert made.returncode == 0, made.stderr
    settings = {"HUGBUCKET_TLS_CERT_FILE": certificate, "HUGBUCKET_TLS_KEY_FILE": key}
    with start_gateway(**settings, HUGBUCKET_FTPS_ADDR="127.0.0.1:0", HUGBUCKET_FTP_PLAINTEXT="never") as running:
        running.client(verify=False).create_bucket(Bucket="secret")
        yield running


# The cells of the table.


@cell("put", *offering("put"))
def test_what_it_puts_others_read(client, file, stored):
    data = content(300_000)
    client.put("dir/ä b+c.bin", file(data))
    assert stored("dir/ä b+c.bin") == data
    client.put("dir/ä b+c.bin", file(b"shorter"))
    assert stored("dir/ä b+c.bin") == b"shorter"


@cell("get", *offering("get"))
def test_it_gets_what_others_put(client, store, tmp_path):
    data = content(20 * MIB)
    store("dir/ä b+c.bin", data)
    client.get("dir/ä b+c.bin", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == data


@cell("list", *offering("list"))
def test_it_lists_files_and_directories(client, store):
    names = ["a b", "a%20b", "a#b", "ü"]
    for name in names:
        store(f"in/{name}", b"x")
    store("in/sub/deep/file", b"x")
    store("inside", b"x")
    assert sorted(client.list("in")) == sorted([*names, "sub"])


@cell("resume", *offering("resume"))
def test_it_completes_a_download(client, store, file):
    data = content(8 * MIB)
    store("dir/file.bin", data)
    half = file(data[: 3 * MIB + 17], "file.bin")
    client.resume("dir/file.bin", half)
    assert half.read_bytes() == data


@cell("append", *offering("append"))
def test_it_appends(client, store, stored, file):
    data = content(2 * MIB)
    store("dir/file.bin", data)
    client.append("dir/file.bin", file(b"the end"))
    assert stored("dir/file.bin") == data + b"the end"


@cell("rename", *offering("rename"))
def test_it_renames_files_and_directories(client, store, stored, keys):
    for name in ["from/a b", "from/sub/c"]:
        store(name, name.encode())
    store("to/other", b"other")
    client.rename("from/a b", "to/a b")
    client.rename("from/sub", "to/sub")
    assert keys() == ["from/", "to/a b", "to/other", "to/sub/c"]
    assert stored("to/a b") == b"from/a b"


@cell("mkdir", *offering("mkdir"))
def test_it_makes_directories(client, keys):
    client.mkdir("new")
    client.mkdir("new/a b")
    assert keys() == ["new/", "new/a b/"]


@cell("delete", *offering("delete"))
def test_it_deletes_one_file_and_no_other(client, store, keys):
    store("dir/a b", b"gone")
    store("dir/a bc", b"kept")
    client.delete("dir/a b")
    assert keys() == ["dir/a bc"]


@cell("tree", *offering("tree"))
def test_trees_come_back_unchanged(client, tree, store, keys, tmp_path):
    if client.decodes_listed_names:
        (tree / "a%20b").unlink()
    if client.put_tree:
        client.put_tree(tree, "up/tree" if client.name == "NcFTP" else "up")
    else:
        for path in tree.rglob("*"):
            if path.is_file():
                store(f"up/{path.relative_to(tree).as_posix()}", path.read_bytes())
    where = "up/tree" if "up/tree/large" in keys() else "up"
    client.get_tree(where, tmp_path / "back" / "tree")
    for made in (tmp_path / "back" / "tree").rglob(".listing"):
        made.unlink()
    assert is_same(tree, tmp_path / "back" / "tree")


@cell("TLS", *offering("TLS"))
def test_it_encrypts(request, encrypted, client, file, tmp_path):
    secret = type(client)(encrypted, "secret", tmp_path)
    secret.encrypts = True
    data = content(3_000_000)
    key = f"dir/{client.name}"
    secret.put(key, file(data))
    s3 = encrypted.client(verify=False)
    assert s3.get_object(Bucket="secret", Key=key)["Body"].read() == data
    secret.get(key, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == data


@cell("bytes", *offering("bytes"))
def test_all_sizes_and_names_come_back_unchanged(client, file, stored, tmp_path):
    contents = {f"{size}.bin": content(size, size) for size in SIZES}
    contents |= {name: content(1000, name) for name in NAMES}
    for name, data in contents.items():
        file(data, f"in/{name}")
    client.put_all(tmp_path / "in", "all/")
    assert {name: stored(f"all/{name}") for name in contents} == contents
    client.get_all("all/", tmp_path / "out", contents)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in contents} == contents


# What each does besides.


@pytest.fixture
def lftp(gateway, bucket, tmp_path, tool):
    tool("lftp")
    return Lftp(gateway, bucket, tmp_path)


@pytest.fixture
def rclone(gateway, bucket, tmp_path, tool):
    tool("rclone")
    return RcloneFtp(gateway, bucket, tmp_path)


def test_lftp_mirrors_once_and_then_nothing(lftp, tree, tmp_path):
    local, remote = lftp.quote(tree), lftp.at("up")
    lftp.lftp(f"mirror --reverse --parallel=4 {local} {remote}")
    # It may name directories again, but no file to transfer.
    assert b"get " not in lftp.lftp(f"mirror --reverse --dry-run {local} {remote}")
    back = lftp.quote(tmp_path / "back")
    lftp.lftp(f"mirror --parallel=4 {remote} {back}")
    assert is_same(tree, tmp_path / "back")
    assert b"get " not in lftp.lftp(f"mirror --dry-run {remote} {back}")
    (tree / "a b").write_bytes(b"changed")
    assert lftp.lftp(f"mirror --reverse --dry-run {local} {remote}").count(b"get ") == 1
    # A file that vanished here vanishes there.
    (tree / "sub" / "ü").unlink()
    lftp.lftp(f"mirror --reverse --delete {local} {remote}")
    assert sorted(lftp.list("up/sub")) == ["-dash", "deep"]


def test_lftp_reads_one_file_on_four_connections(lftp, store, tmp_path):
    data = content(64 * MIB)
    store("large", data)
    lftp.lftp(f"pget -n 4 {lftp.at('large')} -o {lftp.quote(tmp_path / 'got')}")
    assert (tmp_path / "got").read_bytes() == data


def test_lftp_moves_and_removes_trees(lftp, tree, keys):
    lftp.put_tree(tree, "up")
    lftp.lftp(f"mv {lftp.at('up/sub')} {lftp.at('up/moved')}; rm -r {lftp.at('up/moved/deep')}")
    assert keys("up/moved/") == ["up/moved/", "up/moved/-dash", "up/moved/ü"]
    lftp.lftp(f"rm -r {lftp.at('up')}")
    assert keys() == []


def test_rclone_syncs_checks_moves_and_purges(rclone, tree, keys, tmp_path):
    rclone.rclone("sync", tree, rclone.at("up"))
    assert rclone.rclone("sync", "--dry-run", "--combined", "-", "--size-only", tree, rclone.at("up"))
    again = rclone.rclone("sync", "--dry-run", "--combined", "-", tree, rclone.at("up")).decode()
    assert {line[0] for line in again.splitlines()} == {"="}, again
    rclone.rclone("check", "--download", tree, rclone.at("up"))
    rclone.rclone("copy", rclone.at("up"), tmp_path / "back")
    assert is_same(tree, tmp_path / "back")
    rclone.rclone("moveto", rclone.at("up/large"), rclone.at("moved/large"))
    assert keys("moved/") == ["moved/", "moved/large"]
    rclone.rclone("purge", rclone.at("up"))
    assert keys("up") == []


def test_a_directory_of_2000_files_is_listed_whole(ftp, lftp, s3, bucket):
    names = [f"{number:04}" for number in range(2000)]
    put = lambda name: s3.put_object(Bucket=bucket, Key=f"many/{name}", Body=b"x")  # noqa: E731
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(put, names))
    assert sorted(ftp.nlst("many")) == names
    assert sorted(name for name, _ in ftp.mlsd("many")) == names
    lines = []
    ftp.retrlines("LIST many", lines.append)
    assert sorted(line.rsplit(" ", 1)[1] for line in lines) == names
    assert sorted(lftp.list("many")) == names
    ftp.rename("many", "moved")
    assert sorted(ftp.nlst("moved")) == names
    assert ftp.nlst("many") == []
    lftp.lftp(f"rm -r {lftp.at('moved')}")
    assert ftp.nlst("") == []


@pytest.mark.parametrize("size", [64 * MIB, pytest.param(512 * MIB, marks=pytest.mark.e2e)], ids=["64MiB", "512MiB"])
def test_large_files_come_back_unchanged(gateway, bucket, s3, tmp_path, size):
    source, got = tmp_path / "source", tmp_path / "got"
    with source.open("wb") as local:
        for piece in range(size // (8 * MIB)):
            local.write(content(8 * MIB, piece))
    curl = CurlFtp(gateway, bucket, tmp_path)
    curl.put("large", source)
    s3.download_file(bucket, "large", got)
    assert filecmp.cmp(source, got, shallow=False)
    curl.get("large", got)
    assert filecmp.cmp(source, got, shallow=False)
    for path in (source, got):
        path.unlink()


def test_the_hub_reads_what_came_over_ftp_and_ftp_what_came_over_the_hub(gateway, bucket, tool, run, file, tmp_path):
    hf, uri = tool("hf"), f"hf://buckets/{gateway.namespace}/{bucket}"
    client = Ftplib(gateway, bucket, tmp_path)
    call = lambda *words: run(hf, "buckets", *words, env=gateway.hf_environment())  # noqa: E731
    written = file(content(3 * MIB), "ftp.bin")
    client.put("ftp.bin", written)
    client.append("ftp.bin", file(b" and more", "more"))
    call("cp", f"{uri}/ftp.bin", tmp_path / "by-hub")
    assert (tmp_path / "by-hub").read_bytes() == written.read_bytes() + b" and more"
    call("cp", file(content(3 * MIB, 1), "hub.bin"), f"{uri}/dir/hub.bin")
    client.get("dir/hub.bin", tmp_path / "by-ftp")
    assert (tmp_path / "by-ftp").read_bytes() == content(3 * MIB, 1)


def test_an_upload_that_breaks_off_leaves_the_old_file(gateway, bucket, store, stored, tmp_path):
    store("file", b"old")
    for verb in ("STOR", "APPE"):
        session = Ftplib(gateway, bucket, tmp_path).connect()
        session.cwd(bucket)
        data = session.transfercmd(f"{verb} file")
        data.sendall(content(3 * MIB))
        # A reset: what a client leaves that dies.
        data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        data.close()
        with pytest.raises(ftplib.error_temp, match="426"):
            session.voidresp()
        session.quit()
        assert stored("file") == b"old"


def test_restarted_uploads_keep_what_is_before(ftp, store, stored):
    data = content(MIB)
    store("file", data)
    ftp.voidcmd("TYPE I")
    for offset, piece in [(MIB, b"behind"), (1000, b"within"), (1006, b"")]:
        with ftp.transfercmd("STOR file", rest=offset) as connection:
            connection.sendall(piece)
        ftp.voidresp()
        data = data[:offset] + piece
        assert stored("file") == data
    with pytest.raises(ftplib.error_perm, match="550.*1006 bytes"):
        # The refusal may come before the bytes, and then closes the data connection.
        with ftp.transfercmd("STOR file", rest=1007):
            pass
        ftp.voidresp()
    assert stored("file") == data


def test_a_download_is_of_one_content_whatever_is_written_meanwhile(ftp, store):
    old = content(24 * MIB)
    store("file", old)
    ftp.voidcmd("TYPE I")
    with ftp.transfercmd("RETR file") as connection:
        got = connection.recv(1000, socket.MSG_WAITALL)
        store("file", content(24 * MIB, "new"))
        while piece := connection.recv(MIB):
            got += piece
    ftp.voidresp()
    assert got == old
    # Whoever goes on after that gets nothing of another content.
    with pytest.raises(ftplib.error_temp, match="450"):
        ftp.retrbinary("RETR file", bytes, rest=1000)


def test_appends_of_many_sessions_lose_no_line(gateway, bucket, store, stored, file, tmp_path):
    store("log", b"")
    client = Ftplib(gateway, bucket, tmp_path)

    def append(number):
        line = file(b"%03d\n" % number, f"line-{number}")
        for _ in range(50):
            try:
                return client.append("log", line)
            except ftplib.error_temp as refused:
                assert str(refused).startswith("450"), refused
        raise AssertionError("never appended")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(append, range(24)))
    assert sorted(stored("log").split()) == [b"%03d" % number for number in range(24)]


def test_uploads_that_broke_off_are_completed(gateway, bucket, lftp, store, stored, file, tmp_path):
    data = content(8 * MIB)
    local = file(data)
    store("by-lftp", data[: 3 * MIB + 17])
    lftp.lftp(f"put -c {lftp.quote(local)} -o {lftp.at('by-lftp')}")
    assert stored("by-lftp") == data
    store("by-curl", data[: 3 * MIB + 17])
    CurlFtp(gateway, bucket, tmp_path).curl("by-curl", "--continue-at", "-", "--upload-file", local)
    assert stored("by-curl") == data


def test_times_are_told_and_set(ftp, s3, bucket, store):
    s3.put_object(Bucket=bucket, Key="file", Body=b"x", Metadata={"mtime": "1700000000.25"}, CacheControl="no-store")
    assert ftp.voidcmd("MDTM file") == "213 20231114221320"
    ftp.voidcmd("MFMT 20240506070809 file")
    assert ftp.voidcmd("MDTM file") == "213 20240506070809"
    found = s3.head_object(Bucket=bucket, Key="file")
    assert found["Metadata"]["mtime"].startswith("1714979289") and found["CacheControl"] == "no-store"
    with pytest.raises(ftplib.error_perm, match="501|550"):
        ftp.voidcmd("MFMT 19990506070809 file")


def test_directories_of_the_root_are_buckets(gateway, s3, tmp_path):
    with Ftplib(gateway, "", tmp_path).connect() as ftp:
        ftp.mkd("/made-by-ftp")
        assert "made-by-ftp" in ftp.nlst("/")
        s3.put_object(Bucket="made-by-ftp", Key="file", Body=b"x")
        for refused in ("RMD /made-by-ftp", "MKD /made-by-ftp", "DELE /made-by-ftp", "MKD /Not_A_Name"):
            with pytest.raises(ftplib.error_perm, match="55[03]"):
                ftp.voidcmd(refused)
        with pytest.raises(ftplib.error_perm, match="553"):
            ftp.storbinary("STOR /file", open(os.devnull, "rb"))
        ftp.delete("/made-by-ftp/file")
        ftp.rmd("/made-by-ftp")
        assert "made-by-ftp" not in [found["Name"] for found in s3.list_buckets()["Buckets"]]


def test_what_cannot_be_a_name_is_refused_and_changes_nothing(ftp, keys):
    for name in ["a\\b", ".hugbucket/x", "x" * 1025, "\ufffd"]:
        with pytest.raises(ftplib.error_perm, match="553"):
            ftp.storbinary(f"STOR {name}", open(os.devnull, "rb"))
        with pytest.raises(ftplib.error_perm, match="553"):
            ftp.mkd(name)
    assert keys() == []


USERS = """
[[ftp_users]]
name = "reader"
password = "r"
rights = "read-only"

[[ftp_users]]
name = "team"
password = "t"
root = "shared/team"

[[ftp_users]]
name = "one"
password = "o"
buckets = ["shared"]
manages_buckets = false
"""


def test_users_do_what_they_may_and_nothing_else(start_gateway, tmp_path):
    config = tmp_path / "hugbucket.toml"
    config.write_text(USERS)
    with start_gateway(HUGBUCKET_CONFIG=config, FTP_USERNAME="all", FTP_PASSWORD="a") as gateway:
        s3 = gateway.client()
        for name in ("shared", "other"):
            s3.create_bucket(Bucket=name)
            s3.put_object(Bucket=name, Key="team/file", Body=name.encode())
            s3.put_object(Bucket=name, Key="beside", Body=name.encode())

        def session(user):
            client = Ftplib(gateway, "", tmp_path)
            client.user, client.password = user, user[0]
            return client.connect()

        def refused(ftp, *commands):
            for line in commands:
                with pytest.raises(ftplib.error_perm, match="55[03]"):
                    if line.startswith("STOR"):
                        ftp.storbinary(line, open(os.devnull, "rb"))
                    else:
                        ftp.voidcmd(line)

        def read(ftp, path):
            parts = []
            ftp.retrbinary(f"RETR {path}", parts.append)
            return b"".join(parts)

        with session("reader") as ftp:
            assert sorted(ftp.nlst()) == ["other", "shared"]
            assert read(ftp, "/shared/beside") == b"shared"
            refused(ftp, "STOR /shared/new", "DELE /shared/beside", "MKD /shared/d", "MKD /more", "RMD /other")
            refused(ftp, "MFMT 20240506070809 /shared/beside")
            ftp.sendcmd("RNFR /shared/beside")
            refused(ftp, "RNTO /shared/new")
        with session("team") as ftp:
            assert ftp.nlst() == ["file"]
            assert read(ftp, "file") == read(ftp, "/../../file") == b"shared"
            ftp.storbinary("STOR new", open(os.devnull, "rb"))
            refused(ftp, "SIZE /shared/beside", "SIZE /beside", "RMD /", "DELE /", "CWD /other")
        with session("one") as ftp:
            assert ftp.nlst() == ["shared"]
            assert read(ftp, "/shared/beside") == b"shared"
            refused(ftp, "SIZE /other/beside", "STOR /other/new", "MKD /more", "RMD /shared", "CWD /other")
            ftp.sendcmd("RNFR /shared/beside")
            refused(ftp, "RNTO /other/stolen")
            ftp.delete("/shared/beside")
        with pytest.raises(ftplib.error_perm, match="530"):
            client = Ftplib(gateway, "", tmp_path)
            client.user, client.password = "all", "wrong"
            client.connect()
        names = [found["Key"] for found in s3.list_objects_v2(Bucket="shared")["Contents"]]
        assert names == ["team/file", "team/new"]
        names = [found["Key"] for found in s3.list_objects_v2(Bucket="other")["Contents"]]
        assert names == ["beside", "team/file"]


def test_nobody_logs_in_without_tls_where_that_is_forbidden(encrypted, tmp_path):
    client = Ftplib(encrypted, "secret", tmp_path)
    with pytest.raises(ftplib.Error, match="530|522|534|421"):
        client.connect()
    # Implicit TLS: encrypted from the first byte on.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = encrypted.ftps.removeprefix("ftps://").rsplit(":", 1)
    with socket.create_connection((address[0], int(address[1])), 30) as plain:
        with context.wrap_socket(plain) as control:
            assert control.recv(100).startswith(b"220")


def test_every_client_of_the_table_is_there():
    """A tool that is missing here is said, and its cells are skipped."""
    missing = [row.name for row in FTP_ROWS if not is_there(row)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def is_there(row):
    try:
        return bool(row.version())
    except Exception:  # noqa: BLE001
        return False


