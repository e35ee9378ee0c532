"""``dbx backup`` and ``dbx restore`` where somebody, or chance, is against them."""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import stat
import tarfile
from collections import deque
from pathlib import Path
from typing import Any

from eventdbx.config import decode_data_key
from eventdbx.errors import IoError, StoreLocked
from eventdbx.services.backup_archives import Refused
from eventdbx.services.backups import archive_of, copied_here
from eventdbx.services.foreign_archives import importer
from eventdbx.services.restoring import Wanted, restore
from eventdbx.services.workspace import open_workspace
from eventdbx.storage.keyslots import KeySlots
from eventdbx.storage.lock import ProcessLock
from eventdbx.storage.rocks import RocksStore
from tests.surfaces.test_cli_backup import BackupCase

OTHER_KEY = base64.b64encode(b"another key of thirty-two bytes!").decode()


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return an entry of a tar."""
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, len(content)
    return header.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


class Hostile(BackupCase):
    """Archives that nobody made in good faith."""

    def foreign(self, *entries: bytes) -> Path:
        """Return an archive without checksums, of these entries."""
        text = json.dumps({"version": 1, "created_at": "", "config": {}, "config_path": ""})
        path = self.home / "hostile.tar.gz"
        content = b"".join((entry("manifest.json", text.encode()), *entries, bytes(1024)))
        path.write_bytes(gzip.compress(content))
        return path

    def manifested(self, change: Any) -> Path:
        """Return the archive with another manifest."""

        def apply(entries: list[tuple[tarfile.TarInfo, bytes]]) -> None:
            document = json.loads(entries[0][1])
            change(document)
            entries[0] = entries[0][0], json.dumps(document).encode()

        return self.changed(apply)

    def test_deep_folders(self) -> None:
        """Folders below folders, more than could be removed again, are not made."""
        for name, kind in (("f", tarfile.REGTYPE), ("", tarfile.DIRTYPE)):
            path = self.foreign(entry("data/" + "a/" * 1_700 + name, kind=kind))
            self.assertIn("below too many folders", self.refused(path))

    def test_extended_header(self) -> None:
        """A header whose length has more digits than Python reads is unreadable."""
        record = entry("x", b"9" * 5_000 + b" path=data/x\n", tarfile.XHDTYPE)
        self.assertIn("unreadable header", self.refused(self.foreign(record, entry("data/y"))))

    def test_configuration(self) -> None:
        """A configuration that cannot be read is told of as such."""
        for text in ("a", "[[a", "\0", "x='''", "a.b=1\na=2"):
            path = self.manifested(lambda found, text=text: found.update(config_toml=text))
            self.assertIn("failed to decode manifest.json", self.refused(path), text)
        tables: tuple[Any, ...] = (0, "", [])
        for table in tables:

            def change(found: dict[str, Any], table: Any = table) -> None:
                del found["config_toml"]
                found["config"]["auth"] = found["config"]["integrity"] = table

            self.assertIn("failed to decode manifest.json", self.refused(self.manifested(change)))
        path = self.manifested(lambda found: found["config"].update(data_dir="a\0b"))
        self.assertIn("its data_dir is no path", self.refused(path))

    def test_not_sealed(self) -> None:
        """With a passphrase only what was sealed is taken: anybody could have made the rest."""
        secret = self.home / "secret"
        secret.write_text("correct horse\n")
        said = self.refused(self.archive, "--passphrase-file", str(secret))
        self.assertIn("is not sealed", said)
        secret.write_bytes(bytes(1 << 20))
        said = self.refused(self.archive, "--passphrase-file", str(secret))
        self.assertIn("too large for a passphrase", said)

    def test_older_than_what_was_signed(self) -> None:
        """A log that was put back is told apart from one that was changed."""
        self.create("order", "o-2")
        kept = self.home / "kept.checkpoint"
        kept.write_text(self.dbx("checkpoint", "--sign").stdout)
        self.dbx("restore", "--input", str(self.archive), "--force")
        for name in ("o-3", "o-4"):
            ended = self.attempt("verify", "--checkpoint", str(kept))
            self.assertEqual(ended.status, 1)
            self.assertIn("an older backup that was restored does that, too", ended.stderr)
            self.create("order", name)
        self.assertIn("backup_restored", self.dbx("audit", "log").stdout)

    def test_devices_stay(self) -> None:
        """--force replaces an archive, not whatever has that name."""
        pipe = self.home / "pipe"
        os.mkfifo(pipe)
        said = self.failed("backup", "--output", str(pipe), "--force")
        self.assertIn("is no regular file", said)
        self.assertTrue(stat.S_ISFIFO(pipe.stat().st_mode))


class Packed(BackupCase):
    """What is in the data directory besides the stores."""

    def pack(self, *options: str) -> list[str]:
        """Make another archive; return the names in it."""
        self.dbx("backup", "--output", str(self.archive), "--force", *options)
        return self.names()

    def test_domains_that_come_and_go(self) -> None:
        """Nothing of a domain that is being made, merged or removed is packed as a file."""
        for folder in ("domains/.deleting/gone.1.2", ".merging"):
            store = self.data / folder / "event_store"
            store.mkdir(parents=True)
            (store / "CURRENT").write_text("MANIFEST-000001\n")
            (store.parent / "data_keys").write_text("keys of what is gone")
        names = self.pack()
        self.assertEqual([one for one in names if "gone" in one or ".merging" in one], [])

    def test_programs(self) -> None:
        """The programs of plugins can be run again after a restore, and nothing else."""
        folder = self.data / "plugins" / "p" / "1.0.0"
        folder.mkdir(parents=True)
        for name in ("program", "readme"):
            (folder / name).write_text("#!/bin/sh\n")
        (folder / "program").chmod(0o755)
        (self.data / "schemas.json").chmod(0o755)
        self.pack()
        self.dbx("restore", "--input", str(self.archive), "--force")
        modes = [stat.S_IMODE((folder / name).stat().st_mode) for name in ("program", "readme")]
        self.assertEqual(modes, [0o700, 0o600])
        self.assertEqual(stat.S_IMODE((self.data / "schemas.json").stat().st_mode), 0o600)

    def test_linked_domain(self) -> None:
        """A domain whose folder is a link to another disk is packed as a whole."""
        self.dbx("checkout", "-d", "people", "--create")
        self.create("person", "p-1")
        (self.data / "domains" / "people" / "schemas.json").write_text("{}")
        elsewhere = self.home / "elsewhere"
        shutil.move(self.data / "domains" / "people", elsewhere)
        (self.data / "domains" / "people").symlink_to(elsewhere)
        names = self.pack()
        self.assertIn("data/domains/people/schemas.json", names)
        self.assertIn("data/domains/people/event_store/CURRENT", names)

    def test_a_name_that_is_no_text(self) -> None:
        """A file that a manifest cannot name is told of."""
        with open(os.fsencode(self.data) + b"/\xff", "w"):
            pass
        said = self.failed("backup", "--output", str(self.archive), "--force")
        self.assertIn("its name is not UTF-8", said)

    def test_no_secret_without_keys(self) -> None:
        """No key is in an archive without keys, wherever else it was written down."""
        config = self.data / "config.toml"
        text = config.read_text()
        key = json.dumps(self.manifest()["config"]["data_encryption_key"])
        extra = (
            f"# data_encryption_key = {json.dumps(OTHER_KEY)}\n{text}\n"
            f'[[remotes]]\nname = "a.b"\nendpoint = "tcp://h:1"\ntoken = "plain-secret"\n'
        )
        config.write_text(extra)
        (self.data / ".config.toml.abcd_123").write_text(extra)
        (self.data / "config.toml.before-restore").write_text(extra)
        (self.data / "tokens.json.legacy").write_text("plain-secret")
        (self.data / "remote.json").write_text('{"token": "plain-secret"}')
        self.pack("--without-keys")
        with gzip.open(self.archive) as stream:
            content = stream.read()
        for secret in (OTHER_KEY, key.strip('"'), "plain-secret"):
            self.assertNotIn(secret.encode(), content)
        self.assertIn(b"a.b", content)

    def test_key_that_changes_meanwhile(self) -> None:
        """An archive has the key that its data keys are wrapped by when they are copied."""
        workspace, config = open_workspace(environ=os.environ)
        older = config.data_encryption_key
        assert older is not None
        slots = KeySlots.open(str(self.data / "data_keys"), [decode_data_key(older)])
        deque(slots.rewrap(decode_data_key(OTHER_KEY)), maxlen=0)
        slots.close()
        workspace.save({"data_encryption_key": OTHER_KEY})
        with copied_here(workspace, with_keys=True) as copied:
            archive_of(copied, workspace, config, self.archive, force=True)
        self.dbx("backup", "verify", str(self.archive))
        self.assertEqual(self.manifest()["config"]["data_encryption_keys"], [older])

    def test_copy_that_vanishes(self) -> None:
        """A server that stops takes its copy away: that is told, and there is no archive."""
        workspace, config = open_workspace(environ=os.environ)
        path = self.home / "none.tar.gz"
        with copied_here(workspace, with_keys=True) as copied:

            def vanish(_count: int) -> None:
                shutil.rmtree(copied.folder, ignore_errors=True)

            with self.assertRaises(IoError) as raised:
                archive_of(copied, workspace, config, path, force=False, advance=vanish)
        self.assertIn("the server has stopped", raised.exception.detail)
        self.assertFalse(path.exists())


class Places(BackupCase):
    """Data directories that are not simply directories."""

    def test_link(self) -> None:
        """A link to the data directory stays one, and the old data behind it is gone."""
        elsewhere = self.home / "elsewhere"
        shutil.move(self.data, elsewhere)
        self.data.symlink_to(elsewhere)
        self.create("order", "o-2")
        self.dbx("restore", "--input", str(self.archive), "--force")
        self.assertTrue(self.data.is_symlink())
        found = self.dbx("aggregate", "list", "--json").document
        self.assertEqual([one["aggregate_id"] for one in found], ["o-1"])
        left = [one.name for one in self.home.iterdir() if "replac" in one.name or
                "restor" in one.name or "remov" in one.name]  # fmt: skip
        self.assertEqual(left, [])
        shutil.rmtree(elsewhere)
        elsewhere.mkdir()
        self.dbx("restore", "--input", str(self.archive))
        self.dbx("verify")

    def test_configuration_that_cannot_be_written(self) -> None:
        """Where the configuration cannot go the data stays as well."""
        folder = self.home / "folder"
        folder.mkdir()
        for path in (folder, self.archive / "config.toml", self.data / "data_keys"):
            before = self.data.stat().st_ino
            said = self.failed("--config", str(path), "restore", "--input", str(self.archive),
                               "--force")  # fmt: skip
            self.assertIn("Error: ", said)
            self.assertEqual(self.data.stat().st_ino, before)
        self.dbx("verify")

    def test_open_store(self) -> None:
        """A store that a command has open to write is not taken from under it."""
        store = RocksStore.open(str(self.store), create=False)
        try:
            said = self.refused(self.archive)
        finally:
            store.close()
        self.assertIn("event store lock at", said)
        self.dbx("restore", "--input", str(self.archive), "--force")

    def test_lock_of_another_folder(self) -> None:
        """A lock counts only while its file is the one that has the name."""
        path = self.home / "lock"
        first = ProcessLock(str(path))
        path.rename(self.home / "aside")
        second = ProcessLock(str(path))
        self.assertRaises(StoreLocked, ProcessLock, str(path))
        first.release()
        second.release()

    def test_only_keys(self) -> None:
        """An archive without keys does not take away those that it needs."""
        bare = self.home / "bare.tar.gz"
        self.dbx("backup", "--output", str(bare), "--without-keys")
        self.assertIn("the archive has no keys", self.refused(bare))
        self.dbx("verify")

    def test_filled_meanwhile(self) -> None:
        """What comes into an empty directory while an archive is unpacked is not replaced."""
        target, config = self.home / "copy", self.home / "c" / "config.toml"

        def fill(_count: int) -> None:
            target.mkdir(exist_ok=True)
            (target / "event_store").mkdir(exist_ok=True)

        target.mkdir()
        wanted = Wanted(self.archive, config, target, target)
        with self.assertRaises(Refused) as raised:
            restore(wanted, import_foreign=importer(accept=False), environ=os.environ, advance=fill)
        self.assertIn("is not empty", raised.exception.detail)
        self.assertEqual([one.name for one in target.iterdir()], ["event_store"])
        self.assertFalse(config.exists())
