"""What surfaces may ask of the delivery of a domain, whoever carries it out.

The server's drainer answers (:mod:`eventdbx.plugins.drainer`), beside a server and without one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import PayloadMode, PluginEntry

Outcome = Literal["delivered", "dead", "timeout"]


class Tested(NamedTuple):
    """What became of one ``plugin test``; ``reason`` is None when it went well."""

    label: str
    reason: str | None


class Lag(NamedTuple):
    """How far one plugin is behind, and what keeps it.

    ``lag`` counts events behind the cursor's end of the log (an upper bound where a filter
    applies), ``oldest_s`` is the age of the oldest one that is not settled.
    """

    name: str
    label: str
    position: str
    lag: int
    oldest_s: float
    parked: int
    dead: int
    in_flight: int
    paused: str | None
    breaker_open: bool
    last_error: str | None


class ReplayAsked(NamedTuple):
    """Which events to deliver again: of a type, or one aggregate; by version or time (ns).

    With ``retry`` what fails is tried again as live deliveries are; without it the first failure
    ends the replay.
    """

    name: str
    aggregate_type: str | None
    aggregate_id: str | None
    mode: PayloadMode | None = None
    from_version: int | None = None
    to_version: int | None = None
    from_time: int | None = None
    to_time: int | None = None
    include_archived: bool = False
    retry: bool = False


class Delivering(Protocol):
    """The delivery of one domain. Names of plugins are those of its entries.

    Raises (or fails with) ConfigError for an unknown name, StorageError with the target's reason.
    """

    def check(self, entry: PluginEntry) -> Deferred[None]:
        """Try the readiness of an entry, which need not be in force; fails with StorageError."""

    def check_program(self, entry: PluginEntry) -> Deferred[None]:
        """Fail with ConfigError unless the program of a process plugin is installed."""

    def test(self, names: Sequence[str]) -> Deferred[list[Tested]]:
        """Deliver the sample event to plugins, to all that emit when no name is given."""

    def lags(self, name: str | None = None) -> Deferred[list[Lag]]:
        """Return how far plugins are behind."""

    def seek(self, name: str, to: str) -> Deferred[str]:
        """Move a cursor to ``start``, ``end``, a token or a time (RFC 3339); return the token."""

    def resume(self, name: str) -> bool:
        """Let a plugin go on that was paused because of what its target said; False if none was."""

    def taken_up(self, name: str) -> Deferred[None]:
        """Fires when it is durable that what is written from now on is meant for a plugin as its
        entry is now."""

    def rename(self, name: str, to: str) -> Deferred[None]:
        """Move the durable rows of a plugin to another name; with those of ``to`` dropped."""

    def stand_for(self, name: str, other: str) -> Deferred[None]:
        """Let a plugin that is built beside another get what is published to that one, too."""

    def drop(self, name: str) -> Deferred[int]:
        """Forget everything about a plugin; return how many undelivered events that were."""

    def wait(self, name: str, position: str, timeout_s: float) -> Deferred[tuple[Outcome, str]]:
        """Wait until everything up to a position is settled; return the outcome and a reason."""

    def queue(self, name: str | None, limit: int) -> Deferred[dict[str, Any]]:
        """Return counts and jobs, at most ``limit`` of each status."""

    def job(self, job_id: int, name: str | None = None) -> Deferred[dict[str, Any] | None]:
        """Return one job (of a plugin) with the document that would be sent, or None."""

    def retry(
        self, *, job_id: int | None, name: str | None, since_ms: int | None, wait_s: float
    ) -> Deferred[tuple[int, int]]:
        """Try dead jobs again, waiting a while for them; return how many, and how many are dead
        still."""

    def discard(self, *, job_ids: Collection[int] | None, name: str | None) -> Deferred[int]:
        """Give dead jobs up for good; what waited behind them goes on. Return how many."""

    def clear_done(self, older_than_ms: int | None, *, only_count: bool = False) -> Deferred[int]:
        """Reset the counters of done jobs (or leave them); return how many they counted."""

    def replay(self, asked: ReplayAsked) -> str:
        """Begin to deliver events again, beside live delivery; return the id of the job."""

    def replay_progress(self, job: str) -> Mapping[str, JSON] | None:
        """Return ``state`` (running, done, failed, cancelled), ``delivered``, ``total``,
        ``aggregates``, ``current``, ``error`` of a replay, or None for an unknown job."""

    def cancel_replay(self, job: str) -> bool:
        """Stop a replay; return False for an unknown job."""

    def processes(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the state of process plugins: ``name``, ``label``, ``running``, ``pid``,
        ``restarts``, ``stopped``, ``reason``."""

    def start_process(self, name: str) -> Deferred[tuple[int, bool]]:
        """Start a process plugin that was stopped; return its pid and whether it ran already."""

    def stop_process(self, name: str) -> Deferred[int | None]:
        """Stop a process plugin until it is started again; return its pid, None if none ran."""
