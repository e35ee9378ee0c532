"""The numbers of now that are read at every scrape: stores, plugins, tokens, connections.

What happens is counted where it happens, in :mod:`eventdbx.measures`.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx import __version__
from eventdbx.application.delivering import Lag
from eventdbx.application.domains import Domain
from eventdbx.application.ledger import Ledger
from eventdbx.domain.tenants import MIB
from eventdbx.errors import EventDBXError
from eventdbx.measures import Family, Labels, Measures, Sample, gauge
from eventdbx.storage import eventlog

PARTITION = 0
LEDGER_LOOK_S = 60.0
"""A ledger is read again at most so often: a large one takes a second."""

_QUEUE_STATES = ("pending", "processing", "done", "dead")
_STORE_TEXTS = {
    "bytes_on_disk": ("eventdbx_store_bytes", "Size of a store's folder in bytes."),
    "keys": ("eventdbx_store_keys", "Estimated number of keys in a store."),
    "waiting_bytes": ("eventdbx_store_waiting_bytes", "Bytes that wait for a commit."),
    "waiting_count": ("eventdbx_store_waiting_writes", "Writes that wait for a commit."),
}
_PROPERTY_TEXT = "Property of RocksDB, see docs/observability.md."

RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]


class Readings:
    """Reads the numbers. ``connections`` are those open now, by surface."""

    def __init__(
        self,
        measures: Measures,
        *,
        domains: Callable[[], Iterable[Domain]],
        connections: Callable[[], Mapping[str, int]],
        tokens: TokenCounts,
        run_slowly: RunSlowly,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._now_ns = now_ns
        self._measures = measures
        self._domains = domains
        self._connections = connections
        self._tokens = tokens
        self._run_slowly = run_slowly

    def gather(self) -> Deferred[list[Family]]:
        """Return the families of now."""
        return Deferred.fromCoroutine(self._gather())

    async def _gather(self) -> list[Family]:
        domains = list(self._domains())
        appended = [
            Sample("", (("domain", one.name),), eventlog.end_position(one.store.view(), PARTITION))
            for one in domains
        ]
        slow: list[Family] = await self._run_slowly(lambda: self._slow(domains))
        return [
            Family(
                "eventdbx_events_appended_total",
                "counter",
                "Events in the log of a domain, since its store was made.",
                appended,
            ),
            *await _of_plugins(domains),
            *_of_checkpoints(domains, self._now_ns()),
            *_of_scrubs(domains, self._now_ns()),
            *_of_quotas(domains),
            *slow,
            self._build(),
            gauge(
                "eventdbx_connections",
                "Connections that are open now.",
                [((surface,), count) for surface, count in self._connections().items()],
                "surface",
            ),
            gauge(
                "eventdbx_uptime_seconds",
                "Seconds since the server was started.",
                [((), self._measures.clock() - self._measures.began)],
            ),
        ]

    def _slow(self, domains: list[Domain]) -> list[Family]:
        """Read what takes the disk."""
        shown: dict[str, tuple[str, list[tuple[Labels, float]]]] = {}
        for domain in domains:
            for key, value in domain.store.statistics().items():
                name, text = _STORE_TEXTS.get(key, (f"eventdbx_rocksdb_{key}", _PROPERTY_TEXT))
                shown.setdefault(name, (text, []))[1].append(((domain.name,), value))
        return [
            *(gauge(name, text, values, "domain") for name, (text, values) in shown.items()),
            gauge(
                "eventdbx_tokens",
                "Issued tokens in the ledger by what they are good for.",
                [((status,), count) for status, count in self._tokens.now().items()],
                "status",
            ),
        ]

    def _build(self) -> Family:
        return gauge(
            "eventdbx_build_info",
            "Version of the server and of its interpreter.",
            [((__version__, platform.python_version()), 1)],
            "version",
            "python",
        )


def _of_checkpoints(domains: list[Domain], now_ns: int) -> list[Family]:
    """Read what was signed, and when; a domain of which that cannot be read has none."""
    sizes: list[tuple[Labels, float]] = []
    ages: list[tuple[Labels, float]] = []
    witnessed: list[tuple[Labels, float]] = []
    for domain in domains:
        checkpoints, labels = domain.checkpoints, (domain.name,)
        try:
            newest, seen = checkpoints.newest(), checkpoints.witnessed()
        except EventDBXError:
            continue
        if newest is not None:
            sizes.append((labels, newest.size))
        if checkpoints.signed_ns is not None:
            ages.append((labels, max(0, now_ns - checkpoints.signed_ns) / 10**9))
        if seen is not None:
            witnessed.append((labels, seen.size))
    return [
        gauge("eventdbx_checkpoint_size", "Events under the newest checkpoint.", sizes, "domain"),
        gauge(
            "eventdbx_checkpoint_age_seconds",
            "Seconds since the newest checkpoint was signed.",
            ages,
            "domain",
        ),
        gauge(
            "eventdbx_checkpoint_witnessed_size",
            "Events under the newest checkpoint that a witness cosigned.",
            witnessed,
            "domain",
        ),
    ]


def _of_scrubs(domains: list[Domain], now_ns: int) -> list[Family]:
    """Tell how the passes of the stores go, and what they have found."""
    known = [((domain.name,), domain.scrub) for domain in domains]
    ended = [(labels, scrub.last.ended_ns) for labels, scrub in known if scrub.last is not None]
    running = [
        (labels, 0.0 if scrub.running is None else float(scrub.running.read))
        for labels, scrub in known
    ]
    return [
        gauge(
            "eventdbx_scrub_problems",
            "Damaged records that scrubbing has found and not found whole since.",
            [(labels, scrub.problems) for labels, scrub in known],
            "domain",
        ),
        gauge(
            "eventdbx_scrub_age_seconds",
            "Seconds since the last pass over the whole store ended.",
            [(labels, max(0, now_ns - (at or 0)) / 10**9) for labels, at in ended],
            "domain",
        ),
        gauge(
            "eventdbx_scrub_bytes",
            "Bytes that the pass which runs has read, 0 while none does.",
            running,
            "domain",
        ),
    ]


def _of_quotas(domains: list[Domain]) -> list[Family]:
    """Tell what the domains hold, of what they may hold; without a quota they are not shown."""
    known = [((one.name,), one.store, one.writer.quota) for one in domains]
    held = [(labels, store, quota) for labels, store, quota in known if quota is not None]
    return [
        gauge(
            "eventdbx_tenant_quota_bytes",
            "How much a tenant with a quota may store, in bytes.",
            [(labels, quota.quota_mib * MIB) for labels, _store, quota in held],
            "domain",
        ),
        gauge(
            "eventdbx_tenant_usage_bytes",
            "What a tenant with a quota stores, as the quota counts it.",
            [(labels, store.used_bytes()) for labels, store, _quota in held],
            "domain",
        ),
        Family(
            "eventdbx_tenant_quota_refusals_total",
            "counter",
            "Writes that were refused for the quota of a tenant.",
            [Sample("", (("domain", name),), quota.refused) for (name,), _store, quota in held],
        ),
    ]


class TokenCounts:
    """How many tokens there are of each status, read from the ledger when it has changed."""

    def __init__(
        self,
        paths: Iterable[Path],
        read: Callable[[], Ledger],
        *,
        now_ns: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._now_ns = now_ns
        self._clock = clock
        self._seen: object = None
        self._look_at = float("-inf")
        self._ends: list[tuple[bool, int | None]] = []

    def now(self) -> dict[str, int]:
        """Return the numbers; touches files, so call it on a thread. A ledger that cannot be read
        has none."""
        if self._clock() >= self._look_at:
            self._look()
        found = {"active": 0, "expired": 0, "revoked": 0}
        now_ns = self._now_ns()
        for revoked, ends in self._ends:
            expired = ends is not None and ends <= now_ns
            found["revoked" if revoked else "expired" if expired else "active"] += 1
        return found

    def _look(self) -> None:
        seen = [_identity(path) for path in self._paths]
        if seen == self._seen:
            return
        try:
            ledger = self._read()
        except Exception:  # Whoever uses the ledger complains about it.
            self._ends = []
        else:
            self._ends = [
                (one.status_revoked or ledger.is_revoked(one.jti), one.expires_at)
                for one in ledger.records
            ]
        self._seen = seen
        self._look_at = self._clock() + LEDGER_LOOK_S


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


async def _of_plugins(domains: Iterable[Domain]) -> list[Family]:
    """Return where plugins stand. Plugins of one label in several domains are shown as one."""
    lags: dict[str, list[Lag]] = {}
    states = dict.fromkeys(_QUEUE_STATES, 0)
    up: dict[str, int] = {}
    restarts: dict[str, int] = {}
    for domain in domains:
        if domain.delivering is None:
            continue
        for lag in await domain.delivering.lags():
            lags.setdefault(lag.label, []).append(lag)
        queue = await domain.delivering.queue(None, 0)
        for state in states:
            states[state] += queue[state]
        for child in domain.delivering.processes():
            label = child["label"]
            up[label] = min(up.get(label, 1), int(child["running"]))
            restarts[label] = restarts.get(label, 0) + child["restarts"]

    def by_plugin(name: str, text: str, value: Callable[[list[Lag]], float]) -> Family:
        return gauge(name, text, [((key,), value(of)) for key, of in lags.items()], "plugin")

    return [
        gauge(
            "eventdbx_plugin_queue_jobs",
            "Current number of plugin jobs by state.",
            [((state,), count) for state, count in states.items()],
            "state",
        ),
        by_plugin(
            "eventdbx_outbox_lag",
            "Events that a plugin has not settled.",
            lambda of: sum(one.lag for one in of),
        ),
        by_plugin(
            "eventdbx_plugin_lag_seconds",
            "Age of the oldest event that a plugin has not settled.",
            lambda of: max(one.oldest_s for one in of),
        ),
        by_plugin(
            "eventdbx_plugin_dead_jobs",
            "Events that a plugin has given up.",
            lambda of: sum(one.dead for one in of),
        ),
        by_plugin(
            "eventdbx_plugin_breaker_open",
            "1 while a plugin's target counts as unavailable.",
            lambda of: max(int(one.breaker_open) for one in of),
        ),
        by_plugin(
            "eventdbx_plugin_paused",
            "1 while nothing is sent to a plugin, because of its entry or of its target.",
            lambda of: max(int(one.paused is not None) for one in of),
        ),
        gauge(
            "eventdbx_plugin_process_up",
            "1 while the process of a plugin runs.",
            [((label,), value) for label, value in up.items()],
            "plugin",
        ),
        Family(
            "eventdbx_plugin_process_restarts_total",
            "counter",
            "How often the process of a plugin was started again.",
            [Sample("", (("plugin", label),), value) for label, value in restarts.items()],
        ),
    ]
