"""The exported files of schemas, and what becomes of an edit by hand."""

from __future__ import annotations

from pathlib import Path

import orjson
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.domains import Domain
from eventdbx.config import Config
from eventdbx.errors import InvalidSchema, SerializationError
from eventdbx.services.stores import open_configured, open_domain
from eventdbx.storage.hops import synchronous

CREATE = {"do": "create", "aggregate": "order", "events": ["order_placed"]}
EDITED = b'{"person": {"events": {"person_born": {"fields": []}}}}'


class SchemaFilesTests(SynchronousTestCase):
    """A domain's folder with a real store."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = self.folder / "schemas.json"

    def open(self, *, reading: bool = False) -> Domain:
        """Open the domain as a command without a server does."""
        path = self.folder / "event_store"
        backend = open_configured(path, Config(), read_only=True) if reading else None
        domain = open_domain("default", path, Config(), hop=synchronous(), backend=backend)
        if backend is not None:
            self.addCleanup(backend.close)
        return domain

    def close(self, domain: Domain) -> None:
        self.successResultOf(domain.store.close())

    def names(self, *, reading: bool = False) -> list[str]:
        """Open the domain, return the names of its schemas, and close it."""
        domain = self.open(reading=reading)
        names = sorted(domain.schemas.in_force.schemas)
        if not reading:
            self.close(domain)
        return names

    def test_new(self) -> None:
        """A new domain has an empty file."""
        self.assertEqual(self.names(), [])
        self.assertEqual(self.file.read_bytes(), b"{}")

    def test_export(self) -> None:
        """A change and a publication are in the files when they are acknowledged; only the owner
        can read them."""
        domain = self.open()
        self.successResultOf(domain.schemas.change([CREATE]))
        text = self.file.read_text()
        self.assertEqual(orjson.loads(text).keys(), {"order"})
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
        version = self.successResultOf(domain.schemas.publish(activate=True)).version
        manifest = orjson.loads((self.folder / "schemas" / "schema_manifest.json").read_bytes())
        self.assertEqual(manifest["active_version"], version)
        kept = self.folder / manifest["versions"][0]["file"]
        self.assertEqual(kept.read_text(), text)
        self.close(domain)

    def test_edited_by_hand(self) -> None:
        """An edit made while no server ran is in force from the next opening on, and recorded."""
        domain = self.open()
        self.successResultOf(domain.schemas.change([CREATE]))
        self.close(domain)
        self.file.write_bytes(EDITED)
        self.assertEqual(self.names(reading=True), ["person"])
        self.assertEqual(self.names(), ["person"])
        domain = self.open()
        self.assertEqual(domain.schemas.changes()[-1]["reason"], "schemas.json was edited by hand")
        self.assertEqual(len(domain.schemas.changes()), 2)
        self.close(domain)

    def test_found_at_first(self) -> None:
        """The file of an existing installation is taken over by a new store."""
        self.file.write_bytes(EDITED)
        self.assertEqual(self.names(), ["person"])

    def test_reload(self) -> None:
        """An edit beside an open store counts when it is asked to look."""
        domain = self.open()
        self.file.write_bytes(EDITED)
        self.assertEqual(sorted(domain.schemas.in_force.schemas), [])
        self.assertEqual(self.successResultOf(domain.reload_schemas()), [])
        self.assertEqual(sorted(domain.schemas.in_force.schemas), ["person"])
        self.close(domain)

    def test_edit_beside_changes(self) -> None:
        """An edit that another change overtakes is kept beside the file, not lost."""
        domain = self.open()
        self.file.write_bytes(EDITED)
        self.successResultOf(domain.schemas.change([CREATE]))
        self.assertEqual(orjson.loads(self.file.read_bytes()).keys(), {"order"})
        kept = self.folder / "schemas.json.edited-1"
        self.assertEqual(kept.read_bytes(), EDITED)
        self.file.write_bytes(EDITED + b" ")
        self.successResultOf(domain.schemas.publish())
        self.assertEqual((self.folder / "schemas.json.edited-2").read_bytes(), EDITED + b" ")
        self.successResultOf(domain.schemas.publish(force=True))
        self.assertFalse((self.folder / "schemas.json.edited-3").exists())
        self.close(domain)

    def test_malformed(self) -> None:
        """A file that cannot be read keeps the domain closed; it is named, and left alone."""
        self.names()
        for text in (b'{"a": ', b'{"a": {"events": 1}}'):
            self.file.write_bytes(text)
            error = self.assertRaises(SerializationError, self.open)
            self.assertIn(str(self.file), str(error))
            self.assertEqual(self.file.read_bytes(), text)

    def test_beyond_limits(self) -> None:
        """A file beyond the limits is refused too."""
        self.names()
        name = "x" * 200
        self.file.write_bytes(orjson.dumps({name: {"events": {"a": {"fields": []}}}}))
        self.assertRaises(InvalidSchema, self.open)

    def test_blank(self) -> None:
        """A blank file says nothing: it is written again."""
        domain = self.open()
        self.successResultOf(domain.schemas.change([CREATE]))
        self.close(domain)
        self.file.write_bytes(b" \n")
        self.assertEqual(self.names(), ["order"])
        self.assertIn(b"order_placed", self.file.read_bytes())

    def test_lost_export(self) -> None:
        """What was committed and not exported, as after a crash, is exported at the next opening
        and not mistaken for an edit."""
        domain = self.open()
        self.successResultOf(domain.schemas.change([CREATE]))
        before = self.file.read_bytes()
        add = {"do": "add_events", "aggregate": "order", "events": ["order_sent"]}
        self.successResultOf(domain.schemas.change([add]))
        self.close(domain)
        self.file.write_bytes(before)
        domain = self.open()
        self.assertIn("order_sent", domain.schemas.in_force.schemas["order"].events)
        self.assertIn(b"order_sent", self.file.read_bytes())
        self.close(domain)
        self.file.unlink()
        self.assertEqual(self.names(), ["order"])
        self.assertIn(b"order_sent", self.file.read_bytes())
