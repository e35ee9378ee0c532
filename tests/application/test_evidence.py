"""Exports of evidence from a store, each checked by the verifier that shares nothing with us."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from eventdbx import errors, limits, verify
from eventdbx.application.evidence import Asking, Export, Exports, Place, Selector, begin
from eventdbx.domain.commands import Write
from eventdbx.domain.grants import Grant
from eventdbx.storage import eventlog, keys, records
from tests.application.test_log_proofs import KEY, ProvingCase, now
from tests.application.test_writer import ALICE

EVERYTHING = Grant("j", "s", actions=("*.*",), resources=("*",))


class ExportCase(ProvingCase):
    """The domain of the proofs: 21 events of three orders."""

    def begin(self, *selectors: Selector, grant: Grant = EVERYTHING) -> Export:
        """Begin an export."""
        asking = self.asking(grant)
        done = Deferred.fromCoroutine(begin(self.domain, selectors, asking, now))
        return self.successResultOf(done)

    def asking(self, grant: Grant = EVERYTHING) -> Asking:
        return Asking(grant, self.domain.seen())

    def lines(self, export: Export, grant: Grant = EVERYTHING, **bounds: int) -> bytes:
        """Return a whole bundle, each page of which is asked for twice."""
        lines, place = [export.header], Place()
        while True:
            page = export.page(place, self.asking(grant), **bounds)
            self.assertEqual(export.page(place, self.asking(grant), **bounds), page)
            lines.append(page.lines)
            if page.next is None:
                return b"".join(lines)
            place = page.next

    def checked(self, raw: bytes) -> dict[str, Any]:
        """Return what the verifier says of a bundle."""
        trust = verify.Trust([verify.parse_key(KEY.vkey(), verify.LOG_KEY)], [], 0)
        return verify.check(io.BytesIO(raw), verify.Asked(trust, None, lambda _said: None))

    def not_begun(
        self, error: type[Exception], *selectors: Selector, grant: Grant = EVERYTHING
    ) -> None:
        """Check that an export is refused."""
        done = Deferred.fromCoroutine(begin(self.domain, selectors, self.asking(grant), now))
        self.failureResultOf(done, error)


class Bundles(ExportCase):
    """What is in a bundle."""

    def test_everything(self) -> None:
        """The whole log, archived aggregates too."""
        self.successResultOf(
            self.writer.archive(
                "order", "o-1", archived=True, comment="done", actor=ALICE, render=lambda head: head
            )
        )
        found = self.checked(self.lines(self.begin()))
        self.assertEqual((found["aggregates"], found["events"], found["whole"]), (3, 21, True))

    def test_selected(self) -> None:
        """Aggregates and types, in whichever order they are named, and nothing twice."""
        self.write(Write("append", "person", "p", "seen", "{}"))
        for selectors, aggregates, events in (
            ([("order", "o-2")], 1, 7),
            ([("order", "o-2"), ("order", "o-0")], 2, 14),
            ([("person", "p"), ("order", None), ("order", "o-1")], 4, 22),
            ([("nothing", None)], 0, 0),
        ):
            found = self.checked(self.lines(self.begin(*selectors)))
            self.assertEqual((found["aggregates"], found["events"]), (aggregates, events))
            self.assertFalse(found["whole"])

    def test_one_moment(self) -> None:
        """What is written after the beginning is left out, new aggregates too."""
        export = self.begin()
        self.add(21)
        self.write(Write("append", "order", "o-1-later", "made", "{}"))
        self.begin()  # advances the head map that is stored
        found = self.checked(self.lines(export))
        self.assertEqual((found["aggregates"], found["events"]), (3, 21))
        self.assertEqual(self.checked(self.lines(self.begin()))["events"], 23)

    def test_pages(self) -> None:
        """However small the pages, they give the same bundle."""
        export = self.begin()
        whole = self.lines(export)
        for bytes_max, names_max in ((1, 10_000), (1 << 20, 1), (3_000, 2)):
            again = self.lines(export, bytes_max=bytes_max, names_max=names_max)
            self.assertEqual(again, whole)

    def test_erased(self) -> None:
        """Of an erased event the leaf is exported; without a dbx_erased event it is refused."""
        self.take_away("o-1", 3)
        raw = self.lines(self.begin(("order", "o-1")))
        self.assertEqual(raw.count(b'"erased":true'), 1)
        self.assertEqual(raw.count(b'"payload"'), 6)
        error = self.assertRaises(verify.Refuted, self.checked, raw)
        self.assertIn("version 3 of order::o-1 is erased, and no dbx_erased says so", str(error))

    def take_away(self, one: str, version: int) -> None:
        """Take the content of an event away, as whoever has the files could."""
        name = keys.name("order", one)
        event = eventlog.load_event(self.store.view(), name, version)
        assert event is not None
        gone = event._replace(payload=b"", extensions=None, note=None, salt=b"", erased=True)
        record = records.encode_event(gone)
        self.successResultOf(
            self.store.transact(lambda step: step.put(keys.event(name, version), record))
        )

    def test_nothing(self) -> None:
        """Aggregates that there are not; of an empty store nothing can be proven."""
        self.not_begun(errors.AggregateNotFound, ("order", "none"))
        self.not_begun(errors.AggregateNotFound, ("dbx_admin", "config"))


class Rights(ExportCase):
    """What a reader may not see is not exported."""

    def test_resources(self) -> None:
        """A token for one order exports that one alone, and the bundle does not say all."""
        grant = Grant("k", "s", actions=("aggregate.read",), resources=("aggregate:order:o-1",))
        for selectors in ((), (("order", None),)):
            found = self.checked(self.lines(self.begin(*selectors, grant=grant), grant))
            self.assertEqual((found["aggregates"], found["whole"]), (1, False))
        self.not_begun(errors.Unauthorized, ("order", "o-2"), grant=grant)

    def test_names_between_pages(self) -> None:
        """A page that ends among aggregates that the reader may not see does not name them."""
        grant = Grant("k", "s", actions=("aggregate.read",), resources=("aggregate:order:o-0",))
        export, place, pages = self.begin(grant=grant), Place(), 0
        while True:
            page = export.page(place, self.asking(grant), names_max=1)
            pages += 1
            if page.next is None:
                break
            self.assertNotIn(b"o-1", page.next.name)
            self.assertNotIn(b"o-2", page.next.name)
            place = page.next
        self.assertEqual(pages, 3)
        foreign = Place(mark=77)
        self.assertRaises(errors.UnknownName, export.page, foreign, self.asking(grant))


class Held(ExportCase):
    """Exports that are under way."""

    def setUp(self) -> None:
        super().setUp()
        self.clock_s = Clock()
        self.exports = Exports()
        self.exports.start(self.clock_s)

    def test_idle(self) -> None:
        """One that nobody asks for a page of ends; who asks keeps it."""
        number = self.exports.add(self.begin())
        for _ in range(3):
            self.clock_s.advance(limits.EXPORT_IDLE_S - 1)
            self.exports.find(number, "j")
        self.clock_s.advance(limits.EXPORT_IDLE_S)
        self.assertRaises(errors.UnknownName, self.exports.find, number, "j")

    def test_of_another_token(self) -> None:
        """An export is that of the token that began it."""
        number = self.exports.add(self.begin())
        self.assertRaises(errors.UnknownName, self.exports.find, number, "k")

    def test_few(self) -> None:
        """One more than a few ends the one that was asked for least recently."""
        export = self.begin()
        numbers = [self.exports.add(export) for _ in range(limits.EXPORTS_MAX)]
        self.exports.find(numbers[0], "j")
        last = self.exports.add(export)
        self.assertRaises(errors.UnknownName, self.exports.find, numbers[1], "j")
        for number in (numbers[0], numbers[2], last):
            self.exports.find(number, "j")
        self.exports.clear()
        self.assertRaises(errors.UnknownName, self.exports.find, last, "j")
        self.assertEqual(self.clock_s.getDelayedCalls(), [])

    def test_flood(self) -> None:
        """Who begins one export after the other ends their own, and nobody else's."""
        number = self.exports.add(self.begin())
        grant = EVERYTHING._replace(jti="flood")
        for _ in range(2 * limits.EXPORTS_MAX):
            last = self.exports.add(self.begin(grant=grant))
        self.exports.find(number, "j")
        self.exports.find(last, "flood")
        self.exports.clear()

    def test_erased_while_begun(self) -> None:
        """An export that begins while something is erased does not hold what was there before."""
        reading: list[Deferred[None]] = []

        def slowly(work: Callable[[], Any]) -> Deferred[Any]:
            reading.append(Deferred())
            return reading[-1].addCallback(lambda _none: work())

        asking = self.asking()
        done = Deferred.fromCoroutine(begin(self.domain, (), asking, slowly))
        self.domain.exports.clear()
        self.write(Write("append", "order", "o-9", "seen", "{}"))
        reading[0].callback(None)
        self.assertNoResult(done)
        reading[1].callback(None)
        self.assertEqual(self.successResultOf(done).position, 22)
