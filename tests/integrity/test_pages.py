"""A pass in pages comes to what a pass in one go comes to, however small they are."""

from __future__ import annotations

from eventdbx.application.integrity.findings import Finding
from eventdbx.application.integrity.pages import HIDDEN_FAULT, Places, read_page
from eventdbx.application.integrity.passes import START, Place
from eventdbx.errors import InvalidCursor
from eventdbx.storage import keys
from tests.integrity.stores import AttackCase, passed, task


class Pages(AttackCase):
    """Pages of a store with damage in it."""

    def setUp(self) -> None:
        self.built = self.open_plain()
        self.built.fill(60)
        self.note = self.built.sign()
        name = keys.name("order", "o-7")
        for key in (keys.log(0, 30), keys.head(name, False), keys.event(name, 2)):
            stored = self.built.below.get(key)
            assert stored is not None
            self.built.below.write({key: stored[:-1] + bytes((stored[-1] ^ 1,))}, sync=False)
        self.built.above.write({b"zz": b"", keys.log(0, 50): None}, sync=False)
        self.view = self.built.above.view()

    def paged(self, **bounds: int) -> tuple[list[Finding], int, int, int]:
        """Return findings, aggregates, bytes and number of pages."""
        findings: list[Finding] = []
        place: Place | None = START
        aggregates = read = pages = 0
        while place is not None:
            page = read_page(self.view, task(self.note), place, **bounds)
            findings += page.findings
            aggregates += len(page.checked)
            read += page.read
            pages += 1
            self.assertNotEqual(page.next, place, "a page that gets no further")
            place = page.next
            self.assertLess(pages, 10_000)
        return findings, aggregates, read, pages

    def test_any_size(self) -> None:
        """One aggregate at a time, some bytes at a time, or everything: the same is found."""
        whole = passed(self.view, self.note)
        self.assertGreater(len(whole.findings), 4)
        for bounds in ({}, {"aggregates_max": 1}, {"bytes_max": 1}, {"bytes_max": 5_000}):
            findings, aggregates, _read, pages = self.paged(**bounds)
            self.assertEqual(set(findings), set(whole.findings), bounds)
            self.assertEqual(aggregates, len(whole.checked), bounds)
            self.assertEqual(pages > 1, bool(bounds), bounds)

    def test_bytes(self) -> None:
        """A page of so many bytes reads not much more."""
        _findings, _aggregates, read, pages = self.paged(bytes_max=20_000)
        self.assertLess(read / pages, 40_000)

    def test_hidden(self) -> None:
        """Types that are not shown are not named, in findings neither."""
        hidden = task(self.note)._replace(shows=lambda _name: False)
        page = read_page(self.view, hidden, START)
        self.assertEqual(page.checked, [])
        for finding in page.findings:
            self.assertNotIn("o-7", finding.message)
            self.assertEqual(finding.aggregate_id, "")
        self.assertTrue(any("position 30" in one.message for one in page.findings))
        self.assertLessEqual(len([one for one in page.findings if one.message == HIDDEN_FAULT]), 9)

    def test_places(self) -> None:
        """Words for places are forgotten, oldest first; a forgotten one is refused."""
        places = Places()
        for number in range(100):
            places.keep(str(number), Place(2, bytes((number,))))
        self.assertEqual(places.find("99").key, b"c")
        self.assertRaises(InvalidCursor, places.find, "0")


class Meanwhile(AttackCase):
    """A store that is written to while it is verified."""

    def test_writes_in_between(self) -> None:
        """Events, snapshots, archiving and checkpoints between two pages are no damage."""
        built = self.open_plain()
        built.fill(60)
        place: Place | None = START
        pages = 0
        while place is not None:
            anchors = task(built.sign())
            page = read_page(built.above.view(), anchors, place, bytes_max=3_000)
            self.assertEqual(page.findings, [], place)
            place = page.next
            number = pages % 60
            if pages > 200:  # What is written must not grow faster than it is read.
                pages += 1
                continue
            built.write(built.append(f"n-{pages}", {"new": pages}))
            if number % 13:
                built.write(
                    built.append(f"o-{number}", {"more": pages}, idempotency_key=f"{pages}")
                )
                built.snapshot(f"o-{number}")
                built.archive(f"o-{number}")
                built.archive(f"o-{number}", archived=False)
            pages += 1
            self.assertLess(pages, 5_000)
        self.assertGreater(pages, 20)
