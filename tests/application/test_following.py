"""Pages of the commit log: what is wanted, in commit order, nothing twice and nothing missed."""

from __future__ import annotations

import random
from typing import Any

import orjson

from eventdbx.application.following import (
    LOOKED_AT_MAX,
    Followed,
    Wanted,
    follow,
    place_of,
    token_of,
)
from eventdbx.application.schema_work import EMPTY
from eventdbx.application.views import Seen
from eventdbx.domain.commands import Write
from eventdbx.domain.filters import parse_filter
from eventdbx.errors import InvalidCursor
from tests.application.test_writer import ALICE, WriterCase

SEEN: Seen = EMPTY.views.seen()


class FollowingCase(WriterCase):
    """A log in which aggregates of two types take turns."""

    def setUp(self) -> None:
        super().setUp()
        self.log: list[tuple[str, str, int]] = []

    def fill(self, count: int, *, seed: int = 7) -> None:
        """Commit events of a few aggregates, some together."""
        chance = random.Random(seed)
        while len(self.log) < count:
            self.clock.now += 1_000_000
            writes = []
            for _ in range(chance.randint(1, 3)):
                names = chance.choice(("order", "orders")), f"o-{chance.randint(1, 3)}"
                payload = orjson.dumps({"n": len(self.log)}).decode()
                writes.append(Write("append", *names, "made", payload))
                self.log.append((*names, len(self.log)))
            self.write(*writes)

    def page(self, after: str = "", *, take: int = 500, size: int = 1 << 20, **wanted: Any) -> Any:
        """Return one page behind a token."""
        view = self.store.view()
        return follow(view, SEEN, Wanted(**wanted), place_of(view, after), take=take, size=size)

    def numbers(self, page: Followed) -> list[int]:
        """Return the numbers of the events of a page, having held positions against them."""
        events = [orjson.loads(document) for document in page.documents]
        for event in events:
            self.assertEqual(event["position"], f"0-{event['payload']['n']}")
        return [event["payload"]["n"] for event in events]

    def all_numbers(self, *, take: int = 500, size: int = 1 << 20, **wanted: Any) -> list[int]:
        """Follow to the end, page by page."""
        found: list[int] = []
        after = ""
        while True:
            page = self.page(after, take=take, size=size, **wanted)
            self.assertLessEqual(len(page.documents), take)
            found += self.numbers(page)
            if not page.more:
                self.assertEqual(page.place, len(self.log) - 1)
                return found
            self.assertGreater(page.place, place_of(self.store.view(), after))
            after = token_of(page.place)


class Pages(FollowingCase):
    """What is on them."""

    def test_an_empty_log(self) -> None:
        """Nothing was committed: the place is that before the first event, wherever one begins."""
        for after in ("", "start", "end"):
            page = self.page(after)
            self.assertEqual((page.documents, page.more, token_of(page.place)), ([], False, ""))

    def test_everything_and_parts(self) -> None:
        """All events, those of a type, of one aggregate or of a filter come in commit order,
        however the pages are cut."""
        self.fill(60)
        orders = [n for kind, _one, n in self.log if kind == "order"]
        one = [n for *names, n in self.log if names == ["orders", "o-2"]]
        late = parse_filter("payload.n >= 40")
        for take in (1, 2, 7, 500):
            self.assertEqual(self.all_numbers(take=take), list(range(len(self.log))))
            self.assertEqual(self.all_numbers(take=take, aggregate_type="order"), orders)
            found = self.all_numbers(take=take, aggregate_type="orders", aggregate_id="o-2")
            self.assertEqual(found, one)
            found = self.all_numbers(take=take, filter=late)
            self.assertEqual(found, list(range(40, len(self.log))))
            found = self.all_numbers(
                take=take, aggregate_type="orders", aggregate_id="o-2", filter=late
            )
            self.assertEqual(found, [n for n in one if n >= 40])
        self.assertEqual(self.all_numbers(size=300), list(range(len(self.log))))

    def test_from_every_place(self) -> None:
        """From each place on, an aggregate's events are those behind it."""
        self.fill(30)
        for place in range(len(self.log)):
            page = self.page(f"0-{place}", aggregate_type="order", aggregate_id="o-1")
            expected = [n for *names, n in self.log if names == ["order", "o-1"] and n > place]
            self.assertEqual(self.numbers(page), expected)

    def test_large_events(self) -> None:
        """A page ends before it is too large, but has one event in any case."""
        for number in range(3):
            payload = orjson.dumps({"n": number, "text": "x" * 1_000}).decode()
            self.write(Write("append", "order", "o-1", "made", payload))
        page = self.page(size=3_000)
        self.assertEqual((self.numbers(page), page.more), ([0, 1], True))
        page = self.page(size=10)
        self.assertEqual((self.numbers(page), page.more), ([0], True))

    def test_hidden_from_a_token(self) -> None:
        """The place moves on over what the token may not see."""
        self.fill(20)

        def visible(_kind: str, identifier: str) -> bool:
            return identifier == "o-1"

        expected = [n for _kind, one, n in self.log if one == "o-1"]
        self.assertEqual(self.all_numbers(take=2, visible=visible), expected)
        page = self.page(visible=lambda _kind, _identifier: False)
        self.assertEqual((page.documents, page.place), ([], len(self.log) - 1))
        page = self.page(
            aggregate_type="order", aggregate_id="o-1", visible=lambda kind, _one: kind != "order"
        )
        self.assertEqual((page.documents, page.place), ([], len(self.log) - 1))

    def test_archived(self) -> None:
        """The log says what happened: archiving an aggregate takes nothing out of it."""
        self.fill(10)
        name = self.log[0][:2]
        self.successResultOf(
            self.writer.archive(
                *name, archived=True, comment=None, actor=ALICE, render=lambda one: one
            )
        )
        self.assertEqual(self.all_numbers(), list(range(len(self.log))))
        mine = [n for *names, n in self.log if tuple(names) == name]
        self.assertEqual(self.all_numbers(aggregate_type=name[0], aggregate_id=name[1]), mine)

    def test_a_long_way_with_nothing(self) -> None:
        """One page looks at so many positions only: then it says that there is more."""
        write = Write("append", "order", "o-1", "made", '{"n":0}')
        for _ in range(0, LOOKED_AT_MAX + 1_000, 1_000):
            self.write(*[write] * 1_000)
        page = self.page(aggregate_type="orders")
        self.assertEqual((page.documents, page.place, page.more), ([], LOOKED_AT_MAX - 1, True))
        page = self.page(token_of(page.place), aggregate_type="orders")
        self.assertEqual((page.place, page.more), (LOOKED_AT_MAX + 999, False))


class Places(FollowingCase):
    """Where one can begin."""

    def test_the_end(self) -> None:
        """The end is behind what is committed now."""
        self.fill(5)
        view = self.store.view()
        end = place_of(view, "end")
        self.assertEqual(token_of(end), f"0-{len(self.log) - 1}")
        self.assertEqual(follow(view, SEEN, Wanted(), end, take=9, size=99).documents, [])

    def test_wrong_tokens(self) -> None:
        """What is no token, and a place that the log does not reach, are refused."""
        self.fill(5)
        view = self.store.view()
        for text in ("x", "0-", "1-1", "0-01", " ", "0--1", f"0-{len(self.log)}"):
            self.assertRaises(InvalidCursor, place_of, view, text)
