"""``dbx backup``, ``dbx backup verify`` and ``dbx restore``, without a server."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventdbx.surfaces.cli.shell import history as shell_history
from tests.surfaces.command_line import CommandLineCase

Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


class BackupCase(CommandLineCase):
    """A home with one aggregate, and an archive of it."""

    def setUp(self) -> None:
        super().setUp()
        self.data = self.home / ".eventdbx"
        self.archive = self.home / "b.tar.gz"
        self.create("order", "o-1", "--field", "a=1")
        self.dbx("backup", "--output", str(self.archive))

    def manifest(self, path: Path | None = None) -> Any:
        """Return the manifest of an archive."""
        with tarfile.open(path or self.archive) as archive:
            entry = archive.extractfile("manifest.json")
            assert entry is not None
            return json.load(entry)

    def names(self, path: Path | None = None) -> list[str]:
        """Return what is in an archive."""
        with tarfile.open(path or self.archive) as archive:
            return archive.getnames()

    def changed(self, change: Change) -> Path:
        """Return an archive with the same entries, but for a change."""
        entries: list[tuple[tarfile.TarInfo, bytes]] = []
        with tarfile.open(self.archive) as archive:
            for entry in archive:
                reading = archive.extractfile(entry)
                entries.append((entry, b"" if reading is None else reading.read()))
        change(entries)
        target = self.home / "changed.tar.gz"
        with gzip.open(target, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as archive:
            for entry, content in entries:
                if entry.isreg():
                    entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return target

    def refused(self, path: Path, *options: str) -> str:
        """Try to restore over what is there; it must fail and change nothing."""
        before = {one.name: one.stat().st_ino for one in self.data.iterdir()}
        said = self.failed("restore", "--input", str(path), "--force", *options)
        after = {one.name: one.stat().st_ino for one in self.data.iterdir()}
        self.assertEqual(before, after)
        left = [one.name for one in self.home.iterdir() if one.name.startswith("..")]
        self.assertEqual(left, [])
        return said


class Backup(BackupCase):
    """Archives that are made."""

    def test_content(self) -> None:
        """The archive is for its owner, has checksums of all files, and no token that never
        ends."""
        self.assertEqual(stat.S_IMODE(self.archive.stat().st_mode), 0o600)
        found = self.manifest()
        self.assertEqual(found["version"], 1)
        self.assertIn("data_encryption_key", found["config"])
        self.assertEqual(found["domains"], ["default"])
        names = set(self.names())
        files = {name for name in names if name in found["checksums"]}
        self.assertIn("data/data_keys", files)
        self.assertIn("data/event_store/CURRENT", files)
        strange = {Path(name).name for name in names} & {
            "cli.token", "eventdbx.pid", "config.toml", "logs", "LOCK", "eventdbx.lock"
        }  # fmt: skip
        self.assertEqual(strange, set())
        self.assertEqual(list(self.data.glob(".backup-*")), [])

    def test_document(self) -> None:
        """With --json the command says what it has made."""
        path = self.home / "c.tar.gz"
        found = self.dbx("backup", "--output", str(path), "--json").document
        self.assertEqual(found["path"], str(path))
        self.assertEqual(found["bytes"], path.stat().st_size)
        self.assertEqual(found["keys"], True)

    def test_links(self) -> None:
        """A link that leads into the data directory is noticed."""
        link = self.home / "elsewhere"
        link.symlink_to(self.data)
        said = self.failed("backup", "--output", str(link / "b.tar.gz"))
        self.assertIn("resides inside the data directory", said)

    def test_force_keeps_the_old_one(self) -> None:
        """A backup that fails leaves the archive that is there as it was."""
        before = self.archive.read_bytes()
        config = self.data / "config.toml"
        config.write_text(config.read_text() + "\n[broken")
        self.failed("backup", "--output", str(self.archive), "--force")
        self.assertEqual(self.archive.read_bytes(), before)

    def test_without_keys(self) -> None:
        """Without keys no key and no token is in the archive; with them put back it reads."""
        path, keys = self.home / "bare.tar.gz", self.home / "keys.tar"
        self.dbx("token", "generate", "--group", "g", "--user", "u", "--action", "*.*")
        self.dbx("keys", "backup", "--out", str(keys))
        configured = self.manifest()["config"]
        self.dbx("backup", "--output", str(path), "--without-keys")
        found = self.manifest(path)
        secrets = (configured["data_encryption_key"], configured["auth"]["private_key"])
        for secret in secrets:
            self.assertNotIn(secret, json.dumps(found))
        kept = {Path(name).name for name in self.names(path)}
        self.assertEqual(kept & {"data_keys", "tokens.json", "tokens.journal"}, set())
        ended = self.attempt("--config", str(self.home / "c" / "config.toml"), "restore", "--input",
                             str(path), "--data-dir", str(self.home / "bare"))  # fmt: skip
        self.assertEqual(ended.status, 0, ended.stderr)
        self.assertIn("data keys of domain 'default' are not in the archive", ended.stderr)
        other = ("--config", str(self.home / "c" / "config.toml"))
        self.dbx(*other, "config", "--dek", configured["data_encryption_key"])
        self.dbx(*other, "keys", "restore", "--from", str(keys))
        self.dbx(*other, "verify")

    def test_sealed(self) -> None:
        """A sealed archive opens with its passphrase alone, and shows no change."""
        secret, wrong = self.home / "secret", self.home / "wrong"
        secret.write_text("correct horse\n")
        wrong.write_text("battery staple\n")
        path = self.home / "sealed"
        self.dbx("backup", "--output", str(path), "--passphrase-file", str(secret))
        self.assertNotIn(b"manifest", path.read_bytes())
        self.assertIn("give --passphrase-file", self.refused(path))
        self.assertIn("passphrase is wrong", self.refused(path, "--passphrase-file", str(wrong)))
        said = self.dbx("backup", "verify", str(path), "--passphrase-file", str(secret)).stdout
        self.assertIn("verified 1 aggregate(s) with 1 event(s)", said)
        content = bytearray(path.read_bytes())
        for at in (60, len(content) // 2, len(content) - 1):
            content[at] ^= 1
            path.write_bytes(content)
            self.refused(path, "--passphrase-file", str(secret))
            content[at] ^= 1
        path.write_bytes(content[:-40])
        self.refused(path, "--passphrase-file", str(secret))
        path.write_bytes(content)
        self.dbx("-q", "restore", "--input", str(path), "--force",
                 "--passphrase-file", str(secret))  # fmt: skip


class Verify(BackupCase):
    """Archives that are checked only."""

    def test_sound(self) -> None:
        """A sound archive is told to be so, and nothing is left behind."""
        found = self.dbx("backup", "verify", str(self.archive), "--json").document
        self.assertEqual(found["domains"][0]["events"], 1)
        self.assertEqual(found["domains"][0]["findings"], [])
        self.dbx("restore", "--input", str(self.archive), "--check")

    def test_changed_store(self) -> None:
        """A table that was changed together with its checksum is found by the store."""

        def change(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            import hashlib

            number = next(n for n, (one, _) in enumerate(entries) if one.name.endswith(".sst"))
            content = bytearray(entries[number][1])
            content[len(content) // 3] ^= 0xFF
            entries[number] = entries[number][0], bytes(content)
            document = json.loads(entries[0][1])
            name = entries[number][0].name
            document["checksums"][name]["sha256"] = hashlib.sha256(content).hexdigest()
            entries[0] = entries[0][0], json.dumps(document).encode()

        ended = self.attempt("backup", "verify", str(self.changed(change)))
        self.assertEqual(ended.status, 1, ended)


class Restore(BackupCase):
    """Archives that are put back, or refused."""

    def test_back(self) -> None:
        """What was written after the backup is gone, and a new operator's token is made."""
        self.create("order", "o-2")
        self.dbx("restore", "--input", str(self.archive), "--force")
        found = self.dbx("aggregate", "list", "--json").document
        self.assertEqual([one["aggregate_id"] for one in found], ["o-1"])
        self.dbx("verify")
        trail = self.dbx("audit", "log", "--json")
        self.assertIn("backup_restored", trail.stdout)

    def test_domains(self) -> None:
        """Every domain is in the archive."""
        self.dbx("checkout", "-d", "people", "--create")
        self.create("person", "p-1")
        path = self.home / "all.tar.gz"
        self.dbx("backup", "--output", str(path))
        self.assertEqual(self.manifest(path)["domains"], ["default", "people"])
        copy = ("--config", str(self.home / "c" / "config.toml"))
        self.dbx(*copy, "restore", "--input", str(path), "--data-dir", str(self.home / "copy"))
        self.assertIn("p-1", self.dbx(*copy, "aggregate", "list").stdout)

    def test_what_is_of_the_person(self) -> None:
        """What somebody typed in a shell is in no archive, and a restore leaves it there."""
        history = self.data / shell_history.FILE_NAME
        history.write_text("aggregate get patient p-1\n")
        path = self.home / "shell.tar.gz"
        self.dbx("backup", "--output", str(path))
        self.assertEqual([one for one in self.names(path) if "history" in one], [])
        self.dbx("restore", "--input", str(path), "--force")
        self.assertEqual(history.read_text(), "aggregate get patient p-1\n")

    def test_not_ours(self) -> None:
        """A directory with somebody's files in it is not replaced."""
        (self.data / "thesis.txt").write_text("mine")
        said = self.refused(self.archive)
        self.assertIn("holds what is not EventDBX data (thesis.txt)", said)

    def test_truncated(self) -> None:
        """An archive that is cut off is refused, wherever that is."""
        content = self.archive.read_bytes()
        for part in (0, 5, 100, len(content) // 2, len(content) - 9, len(content) - 1):
            self.archive.write_bytes(content[:part])
            self.assertIn("Error: ", self.refused(self.archive))

    def test_flipped(self) -> None:
        """An archive with a wrong byte in it is refused."""
        content = bytearray(self.archive.read_bytes())
        for at in range(12, len(content), len(content) // 12):
            content[at] ^= 0x10
            self.archive.write_bytes(content)
            self.refused(self.archive)
            content[at] ^= 0x10

    def test_changed_file(self) -> None:
        """A file that differs from its checksum, is missing, or was added, is named."""

        def exchange(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            for number, (entry, content) in enumerate(entries):
                if entry.name == "data/data_keys":
                    entries[number] = entry, bytes(len(content))

        self.assertIn("data/data_keys differs from its checksum",
                      self.refused(self.changed(exchange)))  # fmt: skip

        def remove(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            entries[:] = [one for one in entries if one[0].name != "data/data_keys"]

        self.assertIn("data/data_keys is missing", self.refused(self.changed(remove)))

        def add(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            entries.append((tarfile.TarInfo("data/more"), b"more"))

        self.assertIn("data/more is not in the manifest", self.refused(self.changed(add)))

    def test_hostile(self) -> None:
        """Entries that lead elsewhere, come twice, or are no files, end it before they are
        written."""
        for name, kind in (
            ("../evil", tarfile.REGTYPE), ("data/../../evil", tarfile.REGTYPE),
            ("/evil", tarfile.REGTYPE), ("evil", tarfile.REGTYPE),
            ("data//evil", tarfile.REGTYPE), ("data/a", tarfile.SYMTYPE),
            ("data/a", tarfile.LNKTYPE), ("data/a", tarfile.CHRTYPE),
            ("data/a", tarfile.FIFOTYPE), ("data/data_keys", tarfile.REGTYPE),
        ):  # fmt: skip

            def add(
                entries: list[tuple[tarfile.TarInfo, bytes]], name: str = name, kind: bytes = kind
            ) -> None:
                document = json.loads(entries[0][1])
                del document["program"], document["checksums"]  # Where no checksum is in the way.
                entries[0] = entries[0][0], json.dumps(document).encode()
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = kind, "../../evil"
                entries.append((entry, b"evil" if kind == tarfile.REGTYPE else b""))

            said = self.refused(self.changed(add))
            self.assertIn("failed to unpack backup archive", said, name)
        self.assertEqual(list(self.home.rglob("evil")), [])

    def test_bomb(self) -> None:
        """More than the manifest tells of, or than the disk has room for, is not unpacked."""

        def grow(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            for number, (entry, _content) in enumerate(entries):
                if entry.name == "data/data_keys":
                    entries[number] = entry, bytes(32 << 20)

        self.assertIn("bytes, ", self.refused(self.changed(grow)))
        header = tarfile.TarInfo("data/large")
        header.size = 1 << 50

        def announce(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            document = json.loads(entries[0][1])
            del document["program"], document["checksums"]
            entries[:] = [(entries[0][0], json.dumps(document).encode())]

        path = self.changed(announce)
        with gzip.open(path, "rb") as stream:
            start = stream.read()[:-1024].rstrip(b"\0")
        start += bytes(-len(start) % 512)
        path.write_bytes(gzip.compress(start + header.tobuf(tarfile.GNU_FORMAT) + bytes(4096)))
        self.assertIn("not enough room", self.refused(path))

    def test_manifest(self) -> None:
        """A manifest that is missing, unreadable, or of a later program, is said to be."""

        def without(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            del entries[0]

        self.assertIn("does not contain a manifest.json", self.refused(self.changed(without)))

        def broken(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            entries[0] = entries[0][0], b"{"

        self.assertIn("failed to decode manifest.json", self.refused(self.changed(broken)))

        def later(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            document = json.loads(entries[0][1])
            document["formats"]["store"] = 99
            entries[0] = entries[0][0], json.dumps(document).encode()

        self.assertIn("have format 99", self.refused(self.changed(later)))

        def bare(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            del entries[1:]

        self.assertIn("missing the data directory", self.refused(self.changed(bare)))

    def test_configuration_outside(self) -> None:
        """A restore that was killed before its configuration was written is finished later."""
        other = self.home / "c" / "config.toml"
        copy = self.home / "copy"
        into = ("--config", str(other), "restore", "--input", str(self.archive), "--data-dir")
        self.dbx(*into, str(copy))
        text = other.read_text()
        pending = {"config_path": str(other), "text": text.replace("page_limit = 1000",
                                                                   "page_limit = 999")}  # fmt: skip
        (copy / ".restored.json").write_text(json.dumps(pending))
        self.assertEqual(self.dbx("--config", str(other), "config", "page_limit").stdout, "999\n")
        self.assertFalse((copy / ".restored.json").exists())
        self.assertEqual((other.parent / "config.toml.before-restore").read_text(), text)

    def test_another_key_in_the_environment(self) -> None:
        """The key of the archive opens it, whatever key is set here."""
        os.environ["EVENTDBX_DATA_ENCRYPTION_KEY"] = "A" * 43 + "="
        self.dbx("restore", "--input", str(self.archive), "--force")
        self.dbx("backup", "verify", str(self.archive))
        del os.environ["EVENTDBX_DATA_ENCRYPTION_KEY"]
        self.dbx("verify")
