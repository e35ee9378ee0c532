"""States under changing upcasters: right for every reader, and made right for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from twisted.internet.defer import Deferred, succeed

from eventdbx.application.domains import Domain
from eventdbx.application.integrity import Checked, verify_aggregates
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer
from eventdbx.domain.aggregate import Head
from eventdbx.domain.canonical import JSON
from eventdbx.domain.commands import Write
from eventdbx.domain.filters import parse_filter
from eventdbx.domain.queries import AggregateQuery
from eventdbx.storage import eventlog, keys
from tests.application.test_writer import ALICE, WriterCase

RENAME = [{"op": "rename", "from": "/name", "to": "/full_name"}]
STATUS = [{"op": "map", "path": "/status", "values": {"0": "open"}}]


def schemas_text(*upcast: list[dict[str, Any]]) -> str:
    """Return the schemas of orders whose events have some revisions."""
    order = {"aggregate": "order", "events": {"order.paid": {"upcast": upcast}}}
    return orjson.dumps({"order": order}).decode()


class FoldingCase(WriterCase):
    """Orders of the first revision, and a domain whose upcasters change."""

    def setUp(self) -> None:
        super().setUp()
        self.slow: list[tuple[Callable[[], Any], Deferred[Any]]] = []
        self.open()

    def open(self) -> None:
        """Open the domain as after a restart."""
        self.schemas = Catalogue(self.store, clock_ns=self.clock)
        self.writer = Writer(
            self.store,
            clock_ns=self.clock,
            entropy=lambda count: bytes(count),
            rules=self.schemas.rules,
        )
        self.domain = Domain("default", self.store, self.writer, self.schemas)

    def put_schemas(self, *upcast: list[dict[str, Any]]) -> None:
        """Put other upcasters in force."""
        prepared = self.schemas.prepare(schemas_text(*upcast))
        self.successResultOf(self.schemas.replace(prepared))

    def state(self, name: str) -> dict[str, JSON]:
        """Return the state that readers see."""
        head = self.domain.reader().aggregate("order", name)
        assert head is not None
        return head.state

    def stored(self, name: str) -> Head:
        """Return the head that lies in the store."""
        head = eventlog.load_head(self.store.view(), keys.name("order", name))
        assert head is not None
        return head

    def verified(self) -> int:
        """Return how many aggregates verify; all must."""
        found = list(verify_aggregates(self.store.view(), self.schemas.in_force.views))
        self.assertEqual([one for one in found if not isinstance(one, Checked)], [])
        return len(found)

    def later(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Keep what is to run on a thread until a test runs it."""
        done: Deferred[Any] = Deferred()
        self.slow.append((work, done))
        return done

    def run_slow(self) -> None:
        """Run the oldest piece of work that is kept."""
        work, done = self.slow.pop(0)
        try:
            result = work()
        except Exception as error:
            done.errback(error)
        else:
            done.callback(result)


class ReadingTests(FoldingCase):
    """Readers and the writer, while nothing is folded in the background."""

    def test_readers_see_current_states(self) -> None:
        """The state is at once that of the upcast events; what is stored stays."""
        self.write(self.append("o-1", {"name": "Kim", "status": 0}))
        before = self.stored("o-1")
        self.put_schemas(RENAME, STATUS)
        self.assertEqual(self.state("o-1"), {"full_name": "Kim", "status": "open"})
        self.assertEqual(self.stored("o-1"), before)
        self.assertFalse(self.domain.folding.settled)
        self.assertEqual(self.verified(), 1)
        self.put_schemas(RENAME)
        self.assertEqual(self.state("o-1"), {"full_name": "Kim", "status": 0})
        self.put_schemas()
        self.assertEqual(self.state("o-1"), {"name": "Kim", "status": 0})

    def test_filters_see_current_states(self) -> None:
        """Filters and earlier versions read upcast payloads, too."""
        self.write(self.append("o-1", {"name": "Kim"}), self.append("o-2", {"name": "Lee"}))
        self.put_schemas(RENAME)
        reader = self.domain.reader()
        for text, names in (("full_name = 'Lee'", ["o-2"]), ("name = 'Lee'", [])):
            page = reader.list_aggregates(AggregateQuery(10, filter=parse_filter(text)))
            self.assertEqual([head.aggregate_id for head in page.items], names)
        then = reader.aggregate_at("order", "o-1", version=1)
        assert then is not None
        self.assertEqual(then.state, {"full_name": "Kim"})
        found = reader.select("order", "o-1", ["full_name", "name"])
        assert found is not None
        self.assertEqual(found[1], {"full_name": "Kim", "name": None})

    def test_writer_builds_on_current_states(self) -> None:
        """An append and a patch go on from the upcast state, and keep it for good."""
        self.write(self.append("o-1", {"name": "Kim"}), self.append("o-2", {"name": "Lee"}))
        self.put_schemas(RENAME)
        self.write(self.append("o-1", {"status": 1}))
        stored = self.stored("o-1")
        self.assertEqual(stored.state, {"full_name": "Kim", "status": 1})
        self.assertEqual(stored.fold_mark, self.schemas.in_force.views.marks["order"])
        patch = '[{"op":"replace","path":"/full_name","value":"Liz"}]'
        self.write(Write("patch", "order", "o-2", "order_paid", patch))
        self.assertEqual(self.stored("o-2").state, {"full_name": "Liz"})
        self.assertEqual(self.verified(), 2)
        self.open()
        self.assertEqual(self.state("o-1"), {"full_name": "Kim", "status": 1})
        self.assertEqual(self.verified(), 2)

    def test_new_events_are_of_the_current_revision(self) -> None:
        """What is written now is not lifted: it has the newest revision already."""
        self.put_schemas(RENAME)
        self.write(self.append("o-1", {"name": "a name of another kind"}))
        self.assertEqual(self.state("o-1"), {"name": "a name of another kind"})
        self.assertEqual(self.verified(), 1)

    def test_retries(self) -> None:
        """The first result of a retried write has the state of then, read with today's eyes."""
        self.write(self.append("o-1", {"name": "Kim"}), key="k-1")
        self.write(self.append("o-1", {"name": "Lee"}))
        self.put_schemas(RENAME)
        (done,) = self.write(self.append("o-1", {"name": "Kim"}), key="k-1")
        self.assertEqual(done.head.state, {"full_name": "Kim"})


class BackgroundTests(FoldingCase):
    """Folding for good."""

    def test_folds_all(self) -> None:
        """After a change every head of the type is folded anew, archived ones too."""
        self.write(*(self.append(f"o-{one}", {"name": one}) for one in range(9)))
        self.successResultOf(
            self.writer.archive(
                "order", "o-3", archived=True, comment=None, actor=ALICE, render=lambda head: head
            )
        )
        self.domain.folding.start(lambda work: succeed(work()))
        self.assertTrue(self.domain.folding.settled)
        self.put_schemas(RENAME)
        self.assertTrue(self.domain.folding.settled)
        for one in range(9):
            self.assertEqual(self.stored(f"o-{one}").state, {"full_name": one})
        self.assertTrue(self.stored("o-3").archived)
        self.assertEqual(self.verified(), 9)
        self.put_schemas()
        self.assertEqual(self.stored("o-3").state, {"name": 3})
        self.assertEqual(self.stored("o-3").fold_mark, b"")
        self.assertTrue(self.domain.folding.settled)

    def test_goes_on_after_a_restart(self) -> None:
        """A server that stops in between folds the rest after its next start."""
        self.write(*(self.append(f"o-{one}", {"name": one}) for one in range(3)))
        self.domain.folding.start(self.later)
        self.put_schemas(RENAME)
        self.assertEqual(len(self.slow), 1)
        stopped = self.domain.folding.stop()
        self.assertNoResult(stopped)
        self.run_slow()
        self.successResultOf(stopped)
        self.assertEqual(self.stored("o-1").fold_mark, b"")
        self.open()
        self.assertFalse(self.domain.folding.settled)
        self.domain.folding.start(lambda work: succeed(work()))
        self.assertTrue(self.domain.folding.settled)
        self.assertEqual(self.stored("o-1").state, {"full_name": 1})

    def test_writes_in_between(self) -> None:
        """An aggregate that moves on meanwhile keeps what its writer made of it."""
        self.write(self.append("o-1", {"name": "Kim"}), self.append("o-2", {"name": "Lee"}))
        self.domain.folding.start(self.later)
        self.put_schemas(RENAME)
        work, done = self.slow.pop()
        result = work()
        self.write(self.append("o-1", {"status": 1}))
        done.callback(result)
        self.assertEqual(self.stored("o-1").state, {"full_name": "Kim", "status": 1})
        self.assertEqual(self.stored("o-2").state, {"full_name": "Lee"})
        self.assertTrue(self.domain.folding.settled)
        self.assertEqual(self.verified(), 2)

    def test_changes_in_between(self) -> None:
        """Upcasters that change again while states are folded win."""
        self.write(self.append("o-1", {"name": "Kim", "status": 0}))
        self.domain.folding.start(self.later)
        self.put_schemas(RENAME)
        self.put_schemas(RENAME, STATUS)
        while self.slow:
            self.run_slow()
        self.assertEqual(self.stored("o-1").state, {"full_name": "Kim", "status": "open"})
        self.assertTrue(self.domain.folding.settled)
