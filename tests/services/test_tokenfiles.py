"""The ledger's files: sealed, private, changed by one at a time, shared with older programs."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.ledger import Ledger
from eventdbx.application.sealing import SEALED, seal, unseal
from eventdbx.application.token_records import TokenRecord
from eventdbx.domain.grants import Grant
from eventdbx.errors import ConfigError, SerializationError, StorageError
from eventdbx.services.revocations import Revocations
from eventdbx.services.tokenfiles import TokenFiles

KEY = base64.b64encode(bytes(range(32))).decode()
NOW = 1_767_322_800_000_000_000
REVOKED = '[{"jti":"%s","revoked_at":"2026-01-02T03:00:00Z","reason":null,"expires_at":null}]'


class FilesCase(SynchronousTestCase):
    """A data directory of its own for each test."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.ledger_path = self.folder / "tokens.json"
        self.revocations_path = self.folder / "jwt_revocations.json"
        self.notices: list[str] = []

    def files(self, *keys: str) -> TokenFiles:
        """Return the files as one program sees them."""
        return TokenFiles(self.folder, keys or [KEY], lambda: NOW, self.notices.append)

    def add(self, jti: str, *keys: str) -> None:
        """Record a token."""
        with self.files(*keys).change() as ledger:
            ledger.add(TokenRecord.of(Grant(jti=jti, subject="s"), NOW))

    def ids(self, ledger: Ledger) -> list[str]:
        """Return the ids of recorded tokens."""
        return [record.jti for record in ledger.records]


class Writing(FilesCase):
    """What is on disk."""

    def test_known_text(self) -> None:
        """Sealing gives the bytes that other programs give for the same key and nonce."""
        text = "ENCv1:AAECAwQFBgcICQoLPCC3Of/Uv/leDUorNT/XZP722B+wgyY="
        self.assertEqual(seal('{"a":1}', KEY, bytes(range(12))), text)
        self.assertEqual(unseal(text, [KEY]), '{"a":1}')

    def test_sealed_and_private(self) -> None:
        """Both files are sealed and readable by their owner alone, also if others could before."""
        self.ledger_path.write_text("[]")
        self.ledger_path.chmod(0o644)
        self.revocations_path.write_text(REVOKED % "old")
        self.add("j-1")
        for path in (self.ledger_path, self.revocations_path):
            self.assertTrue(path.read_text().startswith(SEALED))
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.ids(self.files().read()), ["j-1"])
        self.assertIn("old", Revocations(self.revocations_path, [KEY]))

    def test_without_a_key(self) -> None:
        """Without a data key the files are plain; sealed ones cannot be read."""
        plain = TokenFiles(self.folder, [], lambda: NOW, self.notices.append)
        with plain.change() as ledger:
            ledger.add(TokenRecord.of(Grant(jti="j-1", subject="s"), NOW))
        self.assertEqual(json.loads(self.ledger_path.read_text())[0]["jti"], "j-1")
        self.add("j-2")
        error = self.assertRaises(ConfigError, plain.read)
        self.assertIn("must be configured to read encrypted tokens", str(error))
        other = base64.b64encode(bytes(32)).decode()
        self.assertRaises(StorageError, self.files(other).read)
        self.assertEqual(self.ids(self.files(other, KEY).read()), ["j-1", "j-2"])

    def test_failed_change(self) -> None:
        """A change that fails leaves the files as they were."""
        self.add("j-1")
        before = self.ledger_path.read_bytes()

        def fail() -> None:
            with self.files().change() as ledger:
                ledger.add(TokenRecord.of(Grant(jti="j-2", subject="s"), NOW))
                raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, fail)
        self.assertEqual(self.ledger_path.read_bytes(), before)

    def test_two_programs(self) -> None:
        """Each change starts from what the others wrote: nothing is lost."""
        first, second = self.files(), self.files()
        first.read()
        second.read()
        self.add("j-1")
        with second.change() as ledger:
            ledger.add(TokenRecord.of(Grant(jti="j-2", subject="s"), NOW))
        self.assertEqual(self.ids(first.read()), ["j-1", "j-2"])


class OlderPrograms(FilesCase):
    """What they left behind."""

    def test_files_of_domains(self) -> None:
        """Tokens revoked in a domain are revoked for the server, once it has started."""
        for number, place in enumerate(("domains/herds", "shards/shard-0003/tenants/acme")):
            folder = self.folder / place
            folder.mkdir(parents=True)
            (folder / "jwt_revocations.json").write_text(REVOKED % f"j-{number}")
        self.assertTrue(self.files().read().is_revoked("j-1"))
        self.assertFalse(self.revocations_path.exists())
        self.files().adopt()
        revocations = Revocations(self.revocations_path, [KEY])
        self.assertTrue("j-0" in revocations and "j-1" in revocations)
        written = self.revocations_path.read_bytes()
        self.files().adopt()
        self.assertEqual(self.revocations_path.read_bytes(), written)

    def test_opaque_tokens(self) -> None:
        """A ledger of before 2.0 is moved aside and said so once."""
        self.ledger_path.write_text('[{"token":"EVT-00","group":"g","user":"u"}]')
        self.add("j-1")
        self.assertEqual(self.ids(self.files().read()), ["j-1"])
        self.assertIn("EVT-00", (self.folder / "tokens.json.legacy").read_text())
        self.assertEqual(len(self.notices), 1)

    def test_nonsense(self) -> None:
        """A file that is no ledger is never overwritten."""
        self.ledger_path.write_text("{")
        self.assertRaises(SerializationError, self.add, "j-1")
        self.assertEqual(self.ledger_path.read_text(), "{")
