"""What a server shows of itself: readiness and its reasons, and the numbers of a scrape."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.ledger import Ledger
from eventdbx.application.quotas import Quota
from eventdbx.application.token_records import TokenRecord
from eventdbx.config import Config
from eventdbx.domain.commands import Write
from eventdbx.errors import StorageError, TenantQuota
from eventdbx.measures import Family, Measures
from eventdbx.services.observing import Observing, short_of_space
from eventdbx.services.readings import LEDGER_LOOK_S, TokenCounts
from eventdbx.services.stores import StoreService
from eventdbx.services.workspace import Place, Workspace
from eventdbx.storage.hops import synchronous
from eventdbx.surfaces.http.api import count_request
from eventdbx.surfaces.http.health import readiness
from tests.storage.stepper import Stepper


def record(jti: str, expires_at: int | None, *, revoked: bool = False) -> TokenRecord:
    """A record of the ledger."""
    return TokenRecord(
        jti, "s", "g", "u", (), (), (), 0, None, expires_at, "test", revoked, None, False
    )


def numbers(families: list[Family]) -> dict[str, dict[tuple[str, ...], float]]:
    """Numbers by name and label values."""
    return {
        family.name: {
            tuple(value for _name, value in sample.labels): sample.value
            for sample in family.samples
        }
        for family in families
    }


class ObservingCase(SynchronousTestCase):
    """A server's stores and what observes them, without listeners."""

    def setUp(self) -> None:
        self.hop: Any = synchronous()
        self.seconds, self.now_ns = 100.0, time.time_ns()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.stores = StoreService(
            Config(),
            store_path=lambda name: self.folder / name / "event_store",
            plugins_path=lambda name: self.folder / name / "plugins.json",
            make_hop=lambda: self.hop,
            clock=Clock(),
            on_failure=lambda failure: None,
        )
        place = Place(self.folder / "config.toml", self.folder, local=False)
        self.observing = Observing(
            Workspace(place, Config(), {"HOME": str(self.folder)}),
            self.stores,
            config=Config,
            connections=lambda: {"control": 3},
            run_slowly=self.run_slowly,
            clock=Clock(),
            seconds=lambda: self.seconds,
            now_ns=lambda: self.now_ns,
        )
        self.stores.on_open.append(self.observing.watch_domain)

    def run_slowly(self, work: Any) -> Deferred[Any]:
        return succeed(work())

    def start(self) -> None:
        """Open the store, as if all listeners were there."""
        self.stores.startService()
        self.observing.phase = "serving"

    def stop(self) -> None:
        self.successResultOf(self.stores.stopService())

    def checks(self) -> dict[str, str]:
        """What readiness finds."""
        return dict(readiness(self.observing.checks()).checks)

    def write(self) -> Deferred[Any]:
        """Write an event."""
        return self.stores.domain(None).writer.write(
            (Write("append", "order", "o-1", "paid", "{}"),),
            actor=None,
            authorise=lambda action, resource: None,
            render=lambda done: done,
        )


class Readiness(ObservingCase):
    """Whether the server can do its work."""

    def test_fine(self) -> None:
        """A server that serves has nothing to complain about."""
        self.start()
        self.addCleanup(self.stop)
        self.successResultOf(self.write())
        found = self.checks()
        self.assertEqual(set(found.values()), {"ok"}, found)
        named = "checkpoints clock disk draining encryption listeners scrub store writer".split()
        self.assertEqual(sorted(found), named)

    def test_before_and_after(self) -> None:
        """Who has not begun, or is about to end, is not ready."""
        self.assertEqual(self.checks()["store"], "no event store is open")
        self.assertEqual(self.checks()["listeners"], "not all listen yet")
        self.start()
        self.addCleanup(self.stop)
        self.observing.phase = "stopping"
        self.assertEqual(self.checks()["draining"], "the server is stopping")

    def test_damage(self) -> None:
        """Damaged records that scrubbing has found are counted; the server serves nevertheless."""
        self.start()
        self.addCleanup(self.stop)
        scrub = self.stores.domain(None).scrub
        scrub.begin()
        assert scrub.running is not None
        scrub.running = scrub.running._replace(problems=3)
        self.assertEqual(
            self.checks()["scrub"], "default: 3 damaged record(s) found, see `dbx scrub status`"
        )

    def test_a_store_that_cannot_be_read(self) -> None:
        """A store that does not answer is named, with the reason."""
        self.start()
        self.stores.domain(None).store._backend.close()
        self.failureResultOf(self.write(), StorageError)
        self.assertEqual(self.checks()["store"], "default: the event store is closed")
        self.assertEqual(self.checks()["clock"], "ok")

    def test_a_disk_that_hangs(self) -> None:
        """A commit that the disk does not end makes the writer suspect after a while."""
        self.hop = Stepper()
        self.start()
        writing = self.write()
        self.hop.turn()
        self.assertEqual(self.checks()["writer"], "ok")
        self.seconds += 30.0
        self.assertIn("the disk has been busy with a commit for 30 s", self.checks()["writer"])
        self.hop.settle()
        self.successResultOf(writing)
        self.assertEqual(self.checks()["writer"], "ok")
        closing = self.stores.stopService()
        self.hop.settle()
        self.successResultOf(closing)

    def test_little_space(self) -> None:
        """The reserve of the disk is looked at, with what is there and what should be."""
        self.assertIsNone(short_of_space(self.folder))
        found = short_of_space(self.folder, 1 << 62)
        assert found is not None
        self.assertIn("MiB are free", found)

    def test_a_clock_that_went_back(self) -> None:
        """An event from the future means that the clock was wrong then, or is now."""
        self.start()
        self.addCleanup(self.stop)
        self.successResultOf(self.write())
        self.now_ns -= 3_600 * 10**9
        self.assertRegex(self.checks()["clock"], r"the clock is 3[56]\d\d s behind the newest")


class Scraping(ObservingCase):
    """The numbers of now, and those that were counted."""

    def test_quotas(self) -> None:
        """A domain with a quota is shown with it, what it holds, and what was refused."""
        self.start()
        self.addCleanup(self.stop)
        domain = self.stores.domain(None)
        domain.writer.quota = Quota(domain.store, domain.name, 0)
        for _ in range(2):
            self.failureResultOf(self.write(), TenantQuota)
        shown = numbers(self.successResultOf(self.observing.gather()))
        self.assertEqual(shown["eventdbx_tenant_quota_bytes"], {("default",): 0})
        self.assertGreater(shown["eventdbx_tenant_usage_bytes"]["default",], 0)
        self.assertEqual(shown["eventdbx_tenant_quota_refusals_total"], {("default",): 2})

    def test_stores_and_surroundings(self) -> None:
        """Sizes, events, connections, the version and the uptime are there."""
        self.start()
        self.addCleanup(self.stop)
        for _ in range(3):
            self.successResultOf(self.write())
        self.seconds += 7
        shown = numbers(self.successResultOf(self.observing.gather()))
        self.assertEqual(shown["eventdbx_events_appended_total"], {("default",): 3})
        self.assertGreater(shown["eventdbx_store_bytes"]["default",], 0)
        self.assertEqual(shown["eventdbx_connections"], {("control",): 3})
        self.assertEqual(list(shown["eventdbx_build_info"].values()), [1])
        self.assertEqual(shown["eventdbx_uptime_seconds"], {(): 7.0})
        self.assertEqual(shown["eventdbx_plugin_queue_jobs"]["pending",], 0)
        self.assertEqual(shown["eventdbx_tenant_quota_bytes"], {})
        counted = numbers(self.observing.measures.families())
        self.assertEqual(counted["eventdbx_commit_batch_events"][()], 3)
        self.assertEqual(counted["eventdbx_store_operations_total"]["rocksdb_write", "ok"], 3)

    def test_a_late_loop_is_seen(self) -> None:
        """What holds up the loop shows in its lag."""
        clock = Clock()
        self.observing._loop.clock = clock
        self.observing.startService()
        self.addCleanup(self.observing.stopService)
        clock.advance(1)
        ((_labels, series),) = self.observing.measures.loop_lag.series()
        self.assertEqual(series.count, 1)


class Tokens(SynchronousTestCase):
    """How many tokens there are."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_text("1")
        self.now, self.now_ns = 1_000.0, 10**9
        self.reads = 0
        self.broken = False
        self.counts = TokenCounts(
            [self.path], self.read, now_ns=lambda: self.now_ns, clock=lambda: self.now
        )

    def read(self) -> Ledger:
        self.reads += 1
        if self.broken:
            raise StorageError("no")
        return Ledger([record("a", None), record("b", 5 * 10**9), record("c", None, revoked=True)])

    def test_by_what_they_are_good_for(self) -> None:
        """Tokens expire by themselves; the file is read when it has changed, not too often."""
        self.assertEqual(self.counts.now(), {"active": 2, "expired": 0, "revoked": 1})
        self.now_ns = 6 * 10**9
        self.assertEqual(self.counts.now(), {"active": 1, "expired": 1, "revoked": 1})
        self.path.write_text("22")
        self.counts.now()
        self.assertEqual(self.reads, 1)
        self.now += LEDGER_LOOK_S
        self.counts.now()
        self.assertEqual(self.reads, 2)
        self.now += LEDGER_LOOK_S
        self.counts.now()
        self.assertEqual(self.reads, 2)

    def test_an_unreadable_ledger_has_none(self) -> None:
        """A scrape does not fail because of it."""
        self.broken = True
        self.assertEqual(self.counts.now(), {"active": 0, "expired": 0, "revoked": 0})


class Counting(SynchronousTestCase):
    """Requests of the Admin API."""

    def test_admin_requests_count_like_others(self) -> None:
        """The pattern of the route is the label, never a token in a path."""
        measures = Measures(lambda: 1.0)
        count_request(measures, "GET", "/admin/tokens/{token}", 200, 0.1)
        count_request(measures, "GET", "", 404, 0.1)
        labels = [tuple(value for _, value in of) for of, _series in measures.http.series()]
        self.assertEqual(
            labels, [("GET", "/admin/tokens/{token}", "200"), ("GET", "unmatched", "404")]
        )
