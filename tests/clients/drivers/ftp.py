"""FTP clients: Python's ftplib, curl, lftp, NcFTP, tnftp, GNU Wget, and rclone.

Keys are paths below the test's bucket; local content lies in files. A certificate of a test is signed by nobody, so each
client is told not to ask who signed it.
"""

import ftplib
import os
import platform
import re
import ssl
from pathlib import Path
from urllib.parse import quote, urlsplit

from .base import Client, command, files, output

FTP_OPERATIONS = ("put", "get", "list", "resume", "append", "rename", "mkdir", "delete", "tree", "TLS", "bytes")


class FtpClient(Client):
    """A row of the table of FTP clients.

    `resume` completes a file of which the beginning is there; `append` adds a file's content behind an object; `put_tree`
    and `get_tree` move directories with one command, `list` names what lies in one. One that `can_encrypt` uses TLS once it
    `encrypts`.
    """

    resume = append = rename = mkdir = put_tree = get_tree = None
    can_encrypt = False
    # A client may take the names of a listing for percent-encoded, whatever the server.
    decodes_listed_names = False

    def __init__(self, gateway, bucket, directory):
        super().__init__(gateway, bucket, directory)
        address = urlsplit(gateway.ftp)
        self.host, self.port, self.encrypts = address.hostname, address.port, False
        self.user, self.password = "hugbucket", "hugbucket"

    @classmethod
    def offers(cls, operation):
        if operation == "TLS":
            return cls.can_encrypt and cls.put is not None and cls.get is not None
        if operation == "tree":
            return cls.get_tree is not None
        return super().offers(operation)

    def path(self, key):
        return f"/{self.bucket}/{key}"

    def url(self, key):
        return f"ftp://{self.user}:{self.password}@{self.host}:{self.port}{quote(self.path(key))}"


class Ftplib(FtpClient):
    """ftplib of Python, and its FTP_TLS."""

    name = "Python ftplib"
    can_encrypt = True

    @classmethod
    def version(cls):
        return platform.python_version()

    def connect(self):
        if self.encrypts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            ftp = ftplib.FTP_TLS(context=context, timeout=60)
        else:
            ftp = ftplib.FTP(timeout=60)
        ftp.connect(self.host, self.port)
        ftp.login(self.user, self.password)
        if self.encrypts:
            ftp.prot_p()
        return ftp

    def put(self, key, path):
        with self.connect() as ftp, path.open("rb") as file:
            ftp.storbinary(f"STOR {self.path(key)}", file)

    def get(self, key, path):
        with self.connect() as ftp, path.open("wb") as file:
            ftp.retrbinary(f"RETR {self.path(key)}", file.write)

    def list(self, folder):
        with self.connect() as ftp:
            return [name for name, _ in ftp.mlsd(self.path(folder))]

    def resume(self, key, path):
        with self.connect() as ftp, path.open("ab") as file:
            ftp.retrbinary(f"RETR {self.path(key)}", file.write, rest=file.tell())

    def append(self, key, path):
        with self.connect() as ftp, path.open("rb") as file:
            ftp.storbinary(f"APPE {self.path(key)}", file)

    def rename(self, source, target):
        with self.connect() as ftp:
            ftp.rename(self.path(source), self.path(target))

    def mkdir(self, folder):
        with self.connect() as ftp:
            ftp.mkd(self.path(folder))

    def delete(self, key):
        with self.connect() as ftp:
            ftp.delete(self.path(key))


class CurlFtp(FtpClient):
    """curl with ftp:// addresses."""

    name = "curl"
    can_encrypt = True

    @classmethod
    def version(cls):
        return output(command("curl"), "--version").split()[1]

    def curl(self, key, *arguments):
        tls = ["--ssl-reqd", "--insecure"] if self.encrypts else []
        return self.run(command("curl"), "--silent", "--show-error", *tls, *arguments, self.url(key))

    def put(self, key, path):
        self.curl(key, "--ftp-create-dirs", "--upload-file", path)

    def get(self, key, path):
        self.curl(key, "--output", path)

    def list(self, folder):
        return self.curl(f"{folder}/", "--list-only").decode().splitlines()

    def resume(self, key, path):
        self.curl(key, "--continue-at", "-", "--output", path)

    def append(self, key, path):
        self.curl(key, "--append", "--upload-file", path)

    def quoted(self, *commands):
        self.curl("", "--output", os.devnull, *[word for line in commands for word in ("--quote", line)])

    def rename(self, source, target):
        self.quoted(f"RNFR {self.path(source)}", f"RNTO {self.path(target)}")

    def mkdir(self, folder):
        self.quoted(f"MKD {self.path(folder)}")

    def delete(self, key):
        self.quoted(f"DELE {self.path(key)}")


class Lftp(FtpClient):
    """lftp."""

    name = "lftp"
    can_encrypt = True

    @classmethod
    def version(cls):
        return re.search(r"Version ([\d.]+)", output(command("lftp"), "--version")).group(1)

    def lftp(self, script):
        """Runs commands; `%` and quotes in them are the caller's affair."""
        tls = "set ftp:ssl-force yes; set ftp:ssl-protect-data yes; set ssl:verify-certificate no"
        settings = [
            "set cmd:fail-exit yes",
            "set net:max-retries 2",
            "set net:timeout 60",
            tls if self.encrypts else "set ftp:ssl-allow no",
            f"open -u {self.user},{self.password} -p {self.port} ftp://{self.host}",
        ]
        home = self.directory / "lftp-home"
        home.mkdir(exist_ok=True)
        script = "; ".join([*settings, script])
        return self.run(command("lftp"), "--norc", "-c", script, HOME=home, LFTP_HOME=home, LANG="C.UTF-8")

    @staticmethod
    def quote(path):
        text = str(path).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'

    def at(self, key):
        return self.quote(self.path(key))

    def put(self, key, path):
        folder = self.quote(self.path(key).rsplit("/", 1)[0])
        self.lftp(f"mkdir -f -p {folder}; put {self.quote(path)} -o {self.at(key)}")

    def get(self, key, path):
        self.lftp(f"set xfer:clobber yes; get {self.at(key)} -o {self.quote(path)}")

    def list(self, folder):
        names = self.lftp(f"cls -1 --basename {self.at(folder)}/").decode().splitlines()
        return [name.rstrip("/") for name in names]

    def resume(self, key, path):
        self.lftp(f"get -c {self.at(key)} -o {self.quote(path)}")

    def rename(self, source, target):
        self.lftp(f"mv {self.at(source)} {self.at(target)}")

    def mkdir(self, folder):
        self.lftp(f"mkdir {self.at(folder)}")

    def delete(self, key):
        self.lftp(f"rm {self.at(key)}")

    def put_tree(self, folder, key):
        self.lftp(f"mirror --reverse --parallel=4 {self.quote(folder)} {self.at(key)}")

    def get_tree(self, key, folder):
        self.lftp(f"mirror --parallel=4 {self.at(key)} {self.quote(folder)}")


class Ncftp(FtpClient):
    """NcFTP: ncftpput, ncftpget, ncftpls, and ncftp itself for the rest."""

    name = "NcFTP"

    @classmethod
    def version(cls):
        said = output("sh", "-c", f"{command('ncftpput')} --help 2>&1; true")
        found = re.search(r"NcFTP (?:Software|Put)?\D*([\d.]+)", said)
        return found.group(1) if found else output(command("ncftp"), "--version").split()[1]

    @property
    def login(self):
        return ["-u", self.user, "-p", self.password, "-P", self.port]

    def ncftp(self, tool, *arguments):
        home = self.directory / "ncftp-home"
        home.mkdir(exist_ok=True)
        return self.run(command(tool), *arguments, HOME=home)

    def put(self, key, path):
        self.ncftp("ncftpput", "-V", *self.login, "-m", "-C", self.host, path, self.path(key))

    def get(self, key, path):
        self.ncftp("ncftpget", "-V", *self.login, "-C", self.host, self.path(key), path)

    def list(self, folder):
        return self.ncftp("ncftpls", "-1", *self.login, f"ftp://{self.host}{self.path(folder)}/").decode().splitlines()

    def resume(self, key, path):
        self.ncftp("ncftpget", "-V", "-z", *self.login, "-C", self.host, self.path(key), path)

    def append(self, key, path):
        self.ncftp("ncftpput", "-V", "-A", *self.login, "-C", self.host, path, self.path(key))

    def rename(self, source, target):
        self.quoted(f"RNFR {self.path(source)}", f"RNTO {self.path(target)}")

    def mkdir(self, folder):
        self.quoted(f"MKD {self.path(folder)}")

    def delete(self, key):
        self.quoted(f"DELE {self.path(key)}")

    def quoted(self, *commands):
        """Sends commands before a listing: what ncftp runs by itself has no exit code."""
        words = [word for line in commands for word in ("-W", line)]
        self.ncftp("ncftpls", "-1", *self.login, *words, f"ftp://{self.host}/")

    def put_tree(self, folder, key):
        # It names the remote folder like the local one.
        assert key.rsplit("/", 1)[-1] == folder.name
        above = self.path(key).rsplit("/", 1)[0]
        self.ncftp("ncftpput", "-V", "-R", "-m", *self.login, self.host, above, folder)

    def get_tree(self, key, folder):
        assert key.rsplit("/", 1)[-1] == folder.name
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.ncftp("ncftpget", "-V", "-R", *self.login, self.host, folder.parent, self.path(key))


class Tnftp(FtpClient):
    """tnftp, the command `ftp` of the BSDs, of macOS, and of Debian."""

    name = "tnftp"

    @classmethod
    def version(cls):
        # It tells only web servers: its version is the date in its program.
        found = re.search(rb"\x00(20\d{6})\x00", Path(command("tnftp")).read_bytes())
        return found.group(1).decode() if found else "unknown"

    def tnftp(self, *lines):
        """Runs commands; it has no exit code for them."""
        script = [f'user {self.user} "{self.password}"', "binary", "epsv4 on", *lines, "bye"]
        (self.directory / "tnftp-script").write_text("\n".join(script) + "\n")
        run = '"$0" -n "$1" "$2" < "$3"'
        self.run("sh", "-c", run, command("tnftp"), self.host, self.port, self.directory / "tnftp-script")

    @staticmethod
    def quote(path):
        return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'

    def both(self, key, path):
        return self.quote(path), self.quote(self.path(key))

    def put(self, key, path):
        local, remote = self.both(key, path)
        # It creates no directories on the way, and does not mind those that are there.
        folders = key.split("/")[:-1]
        made = [f"mkdir {self.quote(self.path('/'.join(folders[: n + 1])))}" for n in range(len(folders))]
        self.tnftp(*made, f"put {local} {remote}")

    def get(self, key, path):
        local, remote = self.both(key, path)
        self.tnftp(f"get {remote} {local}")

    def list(self, folder):
        names = self.directory / "names"
        self.tnftp(f"nlist {self.quote(self.path(folder))} {self.quote(names)}")
        return names.read_text().splitlines()

    def resume(self, key, path):
        local, remote = self.both(key, path)
        self.tnftp(f"reget {remote} {local}")

    def append(self, key, path):
        local, remote = self.both(key, path)
        self.tnftp(f"append {local} {remote}")

    def rename(self, source, target):
        self.tnftp(f"rename {self.quote(self.path(source))} {self.quote(self.path(target))}")

    def mkdir(self, folder):
        self.tnftp(f"mkdir {self.quote(self.path(folder))}")

    def delete(self, key):
        self.tnftp(f"delete {self.quote(self.path(key))}")


class Wget(FtpClient):
    """GNU Wget reads only."""

    name = "GNU Wget"
    decodes_listed_names = True

    @classmethod
    def version(cls):
        return output(command("wget"), "--version").split()[2]

    def wget(self, *arguments):
        where = ["--no-verbose", "--no-config", "--no-proxy", "--tries=2", "--timeout=60"]
        self.run(command("wget"), *where, *arguments)

    def get(self, key, path):
        self.wget("--output-document", path, self.url(key))

    def resume(self, key, path):
        self.wget("--continue", "--directory-prefix", path.parent, self.url(key))

    def get_tree(self, key, folder):
        depth = key.count("/") + 2
        cut = ["--no-host-directories", f"--cut-dirs={depth}"]
        self.wget("--recursive", "--level=inf", *cut, "--directory-prefix", folder, f"{self.url(key)}/")


class RcloneFtp(FtpClient):
    """rclone with its backend `ftp`."""

    name = "rclone ftp"
    can_encrypt = True

    @classmethod
    def version(cls):
        return output(command("rclone"), "version").split()[1].removeprefix("v")

    def rclone(self, *arguments):
        obscured = output(command("rclone"), "obscure", self.password).strip()
        tls = {"RCLONE_CONFIG_HUB_EXPLICIT_TLS": "true", "RCLONE_CONFIG_HUB_NO_CHECK_CERTIFICATE": "true"}
        return self.run(
            command("rclone"),
            *arguments,
            RCLONE_CONFIG=os.devnull,
            RCLONE_CONFIG_HUB_TYPE="ftp",
            RCLONE_CONFIG_HUB_HOST=self.host,
            RCLONE_CONFIG_HUB_PORT=self.port,
            RCLONE_CONFIG_HUB_USER=self.user,
            RCLONE_CONFIG_HUB_PASS=obscured,
            **(tls if self.encrypts else {}),
        )

    def at(self, key):
        return f"hub:{self.bucket}/{key}"

    def put(self, key, path):
        self.rclone("copyto", path, self.at(key))

    def get(self, key, path):
        self.rclone("copyto", self.at(key), path)

    def list(self, folder):
        names = self.rclone("lsf", self.at(folder)).decode().splitlines()
        return [name.rstrip("/") for name in names]

    def rename(self, source, target):
        self.rclone("moveto", self.at(source), self.at(target))

    def mkdir(self, folder):
        self.rclone("mkdir", self.at(folder))

    def delete(self, key):
        self.rclone("deletefile", self.at(key))

    def put_tree(self, folder, key):
        self.rclone("sync", folder, self.at(key))

    def get_tree(self, key, folder):
        self.rclone("copy", self.at(key), folder)

    def put_all(self, folder, prefix):
        self.rclone("copy", folder, self.at(prefix))


# In the order of the table.
FTP_ROWS = (Ftplib, CurlFtp, Lftp, Ncftp, Tnftp, Wget, RcloneFtp)

__all__ = ["FTP_OPERATIONS", "FTP_ROWS", "FtpClient", "files", *[row.__name__ for row in FTP_ROWS]]
