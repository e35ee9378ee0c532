"""Bundles and servers that are not meant well: one clear message each, and nothing changed."""

from __future__ import annotations

import gzip
import hashlib
import io
import signal
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from eventdbx import limits
from eventdbx.services.bundles import install, installation, uninstall
from tests.daemon import ROOT
from tests.services.test_bundles import NEWER, SCRIPT, Folders, tar_of, zip_of


def tar_member(name: str, kind: bytes, link: str = "") -> bytes:
    """Return a tar with one member of a kind."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        archive.addfile(info)
    return content.getvalue()


def zip_member(name: str, mode: int, text: bytes = b"x") -> bytes:
    """Return a zip with one member of a Unix mode."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, text)
    return content.getvalue()


class Hostile(Folders):
    """An installation that must not change, and what is thrown at it."""

    def setUp(self) -> None:
        super().setUp()
        install(self.root, "worker", "1.0.0", source=self.bundle(SCRIPT))
        self.before = self.files()

    def check_untouched(self) -> None:
        """Fail unless all is as it was, outside the data root, too."""
        self.assertEqual(self.files(), self.before)
        self.assertEqual(
            [path.name for path in self.plugins.iterdir() if path.name.startswith(".")], []
        )
        self.assertEqual(list(self.plugins.glob("*/2.0.0")), [])

    def hostile(self, content: bytes, name: str) -> str:
        """Return why a bundle is refused, with force and without."""
        source = self.bundle(content, name)
        reason = self.refused(source, force=True)
        self.check_untouched()
        self.assertEqual(self.refused(source, version="2.0.0"), reason)
        self.check_untouched()
        return reason


class Paths(Hostile):
    """Where files of an archive want to go."""

    def test_out_of_the_folder(self) -> None:
        """Neither ``..`` nor an absolute path gets out, however it is written."""
        for path in ("../evil", "a/../../evil", "a/..", "./../evil"):
            for content, name in (
                (zip_of({path: SCRIPT}), "a.zip"),
                (tar_of({path: SCRIPT}), "a.tgz"),
            ):
                self.assertIn("path out of its folder", self.hostile(content, name))
        for path in ("/etc/evil", "//evil", "C:/evil", "c:evil"):
            for content, name in (
                (zip_of({path: SCRIPT}), "a.zip"),
                (tar_of({path: SCRIPT}), "a.tgz"),
            ):
                self.assertIn("absolute path", self.hostile(content, name))
        for path in ("..\\evil", "a\nb", "a\x1b[2Jb", "a\u202eb"):
            self.assertIn("unusable path", self.hostile(tar_of({path: SCRIPT}), "a.tgz"))
        self.assertIn("unusable path", self.hostile(zip_of({"a\\..\\evil": SCRIPT}), "a.zip"))
        self.assertFalse((self.root.parent / "evil").exists())

    def test_hidden_end(self) -> None:
        """A name that ends early for some readers is judged whole."""
        content = zip_of({"worker_.zz": SCRIPT}).replace(b"worker_.zz", b"worker\0.zz")
        self.assertIn("unusable path", self.hostile(content, "a.zip"))

    def test_links(self) -> None:
        """Links and devices are refused, wherever they lead."""
        kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
        for kind in kinds:
            reason = self.hostile(tar_member("worker", kind, "../../1.0.0"), "a.tar")
            self.assertIn("which is a link or a device", reason)
        for mode in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK):
            reason = self.hostile(zip_member("worker", mode | 0o777, b"/etc/passwd"), "a.zip")
            self.assertIn("which is a link or a device", reason)

    def test_twice(self) -> None:
        """No file is written over another, nor over a folder."""
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            for name in ("worker", "./worker"):
                archive.addfile(tarfile.TarInfo(name))
        self.assertIn("contains 'worker' twice", self.hostile(content.getvalue(), "a.tar"))
        self.assertIn("contains 'a' twice", self.hostile(zip_of({"a/b": b"", "a": b""}), "a.zip"))
        self.assertIn("contains 'a' twice", self.hostile(zip_of({"a": b"", "a/b": b""}), "a.zip"))

    def test_long(self) -> None:
        """Names that no disk takes are refused before it is asked."""
        self.assertIn("too long", self.hostile(tar_of({"x" * 300: b""}), "a.tgz"))
        self.assertIn("too long", self.hostile(tar_of({"x/" * 600 + "x": b""}), "a.tgz"))

    def test_modes(self) -> None:
        """No bit of a mode survives but that a file can be run."""
        source = self.bundle(zip_member("worker", stat.S_IFREG | 0o7777, SCRIPT), "a.zip")
        there = install(self.root, "worker", "1.0.0", source=source, force=True)
        self.assertEqual(there.binary.stat().st_mode & 0o7022, 0)


class Sizes(Hostile):
    """Archives that are small and hold much."""

    def test_announced(self) -> None:
        """A size over the limit is refused before a byte is written."""
        content = bytearray(zip_of({"worker": SCRIPT}))
        at = content.index(b"PK\1\2")
        struct.pack_into("<I", content, at + 24, limits.BUNDLE_BYTES_MAX + 1)
        self.assertIn("larger than 512 MiB", self.hostile(bytes(content), "a.zip"))
        info = tarfile.TarInfo("worker")
        info.size = 1 << 50
        self.assertIn("larger than 512 MiB", self.hostile(info.tobuf(tarfile.GNU_FORMAT), "a.tar"))

    def test_bomb(self) -> None:
        """What an archive unpacks to is counted over all its files."""
        content = bytearray(zip_of({str(number): SCRIPT for number in range(5)}))
        at = -1
        while (at := content.find(b"PK\1\2", at + 1)) >= 0:
            struct.pack_into("<I", content, at + 24, limits.BUNDLE_BYTES_MAX // 4)
        self.assertIn("larger than 512 MiB", self.hostile(bytes(content), "a.zip"))
        info = tarfile.TarInfo("worker")
        info.size = limits.BUNDLE_BYTES_MAX
        joined = tar_of({"first": SCRIPT}, "w:")[:1024] + info.tobuf()
        self.assertIn("larger than 512 MiB", self.hostile(joined, "a.tar"))

    def test_lie(self) -> None:
        """A file that is longer than announced is damage, not an extension."""
        content = bytearray(zip_of({"worker": SCRIPT + b"\0" * (1 << 20)}))
        at = content.index(b"PK\1\2")
        struct.pack_into("<I", content, at + 24, 10)
        self.assertIn("damaged or cut off", self.hostile(bytes(content), "a.zip"))

    def test_entries(self) -> None:
        """Neither many files nor many folders use up the disk."""
        many = {f"f{number}": b"" for number in range(limits.BUNDLE_ENTRIES_MAX + 1)}
        reason = "more than 10000 files and folders"
        self.assertIn(reason, self.hostile(zip_of(many), "a.zip"))
        deep = {f"{number}/" + "d/" * 400 + "f": b"" for number in range(12)}
        content = tar_of({**deep, **dict.fromkeys(list(many)[:6000], b"")})
        self.assertIn(reason, self.refused(self.bundle(content, "a.tgz"), force=True))
        self.check_untouched()
        directory = {f"f{number}" + "x" * 200: b"" for number in range(25_000)}
        self.assertIn(reason, self.hostile(zip_of(directory), "a.zip"))

    def test_headers(self) -> None:
        """A header of a tar that claims the memory of the machine is not read."""
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
        bomb = info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)
        self.assertIn("damaged or cut off", self.hostile(gzip.compress(bomb), "a.tgz"))
        info.type, info.size = tarfile.XHDTYPE, 1 << 19
        chain = info.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 19)
        self.assertIn("damaged or cut off", self.hostile(gzip.compress(chain), "a.tgz"))

    def test_endless(self) -> None:
        """What follows the end of a tar is not read for ever."""
        padded = tar_of({"worker": SCRIPT}, "w:") + bytes(2 << 20)
        self.assertIn("damaged or cut off", self.hostile(gzip.compress(padded), "a.tgz"))


class Damage(Hostile):
    """Archives that are not whole."""

    def test_cut(self) -> None:
        """Cut anywhere, an archive is refused."""
        members = {"worker": SCRIPT + bytes(range(256)) * 40, "other": b"x" * 600}
        for name, content in (
            ("a.zip", zip_of(members)),
            ("a.tgz", tar_of(members)),
            ("a.tar", tar_of(members, "w:").rstrip(b"\0") + bytes(1024)),
        ):
            step = max(1, len(content) // 40)
            for end in range(0, len(content) - 1 if name != "a.tar" else len(content) - 1024, step):
                source = self.bundle(content[:end], name)
                self.assertIn("damaged or cut off", self.refused(source, force=True), (name, end))
            self.check_untouched()

    def test_flipped(self) -> None:
        """A byte that changed on the way is noticed, or changes nothing that counts."""
        members = {"worker": SCRIPT, "other": bytes(range(256)) * 4}
        for name, content in (("a.zip", zip_of(members)), ("a.tgz", tar_of(members))):
            for at in range(0, len(content), max(1, len(content) // 60)):
                changed = bytearray(content)
                changed[at] ^= 0x10
                source = self.bundle(bytes(changed), name)
                try:
                    reason = self.refused(source, force=True)
                except self.failureException:
                    there = installation(self.root, "worker", "1.0.0")
                    self.assertEqual(there.binary.read_bytes(), SCRIPT, (name, at))
                    self.before = self.files()
                else:
                    self.assertTrue(reason)
                    self.check_untouched()

    def test_disguise(self) -> None:
        """What is called an archive and is none is refused, and so are formats we do not read."""
        self.assertIn("damaged or cut off", self.hostile(SCRIPT, "a.zip"))
        self.assertIn("damaged or cut off", self.hostile(SCRIPT, "a.tar.gz"))
        self.assertIn("damaged or cut off", self.hostile(gzip.compress(SCRIPT), "a"))
        self.assertIn("neither zip nor tar", self.hostile(b"\xfd7zXZ\0", "a.tar.xz"))
        self.assertIn("did not contain any files", self.hostile(zip_of({}), "a.zip"))
        self.assertIn("did not contain any files", self.hostile(zip_of({"a/": b""}), "a.zip"))

    def test_other_compression(self) -> None:
        """Only what is unpacked in little memory is unpacked."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as archive:
            archive.writestr("worker", SCRIPT)
        self.assertIn("which is not deflated", self.hostile(content.getvalue(), "a.zip"))
        encrypted = bytearray(zip_of({"worker": SCRIPT}))
        encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
        self.assertIn("which is encrypted", self.hostile(bytes(encrypted), "a.zip"))


class Server(ThreadingHTTPServer):
    """A server of bundles; what it does with a path is said by the path."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing about clients that were killed."""


class Answer(BaseHTTPRequestHandler):
    """Answers well, with a redirect, with half of what it announces, with an error, or never."""

    server: Server

    def do_GET(self) -> None:
        """Answer as the path says."""
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/worker?signature=secret")
        elif self.path == "/ftp":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/worker")
        elif self.path == "/missing":
            self.send_response(404, "Not Found")
        else:
            self.send_response(200)
            length = len(SCRIPT) * (2 if self.path in ("/half", "/stuck") else 1)
            length = limits.BUNDLE_BYTES_MAX * 2 if self.path == "/endless" else length
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.path.startswith(("/worker", "/half", "/stuck")):
            self.wfile.write(SCRIPT)
        if self.path == "/stuck":
            self.wfile.flush()
            self.server.asked.set()
            self.rfile.read()  # Until the client is gone.

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the tests' output short."""


@contextmanager
def served() -> Iterator[tuple[Server, str]]:
    """Give a running server and its address."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server, f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Download(Hostile):
    """Bundles from a server."""

    def test_url(self) -> None:
        """A bundle from a URL needs a checksum or consent; where it came from is recorded."""
        with served() as (_, address):
            self.assertIn(
                "--checksum SHA256, or --yes", self.refused(f"{address}/worker", force=True)
            )
            self.check_untouched()
            uninstall(self.root, "worker")
            digest = hashlib.sha256(SCRIPT).hexdigest()
            there = install(
                self.root, "worker", "2.0.0", source=f"{address}/moved?token=a", checksum=digest
            )
            install(self.root, "worker", "2.1.0", source=f"{address}/worker", trusted=True)
        self.assertEqual(there.binary.read_bytes(), SCRIPT)
        registry = (self.plugins / "registry.json").read_text()
        self.assertIn(f'"registry": "{address}/worker"', registry)
        self.assertNotIn("secret", registry)

    def test_failures(self) -> None:
        """What a server does wrong is said in one line, and all stays as it was."""
        expected = {
            "missing": "(404 Not Found)",
            "half": f"it ends after {len(SCRIPT)} of {2 * len(SCRIPT)} bytes",
            "ftp": "it redirects to ftp://127.0.0.1/worker",
            "endless": "larger than 512 MiB",
        }
        with served() as (_, address):
            for path, reason in expected.items():
                said = self.refused(f"{address}/{path}", force=True, trusted=True)
                self.assertIn(reason, said)
                self.check_untouched()
            said = self.refused(f"{address}/worker", force=True, checksum="ab" * 32)
            self.assertIn("checksum mismatch: expected abab", said)
            self.check_untouched()
        said = self.refused(f"{address}/worker", force=True, trusted=True)
        self.assertIn("Connection refused (os error 111)", said)
        for url in ("http://kim:pass@127.0.0.1/a", "http://127.0.0.1:x/", "http:///"):
            said = self.refused(url, force=True, trusted=True)
            self.assertIn("failed to download plugin bundle from http://", said)
            self.assertNotIn("pass", said)
        self.check_untouched()

    def test_no_http(self) -> None:
        """A server that speaks something else is told apart from one that is silent."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]

            def answer() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(b"SSH-2.0-Nothing\r\n")

            thread = threading.Thread(target=answer)
            thread.start()
            said = self.refused(f"http://127.0.0.1:{port}/", force=True, trusted=True)
            thread.join()
        self.assertIn("failed to download plugin bundle from", said)
        self.check_untouched()

    def test_killed(self) -> None:
        """Killed while a download hangs, it leaves what was there; the next one clears up."""
        code = (
            "import sys; from pathlib import Path; from eventdbx.services.bundles import install\n"
            "install(Path(sys.argv[1]), 'worker', '1.0.0', source=sys.argv[2],"
            " force=True, trusted=True)"
        )
        for number in (signal.SIGKILL, signal.SIGINT):
            with served() as (server, address):
                child = subprocess.Popen(
                    [sys.executable, "-c", code, str(self.root), f"{address}/stuck"],
                    cwd=ROOT,
                    stderr=subprocess.DEVNULL,
                )
                self.assertTrue(server.asked.wait(60))
                # Another one beside it neither waits for it nor clears it away.
                install(self.root, "other", "1.0.0", source=self.bundle(NEWER, "other"), force=True)
                self.assertEqual(len(list(self.plugins.glob(".work-*"))), 1)
                child.send_signal(number)
                child.wait()
            there = installation(self.root, "worker", "1.0.0")
            self.assertEqual(there.binary.read_bytes(), SCRIPT)
            self.assertEqual(list(self.plugins.glob(".*")), [])
            uninstall(self.root, "other")
        self.check_untouched()
        self.assertEqual(Path(self.bundles / "worker").read_bytes(), SCRIPT)
