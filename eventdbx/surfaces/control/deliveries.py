"""What may be asked about deliveries of plugins and their queue: one function an operation.

Each gets the domain, the document of the operation and what its token allows, and returns the
document of the answer, or a Deferred of it. Which right each needs is said in
:mod:`eventdbx.surfaces.control.plugins`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError

from eventdbx.application.delivering import Delivering, Outcome, ReplayAsked
from eventdbx.domain.delivery.entries import PAYLOAD_MODES, PluginEntry, Unavailable
from eventdbx.domain.delivery.positions import parse_position_token, position_token
from eventdbx.domain.grants import aggregate_resource
from eventdbx.domain.timestamps import parse_ns
from eventdbx.errors import ConfigError, InvalidCursor, UnknownName
from eventdbx.storage import eventlog
from eventdbx.surfaces.control.asked import Asked
from eventdbx.surfaces.control.waiting import Waiting

if TYPE_CHECKING:
    from eventdbx.application.domains import Domain
    from eventdbx.domain.grants import Grant

PARTITION = 0
WAIT_MS_MAX = 30_000
QUEUE_LIMIT = 100
_DROPPED_IDS_MAX = 100_000

Operation = Callable[["Domain", Asked, "Grant"], Any]


def delivering(domain: Domain) -> Delivering:
    """Return the delivery of a domain. Raises ConfigError where there is none."""
    if domain.delivering is None:
        raise ConfigError(f"nothing is delivered of domain '{domain.name}' here")
    return domain.delivering


def usable(domain: Domain, name: str) -> PluginEntry:
    """Return the entry of a name. Raises ConfigError."""
    entry = domain.plugins.find(name)
    if entry is None:
        raise UnknownName(f"no plugin named '{name}' is configured")
    if isinstance(entry, Unavailable):
        raise ConfigError(f"plugin '{name}' is unavailable: {entry.reason}")
    return entry


def check_place(text: str) -> None:
    """Raise InvalidCursor unless a cursor can be moved to what a text names."""
    if text in ("start", "end"):
        return
    try:
        parse_position_token(text)
    except InvalidCursor:
        try:
            parse_ns(text)
        except ValueError:
            raise InvalidCursor(
                f"'{text[:64]}' is neither start, end, a position token nor a time (RFC 3339)"
            ) from None


def processes(domain: Domain, name: str | None) -> list[dict[str, Any]]:
    """Return the states of process plugins, of all without a name."""
    if domain.delivering is None:
        return []
    return domain.delivering.processes(name)


def _seek(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    to = asked.required("to")
    check_place(to)
    seeking = delivering(domain).seek(asked.required("name"), to)
    return seeking.addCallback(lambda token: {"position": token})


def _lag(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    lags = delivering(domain).lags(asked.text("name"))
    return lags.addCallback(lambda found: {"plugins": [lag._asdict() for lag in found]})


def _test(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    testing = delivering(domain).test(asked.texts("names"))
    return testing.addCallback(lambda done: {"results": [one._asdict() for one in done]})


def _start(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    starting = delivering(domain).start_process(asked.required("name"))
    return starting.addCallback(lambda done: {"pid": done[0], "already": done[1]})


def _stop(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    stopping = delivering(domain).stop_process(asked.required("name"))
    return stopping.addCallback(lambda pid: {"pid": pid})


def _replay(domain: Domain, asked: Asked, _grant: Grant) -> dict[str, Any]:
    mode = asked.text("mode")
    if mode is not None and mode not in PAYLOAD_MODES:
        raise ConfigError(f"unknown payload mode '{mode[:64]}'")
    job = delivering(domain).replay(
        ReplayAsked(
            asked.required("name"),
            asked.text("aggregate_type"),
            asked.text("aggregate_id"),
            mode,
            asked.number("from_version"),
            asked.number("to_version"),
            asked.number("from_time"),
            asked.number("to_time"),
            asked.flag("include_archived"),
            asked.flag("retry"),
        )
    )
    return {"job": job}


def _replay_progress(domain: Domain, asked: Asked, _grant: Grant) -> dict[str, Any]:
    job = asked.required("job")
    progress = delivering(domain).replay_progress(job)
    if progress is None:
        raise ConfigError(f"there is no replay '{job[:64]}'")
    return dict(progress)


def _cancel_replay(domain: Domain, asked: Asked, _grant: Grant) -> dict[str, Any]:
    return {"cancelled": delivering(domain).cancel_replay(asked.required("job"))}


def _wait(domain: Domain, asked: Asked, grant: Grant) -> Any:
    """Wait until a plugin has an event, or everything up to a position."""
    name = usable(domain, asked.required("name")).key
    timeout_ms = asked.number("timeout_ms")
    timeout_ms = WAIT_MS_MAX if timeout_ms is None else min(timeout_ms, WAIT_MS_MAX)
    position = _awaited(domain, asked)
    if position is None:
        return {"outcome": "delivered", "reason": ""}
    told = grant.allows("plugin.read")

    def answer(done: tuple[Outcome, str]) -> dict[str, Any]:
        return {"outcome": done[0], "reason": done[1] if told else ""}

    inner = delivering(domain).wait(name, position, timeout_ms / 1000)
    inner.addCallback(answer)

    def too_late(failure: Any) -> dict[str, Any]:
        failure.trap(CancelledError)
        return {"outcome": "timeout", "reason": ""}

    waiting = Waiting(inner.cancel, gives_way=True)
    inner.addErrback(too_late).addCallbacks(waiting.callback, waiting.errback)
    return waiting


def _awaited(domain: Domain, asked: Asked) -> str | None:
    """Return the token of the place that is waited for; None where there is nothing before it."""
    view = domain.store.view()
    event_id = asked.number("event_id")
    if event_id is not None:
        position = eventlog.position_of(view, PARTITION, event_id)
        if position is None:
            raise ConfigError(f"there is no event {event_id}")
        return position_token(position)
    text = asked.required("position")
    if text in ("", "start"):
        return None
    if text == "end":
        end = eventlog.end_position(view, PARTITION)
        return position_token(end - 1) if end else None
    return position_token(parse_position_token(text))


# The queue


def _queue(domain: Domain, asked: Asked, grant: Grant) -> Any:
    limit = asked.number("limit")
    finding = delivering(domain).queue(asked.text("name"), QUEUE_LIMIT if limit is None else limit)
    return finding.addCallback(lambda found: {**found, "jobs": _of_jobs(found["jobs"], grant)})


def _of_jobs(jobs: dict[str, list[dict[str, Any]]], grant: Grant) -> dict[str, Any]:
    if grant.sees_everything:
        return jobs
    return {status: [job for job in listed if _sees(grant, job)] for status, listed in jobs.items()}


def _sees(grant: Grant, job: dict[str, Any]) -> bool:
    """Tell whether a token that is for some aggregates is for that of a job."""
    return grant.allows(
        "queue.read", aggregate_resource(job["aggregate_type"], job["aggregate_id"])
    )


def _job(domain: Domain, asked: Asked, grant: Grant) -> Any:
    finding = delivering(domain).job(_required_number(asked, "id"), asked.text("name"))
    return finding.addCallback(
        lambda job: job if job is not None and _sees(grant, job) else {"id": None}
    )


def _required_number(asked: Asked, name: str) -> int:
    number = asked.number(name)
    if number is None:
        raise ConfigError(f"'{name}' must be given")
    return number


def _retry(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    wait_ms = min(asked.number("wait_ms") or 0, WAIT_MS_MAX)
    retrying = delivering(domain).retry(
        job_id=asked.number("id"),
        name=asked.text("name"),
        since_ms=asked.number("since_ms"),
        wait_s=wait_ms / 1000,
    )
    return retrying.addCallback(lambda done: {"retried": done[0], "dead": done[1]})


def _drop(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    """Give dead jobs up: one, some, or all (of a plugin)."""
    ids: tuple[int, ...] | None = asked.numbers("ids") if asked.has("ids") else None
    if ids is not None and len(ids) > _DROPPED_IDS_MAX:
        raise ConfigError(f"'ids' holds {_DROPPED_IDS_MAX} numbers at most")
    if asked.has("id"):
        ids = (_required_number(asked, "id"),)
    dropping = delivering(domain).discard(job_ids=ids, name=asked.text("name"))
    return dropping.addCallback(lambda count: {"dropped": count})


def _clear_done(domain: Domain, asked: Asked, _grant: Grant) -> Any:
    clearing = delivering(domain).clear_done(
        asked.number("older_than_ms"), only_count=asked.flag("only_count")
    )
    return clearing.addCallback(lambda count: {"cleared": count})


OPERATIONS: dict[str, Operation] = {
    "seek": _seek,
    "lag": _lag,
    "test": _test,
    "status": lambda domain, asked, _grant: {"processes": processes(domain, asked.text("name"))},
    "start": _start,
    "stop": _stop,
    "replay": _replay,
    "replay_progress": _replay_progress,
    "cancel_replay": _cancel_replay,
    "wait": _wait,
    "queue": _queue,
    "job": _job,
    "retry": _retry,
    "drop": _drop,
    "clear_done": _clear_done,
}
