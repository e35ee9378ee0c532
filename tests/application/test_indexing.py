"""The index of referrers while it follows other schemas, a few aggregates at a time."""

from __future__ import annotations

import orjson
from twisted.internet.defer import succeed

from eventdbx import limits
from eventdbx.application.integrity import verify_rest
from eventdbx.application.referrers import unindexed
from eventdbx.errors import IndexUnfinished
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import synchronous
from tests.application.referencing import ReferenceCase, link, schema
from tests.storage.stepper import FaultyStore, Stepper

RESTRICT = schema("farm", owner=link(cascade="restrict"))
NULLIFY = schema("farm", owner=link(cascade="nullify", integrity="weak"))
LIFT = [{"op": "rename", "from": "/boss", "to": "/owner"}]
AWAY = [{"op": "rename", "from": "/owner", "to": "/former"}]


class IndexingCase(ReferenceCase):
    """Seven farms of one owner, from before any schema; nothing is indexed at once."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(limits, "INDEX_AT_ONCE_HEADS", 0)
        self.patch(limits, "INDEX_HEADS", 2)
        self.write("person/p-1")
        for number in range(7):
            self.write(f"farm/f-{number}", {"owner": "person#p-1"})

    def holders(self) -> list[str]:
        """Return the farms that the index knows, whole or not."""
        return sorted(one[4] for one in self.index())

    def listing_refused(self) -> str:
        """Return why nobody is told who refers to the owner."""
        error = self.assertRaises(IndexUnfinished, self.referrers, "person/p-1")
        return str(error.detail)


class UnindexedTests(IndexingCase):
    """What is refused, and what goes on."""

    def test_nothing_is_missed(self) -> None:
        """Until all is indexed, archiving and listing are refused with a reason and the progress;
        verification knows of it."""
        self.declare(RESTRICT)
        self.index_some("farm")
        self.assertEqual(self.holders(), ["f-0", "f-1"])
        reason = (
            "references of farm are being indexed after a change of its schema "
            "(2 aggregates so far); try again shortly"
        )
        self.assertEqual(self.listing_refused(), reason)
        self.assertEqual(
            self.archive_refused("person/p-1"),
            f"aggregate person:p-1 cannot be archived yet: {reason}",
        )
        self.assertEqual(list(verify_rest(self.store.view(), domain="default")), [])
        self.follow()
        self.assertEqual(len(self.referrers("person/p-1")), 7)
        self.assertIn("referenced by default:farm:f-0", self.archive_refused("person/p-1"))
        self.assertEqual(unindexed(self.store.view()), {})

    def test_names_are_for_who_may_know_them(self) -> None:
        """Who may not read a type is refused, too, without its name."""
        self.declare(RESTRICT)
        found = self.reader.referrers("default", "person", "p-1", lambda *_names: False)
        with self.assertRaises(IndexUnfinished) as caught:
            next(found)
        self.assertNotIn("farm", caught.exception.detail)

    def test_only_what_could_decide_refuses(self) -> None:
        """References that neither restrict nor are cleared keep nobody from archiving."""
        self.declare(schema("farm", owner=link()))
        self.archive("person/p-1")
        self.declare(RESTRICT)
        self.archive("person/p-1")  # It is archived already: nothing is asked.

    def test_columns_that_are_gone(self) -> None:
        """What the index still says of lost columns neither decides nor is told."""
        self.declare(RESTRICT)
        self.follow()
        self.declare(schema("farm"))
        self.assertEqual(len(self.holders()), 7)
        self.assertEqual(self.referrers("person/p-1"), [])
        self.assertEqual(self.faults(), [])
        self.archive("person/p-1")
        self.follow()
        self.assertEqual(self.holders(), [])

    def test_columns_that_come_and_go(self) -> None:
        """Changes before the work of the last one is done leave nothing of any of them."""
        self.write("farm/f-0", {"a": "#f-9", "b": "#f-9", "c": "#f-9"})
        for column in "abc":
            self.declare(schema("farm", **{column: link(integrity="weak")}))
            if column == "a":
                self.index_some("farm")
        self.follow()
        self.assertEqual({one[5] for one in self.index()}, {"c"})
        self.assertEqual(self.faults(), [])

    def test_writes_in_between(self) -> None:
        """Events, on either side of where the work is, leave the entries of their states."""
        self.declare(schema("farm", owner=link(integrity="weak"), next=link(integrity="weak")))
        self.index_some("farm")
        for farm in ("f-0", "f-5"):
            self.write(f"farm/{farm}", {"owner": None, "next": "#f-9"})
        self.archive("farm/f-1")
        self.archive("farm/f-6")
        self.declare(schema("farm", next=link(integrity="weak")))
        self.index_some("farm")
        self.write("farm/f-6x", {"owner": "person#p-1", "next": "#f-9"})
        self.archive("farm/f-1", archived=False)
        self.follow()
        self.assertEqual(self.holders(), ["f-0", "f-5", "f-6x"])
        self.assertEqual(self.faults(), [])

    def test_few_are_indexed_at_once(self) -> None:
        """Small types, all of a step together, never meet the state in between."""
        limits.INDEX_AT_ONCE_HEADS = 8
        self.write("barn/b-1", {"owner": "person#p-1"})
        self.write("shed/s-1", {"owner": "person#p-1"})
        owned = [schema(kind, owner=link()) for kind in ("barn", "farm", "shed")]
        self.declare(*owned)
        self.assertEqual(list(self.schemas.indexing.unindexed), ["shed"])

    def test_large_states(self) -> None:
        """However large a state is, each step gets one further at least."""
        self.patch(limits, "INDEX_BYTES", 1)
        self.declare(RESTRICT)
        self.follow()
        self.assertEqual(len(self.holders()), 7)

    def test_stops(self) -> None:
        """A server that stops leaves the rest to the next one."""
        hop = Stepper(patient=True)
        self.open(hop)
        self.domain.folding.start(lambda work: succeed(work()))
        self.schemas.replace(self.schemas.prepare(orjson.dumps({"farm": RESTRICT})))
        for _ in range(2):
            hop.turn()
            hop.settle()
        stopped = self.domain.folding.stop()
        hop.turn()
        hop.settle()
        self.successResultOf(stopped)
        self.assertEqual(len(self.holders()), 4)
        self.open(synchronous())
        self.follow()
        self.assertEqual(len(self.referrers("person/p-1")), 7)

    def test_crash(self) -> None:
        """After a crash at any point the next process finishes what is left."""
        self.backend, old = FaultyStore(), self.everything()
        self.backend.write(dict(old), sync=True)
        hop = Stepper(patient=True)
        self.open(hop)
        self.domain.folding.start(lambda work: succeed(work()))
        self.schemas.replace(self.schemas.prepare(orjson.dumps({"farm": NULLIFY})))
        seen = set()
        while hop.departures or hop.underway:
            living, content = self.__dict__.copy(), dict(self.everything())
            self.backend = FaultyStore()
            self.backend.write(content, sync=True)
            self.open(synchronous())
            self.assertEqual(self.faults(), [])
            seen.add(len(self.holders()))
            self.follow()
            wanted = ["farm"] if self.schemas.in_force.schemas else []
            self.assertEqual(sorted({one[3] for one in self.index()}), wanted)
            self.assertEqual(len(self.holders()), 7 * len(wanted))
            self.__dict__.update(living)
            if hop.departures:
                hop.turn()
            else:
                hop.step()
        self.assertEqual(seen, {0, 2, 4, 6})
        self.assertEqual(len(self.referrers("person/p-1")), 7)

    def test_on_disk(self) -> None:
        """The same on RocksDB: what is left to do survives, and so does how far it got."""
        path, content = self.mktemp(), dict(self.everything())
        self.backend = RocksStore.open(path)
        self.backend.write(content, sync=True)
        self.open(synchronous())
        self.declare(RESTRICT)
        self.index_some("farm")
        self.successResultOf(self.store.close())
        self.backend = RocksStore.open(path)
        self.open(synchronous())
        self.addCleanup(self.backend.close)
        self.assertEqual(self.schemas.indexing.unindexed["farm"].done, 2)
        self.follow()
        self.assertEqual(len(self.referrers("person/p-1")), 7)


class NoneBlocksTests(IndexingCase):
    """Where references with cascade none block an archive."""

    none_blocks = True

    def test_only_columns_in_force_block(self) -> None:
        """What has no reference column any more blocks nothing, whatever the index still says."""
        self.declare(schema("farm", owner=link()))
        self.assertIn("yet", self.archive_refused("person/p-1"))
        self.follow()
        self.assertIn("referenced by", self.archive_refused("person/p-1"))
        self.declare(schema("farm"))
        self.archive("person/p-1")


class LiftedTests(IndexingCase):
    """Upcasters that work on references: the states change, and the index with them."""

    def lifted(self, *steps: list[dict[str, str]]) -> None:
        """Put upcasters in force."""
        rule = {"changed": {"fields": [], "upcast": list(steps)}}
        self.declare(schema("farm", owner=link(integrity="weak")) | {"events": rule})

    def test_states_that_are_folded_in_between(self) -> None:
        """Whoever folds a state anew, the entries of the old one go."""
        self.declare(schema("farm", owner=link(integrity="weak")))
        self.follow()
        self.lifted(AWAY)
        self.write("farm/f-3", {"n": 1})
        self.assertEqual(len(self.holders()), 6)
        self.assertIn("farm", self.listing_refused())
        self.follow()
        self.assertEqual(self.holders(), [])
        self.assertEqual(self.faults(), [])

    def test_heads_in_memory_are_older_than_the_store(self) -> None:
        """A state that was folded in the store meanwhile is the one whose entries go."""
        self.write("farm/f-x", {"boss": "person#p-1"})
        self.declare(schema("farm", owner=link(integrity="weak")))
        self.follow()
        limits.INDEX_AT_ONCE_HEADS = 1_000
        self.lifted(LIFT)
        self.assertIn("f-x", self.holders())
        limits.INDEX_AT_ONCE_HEADS = 0
        self.lifted(LIFT, AWAY)
        self.write("farm/f-x", {"n": 1})
        self.follow()
        self.assertEqual(self.holders(), [])

    def test_changes_on_the_way(self) -> None:
        """Upcasters that leave references alone begin the work anew, when there is some."""
        self.declare(schema("farm", owner=link(integrity="weak")))
        self.follow()
        self.lifted(AWAY)
        self.index_some("farm")
        self.lifted()
        self.index_some("farm")
        self.lifted([{"op": "rename", "from": "/a", "to": "/b"}])
        self.assertEqual(self.schemas.indexing.unindexed["farm"].done, 0)
        self.follow()
        self.assertEqual(len(self.holders()), 7)
        self.assertEqual(self.faults(), [])

    def test_long_histories_are_not_folded_in_the_step(self) -> None:
        """What is indexed at once is bounded by the events, too, that have to be read."""
        limits.INDEX_AT_ONCE_HEADS = 1_000
        self.declare(schema("farm", owner=link(integrity="weak")))
        self.patch(limits, "REFOLD_EVENTS", 3)
        self.lifted(AWAY)
        self.assertEqual(self.schemas.indexing.unindexed["farm"].after, "f-2")
        self.follow()
        self.assertEqual(self.holders(), [])
