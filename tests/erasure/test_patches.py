"""A patch keeps other parts of the values that it touches: it is about whom these are about."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.internet.defer import Deferred

from eventdbx import errors, limits
from eventdbx.domain.commands import Write
from eventdbx.domain.events import Event
from tests.erasure.places import ALICE, OnDisk

ANNA, STREET = "anna-7351@example.org", "Elm-7351"
CITY = [{"op": "replace", "path": "/address/city", "value": "Bern"}]


class Patched(OnDisk):
    """An order with the address of somebody."""

    def setUp(self) -> None:
        super().setUp()
        self.write("o-1", {"items": [1], "note": {"text": "fragile"}})
        self.write("o-1", {"address": {"street": STREET, "city": "Basel"}}, subject=ANNA)

    def amending(self, operations: Any, metadata: str | None = None) -> Deferred[Event]:
        """Patch the order."""
        text = orjson.dumps(operations)
        write = Write("patch", "order", "o-1", "patched", text, metadata)
        return self.domain.writer.write((write,), actor=ALICE, render=lambda done: done[0].event)

    def amend(self, operations: Any, metadata: str | None = None) -> Event:
        """Patch the order; return the event."""
        return self.successResultOf(self.amending(operations, metadata))

    def test_a_part_of_what_is_about_somebody(self) -> None:
        event = self.amend(CITY, '{"@source":"form"}')
        again = self.amend([{"op": "remove", "path": "/address/city"}])
        self.assertEqual(
            orjson.loads(event.extensions or b""), {"@source": "form", "@subject": ANNA}
        )
        self.assertEqual(orjson.loads(again.extensions or b""), {"@subject": ANNA})
        self.assertEqual(self.erase_subject(ANNA).events, 3)
        self.assertEqual(self.state("o-1"), {"items": [1], "note": {"text": "fragile"}})
        self.assert_gone((STREET, ANNA))
        self.assertEqual(self.findings(), [])

    def test_what_is_about_nobody(self) -> None:
        for operations in (
            [{"op": "add", "path": "/items/-", "value": 2}],
            [{"op": "replace", "path": "/address", "value": {"city": "Bern"}}],
            [{"op": "add", "path": "/new", "value": {}}],
        ):
            self.assertIsNone(self.amend(operations).extensions)
        self.erase_subject(ANNA)
        self.assertEqual(self.state("o-1")["items"], [1, 2])
        self.assert_gone((STREET,))

    def test_whoever_is_named_as_well(self) -> None:
        own = self.amend(CITY, orjson.dumps({"@Subject": ANNA}).decode())
        self.assertEqual(orjson.loads(own.extensions or b""), {"@Subject": ANNA})
        self.assertEqual(orjson.loads(self.amend(CITY).extensions or b""), {"@subject": ANNA})
        refused = self.amending(CITY, '{"@subject":"ben"}')
        failure = self.failureResultOf(refused, errors.InvalidSchema)
        self.assertNotIn(ANNA, str(failure.value))
        note = {"op": "replace", "path": "/note/text", "value": "soft"}
        self.amend([note], '{"@subject":"ben"}')
        self.failureResultOf(self.amending([note, *CITY]), errors.InvalidSchema)
        self.assertEqual(self.erase_subject(ANNA).events, 3)
        self.assertEqual(self.state("o-1")["note"], {"text": "soft"})
        self.assert_gone((STREET, ANNA))

    def test_after_an_erasure(self) -> None:
        self.erase_subject(ANNA)
        self.write("o-1", {"address": {"city": "Basel"}})
        self.write("o-1", {"who": "ben"}, subject="ben")
        self.assertIsNone(self.amend(CITY).extensions)

    def test_too_long_ago_to_tell(self) -> None:
        self.amend(CITY)
        for number in range(3):
            self.write("o-1", {"n": number})
        self.patch(limits, "PATCH_LOOKS_BACK", 3)
        failure = self.failureResultOf(self.amending(CITY), errors.InvalidSchema)
        self.assertIn("address", str(failure.value))
        self.amend(CITY, orjson.dumps({"@subject": ANNA}).decode())
        self.amend(CITY)


class Cleared(OnDisk):
    """References in objects that are about somebody, set to null."""

    def test_objects_about_two(self) -> None:
        link = {"type": "reference", "reference": {"cascade": "nullify", "integrity": "weak"}}
        site = {"type": "object", "properties": {"plot": link}}
        columns = {"home": site, "work": site, "own": link}
        schema = {"order": {"aggregate": "order", "events": {"made": {}}, "column_types": columns}}
        schemas = self.domain.schemas
        self.successResultOf(schemas.replace(schemas.prepare(orjson.dumps(schema).decode())))
        self.write("p-1", {})
        plot = "default#order#p-1"
        self.write("o-1", {"home": {"plot": plot, "street": STREET}}, subject=ANNA)
        self.write("o-1", {"work": {"plot": plot, "street": "Oak"}, "own": plot}, subject="ben")
        self.archive("p-1", "sold")
        cleared = self.events("o-1")[2:]
        self.assertEqual([one.event_type for one in cleared], ["_ref_nullify"] * len(cleared))
        self.assertEqual(
            self.state("o-1"),
            {"home": {"plot": None, "street": STREET}, "own": None,
             "work": {"plot": None, "street": "Oak"}},
        )  # fmt: skip
        self.assertEqual(self.erase_subject(ANNA).events, 2)
        self.assertEqual(self.state("o-1"), {"work": {"plot": None, "street": "Oak"}, "own": None})
        self.assert_gone((STREET, ANNA))
        self.assertEqual(self.findings(), [])


class PatchedPlain(Patched):
    """The same in a store that is not sealed."""

    sealed = False
