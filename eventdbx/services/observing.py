"""How a running server is observed: its measures, its health, and who is told of its work.

The service tree hands the parts what they tell; the HTTP port shows it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from eventdbx import limits
from eventdbx.application.domains import Domain
from eventdbx.domain import snowflake
from eventdbx.errors import EventDBXError
from eventdbx.measures import Measures
from eventdbx.plugins.watching import DeliveryWatch
from eventdbx.services.readings import PARTITION, Readings, TokenCounts
from eventdbx.services.revocations import REVOCATIONS_NAME
from eventdbx.services.stores import StoreService
from eventdbx.services.tokenfiles import LEDGER_NAME
from eventdbx.services.tokenjournal import JOURNAL_NAME
from eventdbx.services.tracing import make_spans
from eventdbx.services.witnessing import make_tlog
from eventdbx.services.workspace import Workspace
from eventdbx.settings import Config
from eventdbx.storage import keys
from eventdbx.storage.records import decode_tail
from eventdbx.storage.watching import StoreWatch
from eventdbx.surfaces.control.watching import Watch
from eventdbx.surfaces.http.api import HttpApi, count_request
from eventdbx.surfaces.http.health import Check, Degraded

COMMIT_STUCK_S = 10.0
"""A commit that takes longer has a disk that hangs."""

CLOCK_BACK_S = 60.0
"""A clock may be set back a little; more of it makes ids and expiries speak of another time."""

LOOP_LOOK_S = 1.0


class Observing(Service):
    """The measures of a server, and the resource that shows them and its health.

    ``phase`` is where the server is: ``starting``, ``serving`` or ``stopping``.
    """

    def __init__(
        self,
        workspace: Workspace,
        stores: StoreService,
        *,
        config: Callable[[], Config],
        connections: Callable[[], Mapping[str, int]],
        run_slowly: Callable[[Callable[[], Any]], Deferred[Any]],
        clock: Any,
        seconds: Callable[[], float] = time.perf_counter,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.measures = Measures(seconds)
        self._now_ns = now_ns
        self.phase = "starting"
        self._stores = stores
        self._data_dir = workspace.data_dir
        self._spans = spans = make_spans(os.environ)
        self.control = Watch(self.measures, spans)
        self.deliveries = DeliveryWatch(self.measures, spans)
        self._store_watch = StoreWatch(self.measures)
        self._loop = LoopingCall(self._look_at_loop)
        self._loop.clock = clock
        self._looked_at = 0.0
        folder = workspace.data_dir
        self.gather = Readings(
            self.measures,
            domains=stores.opened,
            connections=connections,
            tokens=TokenCounts(
                [folder / name for name in (LEDGER_NAME, JOURNAL_NAME, REVOCATIONS_NAME)],
                lambda: workspace.token_files(lambda _line: None).read(),
                now_ns=now_ns,
                clock=self.measures.clock,
            ),
            run_slowly=run_slowly,
            now_ns=now_ns,
        ).gather
        self.api = HttpApi(
            measures=self.measures,
            gather=self.gather,
            checks=self.checks(),
            metrics_token=lambda: config().http.metrics_token,
            run_slowly=run_slowly,
            tlog=make_tlog(
                config,
                stores,
                folder,
                folder=lambda name: workspace.store_path(name).parent,
                run_slowly=run_slowly,
                clock=clock,
                seconds=lambda: now_ns() / 10**9,
            ),
        )

    def watch_domain(self, domain: Domain) -> None:
        """Note the work of the store of a domain that was opened."""
        domain.store.observe(self._store_watch)

    def count_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request of the Admin API."""
        count_request(self.measures, method, path, status, seconds)

    def count_refusal(self, reason: str) -> None:
        """Count a request of the Admin API that was not let in."""
        self.measures.auth_failures.add("admin", reason)

    def startService(self) -> None:
        """Begin to look at how punctual the loop is."""
        super().startService()  # type: ignore[no-untyped-call]
        self._looked_at = self.measures.clock()
        self._loop.start(LOOP_LOOK_S, now=False)

    def stopService(self) -> None:
        """Stop looking, and let the last spans leave."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._loop.running:
            self._loop.stop()
        if self._spans is not None:
            self._spans.close()

    def _look_at_loop(self) -> None:
        now = self.measures.clock()
        late = max(0.0, now - self._looked_at - LOOP_LOOK_S)
        self._looked_at = now
        self.measures.loop_lag.add((), late, now)

    def checks(self) -> dict[str, Check]:
        """Return what readiness asks."""
        return {
            "store": self._check_stores,
            "writer": self._check_commits,
            "checkpoints": self._check_checkpoints,
            "scrub": self._check_scrubs,
            "encryption": self._check_keys,
            "listeners": lambda: "not all listen yet" if self.phase == "starting" else None,
            "draining": lambda: "the server is stopping" if self.phase == "stopping" else None,
            "disk": lambda: short_of_space(self._data_dir),
            "clock": self._check_clock,
        }

    def _check_stores(self) -> str | None:
        domains = self._stores.opened()
        if not domains:
            return "no event store is open"
        for domain in domains:
            trouble = domain.store.trouble
            try:
                decode_tail(domain.store.view().get(keys.tail(PARTITION)))
            except EventDBXError as error:
                trouble = trouble or error.detail
            if trouble is not None:
                return f"{domain.name}: {trouble}"
        return None

    def _check_commits(self) -> str | None:
        for domain in self._stores.opened():
            since = domain.store.in_flight_since
            if since is None:
                continue
            waited = self.measures.clock() - since
            if waited > COMMIT_STUCK_S:
                return f"{domain.name}: the disk has been busy with a commit for {waited:.0f} s"
        return None

    def _check_checkpoints(self) -> str | None:
        for domain in self._stores.opened():
            if (problem := domain.checkpoints.problem) is not None:
                return f"{domain.name}: {problem}"
        return None

    def _check_scrubs(self) -> str | None:
        for domain in self._stores.opened():
            if found := domain.scrub.problems:
                reason = f"{domain.name}: {found} damaged record(s) found, see `dbx scrub status`"
                return Degraded(reason)
        return None

    def _check_keys(self) -> str | None:
        for domain in self._stores.opened():
            if (trouble := domain.data_keys.trouble) is not None:
                return Degraded(f"{domain.name}: {trouble}, see `dbx keys status`")
        return None

    def _check_clock(self) -> str | None:
        now_ms = self._now_ns() // 1_000_000
        for domain in self._stores.opened():
            try:
                tail = decode_tail(domain.store.view().get(keys.tail(PARTITION)))
            except EventDBXError:
                continue  # What is wrong with the store is said above.
            if not tail.next_position:
                continue
            ahead_s = (snowflake.time_ms(tail.last_id) - now_ms) / 1000
            if ahead_s > CLOCK_BACK_S:
                return f"the clock is {ahead_s:.0f} s behind the newest event of {domain.name}"
        return None


def short_of_space(folder: Path, reserve: int = limits.DISK_RESERVE_BYTES) -> str | None:
    """Return what to do when the file system of a folder is nearly full, else None."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free >= reserve:
        return None
    return (
        f"{free // 1_048_576} MiB are free on the disk of {folder}, "
        f"{reserve // 1_048_576} are kept in reserve"
    )
