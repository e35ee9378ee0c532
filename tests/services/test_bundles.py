"""Installing, finding and removing the programs of process plugins: what is there afterwards."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import orjson
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.delivery.bundles import BundleRefused
from eventdbx.errors import ConfigError
from eventdbx.services.bundles import (
    install,
    installation,
    read_installed,
    this_target,
    uninstall,
)
from tests.daemon import ROOT

SCRIPT = b"#!/bin/sh\necho old\n"
NEWER = b"#!/bin/sh\necho new\n"

# Ends itself just before the rename of a given number: a power cut at every step there is.
CUT_SHORT = """
import os, signal, sys
from pathlib import Path
left = int(sys.argv[1])
def count(event, arguments):
    global left
    if event == "os.rename":
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
from eventdbx.services.bundles import install
sys.addaudithook(count)
install(Path(sys.argv[2]), "worker", "1.0.0", source=sys.argv[3], force=True)
"""


def tar_of(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """Return a tar with executable files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text), 0o755
            archive.addfile(info, io.BytesIO(text))
    return content.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    """Return a zip."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


class Folders(SynchronousTestCase):
    """A data root, and a folder with bundles beside it."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.plugins = self.root / "plugins"
        self.bundles = Path(self.mktemp()).absolute()
        self.bundles.mkdir()

    def bundle(self, content: bytes, name: str = "worker") -> str:
        """Write a bundle and return its path."""
        path = self.bundles / name
        path.write_bytes(content)
        return str(path)

    def refused(self, bundle: str | None, name: str = "worker", **more: str | bool | None) -> str:
        """Return the reason why a bundle is not installed."""
        options: dict[str, str | bool | None] = {"version": "1.0.0", "source": bundle, **more}
        error = self.assertRaises(BundleRefused, install, self.root, name, **options)
        self.assertNotIn("\n", str(error))
        return ": ".join((str(error), *error.causes))

    def files(self) -> dict[str, bytes]:
        """Return everything below the data root."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }


class Install(Folders):
    """Bundles that are meant well."""

    def test_script(self) -> None:
        """A bare script becomes a program of the plugin's name, whatever its own was."""
        there = install(self.root, "worker", "1.0.0", source=self.bundle(SCRIPT, "some-script.py"))
        self.assertEqual(there.binary, self.plugins / "worker/1.0.0" / this_target() / "worker")
        self.assertEqual(subprocess.check_output([there.binary]), b"old\n")
        self.assertEqual(installation(self.root, "worker", "1.0.0"), there)

    def test_registry(self) -> None:
        """The registry says what older programs look for, and both checksums."""
        source = self.bundle(SCRIPT)
        there = install(self.root, "worker", "1.0.0", source=source)
        (record,) = orjson.loads((self.plugins / "registry.json").read_bytes())
        digest = hashlib.sha256(SCRIPT).hexdigest()
        self.assertEqual(record.pop("installed_at")[-1], "Z")
        expected = {
            "name": "worker",
            "version": "1.0.0",
            "target": this_target(),
            "install_dir": str(there.directory),
            "binary_path": str(there.binary),
            "source": {"type": "local", "path": source},
            "checksum": digest,
            "binary_sha256": digest,
        }
        self.assertEqual(record, expected)

    def test_archives(self) -> None:
        """Zip, tar and tar.gz are told by their names or first bytes; folders in them stay."""
        members = {"README.md": b"read me", "bin/dbx_my_worker": SCRIPT, "lib/data": b"\0" * 99}
        packed = [
            ("a.zip", zip_of(members)),
            ("a.tar.gz", tar_of(members)),
            ("a.TGZ", tar_of(members)),
            ("a.tar", tar_of(members, "w:")),
            ("zip", zip_of(members)),
            ("tgz", tar_of(members)),
            ("tar", tar_of(members, "w:")),
        ]
        for number, (name, content) in enumerate(packed):
            there = install(
                self.root, "my-worker", f"1.{number}.0", source=self.bundle(content, name)
            )
            self.assertEqual(there.binary, there.directory / "bin/dbx_my_worker", name)
            self.assertEqual(subprocess.check_output([there.binary]), b"old\n")
            self.assertEqual((there.directory / "lib/data").read_bytes(), b"\0" * 99)

    def test_binary(self) -> None:
        """With several files the program is named, or the candidates are."""
        source = self.bundle(zip_of({"one": SCRIPT, "deep/two": SCRIPT}), "a.zip")
        self.assertEqual(
            self.refused(source),
            "plugin bundle contains multiple files; specify --bin <filename>."
            " candidates: deep/two, one",
        )
        self.assertEqual(
            self.refused(source, binary="three"),
            "could not find binary 'three' in plugin bundle; available files: deep/two, one",
        )
        there = install(self.root, "worker", "1.0.0", source=source, binary="two")
        self.assertEqual(there.binary, there.directory / "deep/two")

    def test_again(self) -> None:
        """A version that is there is replaced only by force; others of it stay."""
        source = self.bundle(SCRIPT)
        install(self.root, "worker", "1.0.0", source=source)
        install(self.root, "worker", "1.1.0", source=source)
        self.assertEqual(
            self.refused(source),
            f"plugin 'worker' v1.0.0 for target {this_target()} is already installed;"
            " rerun with --force to overwrite",
        )
        there = install(
            self.root, "worker", "1.0.0", source=self.bundle(NEWER, "newer"), force=True
        )
        self.assertEqual(there.binary.read_bytes(), NEWER)
        self.assertEqual(
            [one.version for one in read_installed(self.root).of("worker", this_target())],
            ["1.0.0", "1.1.0"],
        )
        self.assertEqual(len(self.files()), 3)

    def test_checksum(self) -> None:
        """A checksum may be in capitals; a wrong one is refused and nothing stays."""
        source = self.bundle(SCRIPT)
        digest = hashlib.sha256(SCRIPT).hexdigest()
        self.assertEqual(
            self.refused(source, checksum="00"),
            f"checksum mismatch: expected 00, computed {digest}",
        )
        self.assertEqual(self.files(), {})
        install(self.root, "worker", "1.0.0", source=source, checksum=digest.upper())

    def test_names(self) -> None:
        """Names and versions that are no plain names never become folders."""
        source = self.bundle(SCRIPT)
        for name in ("", "..", "a/b", ".hidden", "x" * 65, "a b", "-x", "a\n"):
            self.assertIn("is not valid", self.refused(source, name))
            if name:
                self.assertIn("is not valid", self.refused(source, version=name))
        self.assertEqual(self.refused(source, version=""), "plugin version cannot be empty")
        self.assertEqual(
            self.refused(source, version=None),
            "plugin version must be specified when installing from a custom source",
        )
        self.assertIn("not the name of a file", self.refused(source, binary="../x"))
        self.assertEqual(self.files(), {})

    def test_no_source(self) -> None:
        """Without a source only programs of this package can be meant."""
        self.assertEqual(
            self.refused(None),
            "plugin 'worker' does not come with this package; name its bundle with"
            " --source PATH|URL",
        )

    def test_shipped(self) -> None:
        """A program of this package is registered where it stands, without a copy."""
        program = self.bundles / "dbx_rest"
        program.write_bytes(SCRIPT)
        self.patch(sys, "argv", [str(self.bundles / "dbx")])
        there = install(self.root, "rest")
        self.assertEqual(there.binary, program)
        self.assertEqual(installation(self.root, "rest", there.version), there)
        self.assertIn("comes with this package in version", self.refused(None, "rest", version="9"))
        self.assertEqual(uninstall(self.root, "rest"), [there.version])
        self.assertTrue(program.exists())

    def test_no_program(self) -> None:
        """What the system could not start is refused while someone is there to read why."""
        self.assertIn("is no program", self.refused(self.bundle(b"print('hello')\n", "a.py")))
        self.assertIn("is no program", self.refused(self.bundle(b"", "empty")))
        self.assertIn(
            "carriage return", self.refused(self.bundle(SCRIPT.replace(b"\n", b"\r\n"), "dos"))
        )
        self.assertEqual(self.files(), {})

    def test_missing_bundle(self) -> None:
        """A path that leads to no file is named with the cause."""
        path = str(self.bundles / "nowhere")
        self.assertEqual(
            self.refused(path),
            f"failed to open plugin bundle at {path}: No such file or directory (os error 2)",
        )
        self.assertIn("Is a directory", self.refused(str(self.bundles)))
        os.mkfifo(self.bundles / "pipe")
        self.assertIn("it is not a file", self.refused(str(self.bundles / "pipe")))


class Find(Folders):
    """What is launched."""

    def setUp(self) -> None:
        super().setUp()
        self.there = install(self.root, "worker", "1.0.0", source=self.bundle(SCRIPT))

    def lookup_fails(self, version: str = "1.0.0") -> str:
        """Return the reason why a program is not found."""
        return str(self.assertRaises(ConfigError, installation, self.root, "worker", version))

    def test_changed(self) -> None:
        """A program that was changed since it was installed is not launched."""
        with self.there.binary.open("ab") as writing:
            writing.write(b"echo more\n")
        self.assertIn("was changed since it was installed", self.lookup_fails())

    def test_gone(self) -> None:
        """A program that is not there is not installed, whatever the registry says."""
        missing = f"is not installed for target {this_target()}"
        self.assertEqual(
            self.lookup_fails("2.0.0"), f"configuration error: plugin worker@2.0.0 {missing}"
        )
        self.there.binary.unlink()
        self.assertEqual(self.lookup_fails(), f"configuration error: plugin worker@1.0.0 {missing}")

    def test_moved(self) -> None:
        """A data root that was moved or restored elsewhere keeps its programs."""
        moved = self.root.with_name("moved")
        self.root.rename(moved)
        found = installation(moved, "worker", "1.0.0")
        self.assertEqual(found.binary, moved / self.there.binary.relative_to(self.root))
        self.assertEqual(found.directory, found.binary.parent)

    def test_triple(self) -> None:
        """Records of earlier programs hold a triple for this machine, and no second checksum."""
        path = self.plugins / "registry.json"
        records = orjson.loads(path.read_bytes())
        system, _, machine = this_target().partition("-")
        vendor = {"linux": "unknown-linux-gnu", "macos": "apple-darwin"}[system]
        records[0]["target"] = f"{machine}-{vendor}"
        del records[0]["binary_sha256"], records[0]["source"]
        path.write_bytes(orjson.dumps(records))
        self.assertEqual(installation(self.root, "worker", "1.0.0").binary, self.there.binary)

    def test_uninstall(self) -> None:
        """What is not configured can be removed, with the folders around it."""
        install(self.root, "worker", "2.0.0", source=self.bundle(SCRIPT))
        configured = [("worker", "2.0.0")]
        error = self.assertRaises(
            BundleRefused, uninstall, self.root, "worker", configured=configured
        )
        self.assertIn("plugin 'worker' v2.0.0 is configured", str(error))
        self.assertEqual(uninstall(self.root, "worker", "1.0.0", configured=configured), ["1.0.0"])
        self.assertEqual(uninstall(self.root, "worker"), ["2.0.0"])
        self.assertEqual([path.name for path in self.plugins.iterdir()], ["registry.json"])
        error = self.assertRaises(BundleRefused, uninstall, self.root, "worker")
        self.assertEqual(str(error), "plugin 'worker' is not installed")


class Killed(Folders):
    """Commands that end in the middle."""

    def test_at_every_step(self) -> None:
        """Killed before any of its renames, a replacement is found undone or complete."""
        newer = self.bundle(NEWER, "newer")
        seen = []
        for steps in range(10):
            install(self.root, "worker", "1.0.0", source=self.bundle(SCRIPT), force=True)
            done = subprocess.run(
                [sys.executable, "-c", CUT_SHORT, str(steps), str(self.root), newer],
                cwd=ROOT,
                capture_output=True,
                check=False,
            )
            self.assertIn(done.returncode, (0, -signal.SIGKILL), done.stderr)
            there = installation(self.root, "worker", "1.0.0")
            seen.append(there.binary.read_bytes())
            self.assertEqual(sorted(path.name for path in self.plugins.iterdir()),
                             ["registry.json", "worker"])  # fmt: skip
            if done.returncode == 0:
                break
        self.assertEqual(seen[0], SCRIPT)
        self.assertEqual(seen[1:], [NEWER] * (len(seen) - 1))
        self.assertGreater(len(seen), 3)
