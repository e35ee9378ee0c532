"""``/admin/queue``: what waits for plugins, what is dead, and what becomes of it.

A job is known by the id of its event, as text: it is larger than what JSON's readers take for a
number. Two plugins with one event have two jobs of one id; ``?plugin=`` tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eventdbx.application.delivering import Delivering
from eventdbx.domain.canonical import JSON
from eventdbx.errors import UnknownName
from eventdbx.surfaces.admin.table import (
    DOMAIN,
    Answer,
    Call,
    Installation,
    Parameter,
    Problem,
    Row,
)
from eventdbx.surfaces.admin.working import Workplace, answering
from eventdbx.surfaces.control.deliveries import delivering
from eventdbx.surfaces.control.recording import QUEUE_EVENTS

JOBS_MAX = 1_000
"""Jobs of each status that are listed: what waits behind them is counted alone."""

WAIT_MS_MAX = 20_000
_ID_DIGITS_MAX = 20
_HOUR_MS = 3_600_000

PLUGIN = Parameter("plugin", {"type": "string", "maxLength": 255}, "Only jobs of this plugin.")
STATUS = Parameter(
    "status", {"type": "string", "enum": ["pending", "processing", "dead"]}, "Only these jobs."
)
DROPPED = Parameter(
    "status",
    {"type": "string", "enum": ["dead", "done"]},
    "What to drop: dead jobs, or the counters of done ones. Must be given.",
)
OLDER = Parameter(
    "older_than_hours", {"type": "integer", "minimum": 0, "maximum": 1_000_000},
    "Of done jobs, only those that were done before so many hours.",
)  # fmt: skip

_TEXT: dict[str, JSON] = {"type": "string"}
_COUNT: dict[str, JSON] = {"type": "integer", "minimum": 0}
_ID: dict[str, JSON] = {"type": "string", "pattern": "^[0-9]{1,20}$"}
_JOB: dict[str, JSON] = {
    "id": _ID,
    "name": _TEXT,
    "label": _TEXT,
    "status": {"enum": ["pending", "processing", "dead"]},
    "attempts": _COUNT,
    "next_retry_at": {"type": ["integer", "null"]},
    "last_error": {"type": ["string", "null"]},
    "aggregate_type": _TEXT,
    "aggregate_id": _TEXT,
    "event_type": _TEXT,
    "event_id": _ID,
    "version": _COUNT,
    "position": _TEXT,
    "priority": _TEXT,
}
_COUNTS: dict[str, JSON] = dict.fromkeys(("pending", "processing", "done", "dead"), _COUNT)


def _object(properties: dict[str, JSON], *required: str) -> JSON:
    names: list[JSON] = [*(required or properties)]
    return {"type": "object", "required": names, "properties": properties}


SCHEMAS: Mapping[str, JSON] = {
    "QueueCounts": _object(_COUNTS),
    "QueueJob": _object(_JOB),
    "QueueJobDocument": _object(
        {
            **_JOB,
            "document": {
                "type": ["string", "null"],
                "description": "The text that would be sent; null where nothing would.",
            },
        }
    ),
    "RetryRequest": {
        "type": "object",
        "properties": {
            "id": {**_ID, "type": ["string", "null"]},
            "plugin": {"type": ["string", "null"]},
            "since_ms": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": (1 << 63) - 1,
                "description": "Only what has been dead since this time (ms since the epoch).",
            },
            "wait_ms": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": WAIT_MS_MAX,
                "description": "How long to wait for what becomes of them.",
            },
        },
    },
    "RetryResult": _object({"retried": _COUNT, "dead": _COUNT}),
    "DropResult": _object({"dropped": _COUNT}),
}


class QueueRoutes:
    """The work of the rows."""

    def __init__(self, workplace: Workplace) -> None:
        self._at = workplace

    def _way(self, call: Call, plugin: str | None) -> Delivering:
        """Return the delivery of the domain; raises UnknownName for an unknown plugin."""
        domain = self._at.domain(call)
        domain.plugins.refresh()
        if plugin is not None and domain.plugins.find(plugin) is None:
            raise UnknownName(f"no plugin named '{plugin}' is configured")
        return delivering(domain)

    async def counts(self, call: Call) -> Answer:
        """Return how many jobs there are of each status."""
        plugin = call.query.get("plugin")
        found = await self._way(call, plugin).queue(plugin, 0)
        return Answer(document={name: found[name] for name in _COUNTS})

    async def jobs(self, call: Call) -> Answer:
        """Return what waits, is under way or is dead."""
        plugin, wanted = call.query.get("plugin"), call.query.get("status")
        found = (await self._way(call, plugin).queue(plugin, JOBS_MAX))["jobs"]
        statuses = ("pending", "processing", "dead") if wanted is None else (wanted,)
        return Answer(document=[_shown(job) for status in statuses for job in found[status]])

    async def job(self, call: Call) -> Answer:
        """Return a job that has failed, with what would be sent."""
        plugin, number = call.query.get("plugin"), _number(call)
        found = await self._way(call, plugin).job(number, plugin)
        if found is None:
            raise UnknownName(f"there is no job {number}")
        return Answer(document=_shown(found))

    async def retry(self, call: Call) -> Answer:
        """Try dead jobs again."""
        body, plugin = call.body, call.body.get("plugin")
        job = body.get("id")
        retried, dead = await self._way(call, plugin).retry(
            job_id=None if job is None else int(job),
            name=plugin,
            since_ms=body.get("since_ms"),
            wait_s=(body.get("wait_ms") or 0) / 1000,
        )
        return Answer(
            document={"retried": retried, "dead": dead},
            resource=plugin or "*",
            details={"id": job, "retried": retried},
            changed=retried > 0,
        )

    async def drop(self, call: Call) -> Answer:
        """Give dead jobs up, or forget how many are done."""
        plugin, status = call.query.get("plugin"), call.query.get("status")
        if status is None:
            raise Problem(
                400, "query parameter `status` must be given: dead or done", "invalid_parameter"
            )
        hours = call.query.get("older_than_hours")
        if status == "done" and plugin is not None or status == "dead" and hours is not None:
            raise Problem(
                400, "`plugin` is for dead jobs, `older_than_hours` for done ones",
                "invalid_parameter",
            )  # fmt: skip
        way = self._way(call, plugin)
        if status == "dead":
            count = await way.discard(job_ids=None, name=plugin)
        else:
            count = await way.clear_done(None if hours is None else int(hours) * _HOUR_MS)
        return Answer(
            document={"dropped": count},
            resource=plugin or "*",
            details={"status": status, "dropped": count},
            changed=count > 0,
        )

    async def drop_one(self, call: Call) -> Answer:
        """Give one dead job up."""
        plugin, number = call.query.get("plugin"), _number(call)
        count = await self._way(call, plugin).discard(job_ids=(number,), name=plugin)
        if not count:
            raise UnknownName(f"there is no dead job {number}")
        return Answer(
            document={"dropped": count},
            resource=plugin or "*",
            details={"id": str(number), "dropped": count},
        )

    async def lags(self, call: Call) -> Answer:
        """Return how far all plugins are behind."""
        return Answer(document=[lag._asdict() for lag in await self._way(call, None).lags()])


def _shown(job: Mapping[str, Any]) -> dict[str, Any]:
    return {**job, "id": str(job["id"]), "event_id": str(job["event_id"])}


def _number(call: Call) -> int:
    """Return the id in the path. Raises UnknownName for what can be none."""
    text = call.params["id"]
    if not (text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS_MAX):
        raise UnknownName(f"there is no job {text[:64]}")
    return int(text)


def rows(installation: Installation) -> list[Row]:
    """Return the routes of this file."""
    do = QueueRoutes(Workplace(installation))

    def row(
        method: str, path: str, operation: str, summary: str, work: Any, answer: str,
        event: str | None = None, *, query: tuple[Parameter, ...] = (PLUGIN,), **more: Any,
    ) -> Row:  # fmt: skip
        return Row(
            method=method,
            path="/admin/queue" + path,
            operation=operation,
            summary=summary,
            action="queue.read" if event is None else "queue.manage",
            handle=answering(work),
            answers={200: answer, 404: "Error"},
            tag="queue",
            query=(*query, DOMAIN),
            event=None if event is None else QUEUE_EVENTS[event],
            area=None if event is None else "queue",
            **more,
        )

    return [
        row("GET", "", "getQueue", "How many jobs there are of each status", do.counts,
            "QueueCounts"),
        row("GET", "/lag", "listLags", "How far all plugins are behind", do.lags, "[PluginLag]",
            query=(), lists=True),
        row("GET", "/jobs", "listJobs", "What waits, is under way or is dead", do.jobs,
            "[QueueJob]", query=(STATUS, PLUGIN), lists=True),
        row("DELETE", "/jobs", "dropJobs", "Give dead jobs up, or forget how many are done",
            do.drop, "DropResult", "drop", query=(DROPPED, PLUGIN, OLDER)),
        row("GET", "/jobs/{id}", "getJob", "A job that has failed, and what would be sent",
            do.job, "QueueJobDocument"),
        row("DELETE", "/jobs/{id}", "dropJob", "Give one dead job up", do.drop_one, "DropResult",
            "drop"),
        row("POST", "/retry", "retryJobs", "Try dead jobs again", do.retry, "RetryResult",
            "retry", query=(), body="RetryRequest", body_required=False),
    ]  # fmt: skip
