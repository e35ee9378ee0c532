"""Changes of schemas that take their time, and sets that are larger to read than to store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from twisted.internet.defer import Deferred

from eventdbx import errors, limits
from eventdbx.application.schemas import Catalogue, Exported
from eventdbx.domain.schemas.writing import schemas_document, schemas_text
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import Store, synchronous
from tests.application.test_schemas import ORDER, CatalogueCase, text_of
from tests.storage.stepper import Stepper


class LargeTests(CatalogueCase):
    """Turns and sizes."""

    def test_readable_text_beyond_the_limit(self) -> None:
        """A set that fits can be published and put in force again, long as its text may be."""
        column: dict[str, Any] = {"type": "text", "contains": ["a"] * 64}
        columns = {f"c{number}": column for number in range(900)}
        for _level in range(14):
            columns = {"inner": {"type": "object", "properties": columns}}
        wide = {f"t{number}": {"column_types": columns} for number in range(4)}
        self.replace(**wide)
        first = self.successResultOf(self.catalogue.publish(activate=True)).version
        self.assertGreater(len(self.catalogue.text_of("active")[1]), limits.SCHEMA_TEXT_BYTES_MAX)
        self.replace()
        activated = self.successResultOf(self.catalogue.activate(first))
        self.assertEqual(activated.version, first)
        self.assertEqual(len(self.catalogue.in_force.schemas), 4)
        before = schemas_document(self.catalogue.in_force.schemas)
        self.open(synchronous())
        self.assertEqual(schemas_document(self.catalogue.in_force.schemas), before)

    def test_patterns_of_all_types(self) -> None:
        """What each type may have, all of them together may be too much."""
        self.patch(limits, "PATTERNS_COMPILED_BYTES_MAX", 1_000_000)
        types = {
            name: {"column_types": {"a": {"type": "text", "regex": [r"\p{L}{4}" + name]}}}
            for name in ("x", "y")
        }
        self.replace(x=types["x"])
        with self.assertRaisesRegex(errors.InvalidSchema, "patterns of a set of schemas"):
            self.catalogue.prepare(orjson.dumps(types))

    def test_planned_changes_come_in_turn(self) -> None:
        """Changes that take long to plan are carried out in the order in which they came, each on
        what the one before left, also when that one is refused."""
        plans: list[tuple[Deferred[Any], Callable[[], Any]]] = []

        def run_slowly(work: Callable[[], Any]) -> Deferred[Any]:
            waiting: Deferred[Any] = Deferred()
            plans.append((waiting, work))
            return waiting

        def run_next() -> None:
            waiting, work = plans.pop(0)
            try:
                waiting.callback(work())
            except errors.EventDBXError:
                waiting.errback()

        store = Store(MemoryStore(), hop=synchronous())
        self.catalogue = Catalogue(store, clock_ns=self.clock, run_slowly=run_slowly)
        create = {"do": "create", "aggregate": "order", "events": ["order_placed"]}
        events = {"do": "add_events", "aggregate": "order", "events": ["order_sent"]}
        done = [self.catalogue.change([one]) for one in (create, create, events)]
        wiped = self.catalogue.replace(self.catalogue.prepare(b"{}"))
        for _change in done:
            self.assertEqual(len(plans), 1)
            self.assertNoResult(wiped)
            run_next()
        self.successResultOf(done[0])
        self.failureResultOf(done[1], errors.SchemaExists)
        events_then = self.successResultOf(done[2]).in_force.schemas["order"].events
        self.assertEqual(sorted(events_then), ["order_placed", "order_sent"])
        self.successResultOf(wiped)
        self.assertEqual(self.names(), [])

    def test_texts_of_the_set(self) -> None:
        """What is put together of the texts of single schemas is the text of the set."""
        for names in ([], ["order"], ["b", "a", "naïve \U0001f600", 'a"b']):
            self.replace(**{name: ORDER | {"aggregate": name} for name in names})
            in_force = self.catalogue.in_force
            self.assertEqual(in_force.document(), schemas_document(in_force.schemas))
            self.assertEqual(in_force.text().decode(), schemas_text(in_force.schemas))


class ExportTests(CatalogueCase):
    """What the files for other tools are written of."""

    def export(self, exported: Exported) -> Deferred[None]:
        self.texts = [exported.text_of(n) for n in range(len(exported.history.versions))]
        return super().export(exported)

    def test_only_what_is_durable(self) -> None:
        """A change exports no version that a later change is still about to store."""
        hop = Stepper()
        self.open(hop)
        wanted = self.catalogue.prepare(text_of(order=ORDER))
        done = [self.catalogue.publish(wanted, force=True) for _version in range(3)]
        for known in (1, 3):  # The second batch holds the two that came meanwhile.
            hop.step()
            self.assertEqual(len(self.texts), known)
        hop.settle()
        for one in done:
            self.successResultOf(one)
        done = [self.catalogue.publish(wanted, force=True)]
        asked = self.catalogue.export()
        self.assertEqual(len(self.texts), 3)
        hop.settle()
        self.successResultOf(asked)
        self.assertEqual(len(self.texts), 4)
