"""``/admin/plugins/{name}/…``: where a plugin stands, trying it, replays, its process."""

from __future__ import annotations

from typing import Any

from eventdbx.application.delivering import Delivering
from eventdbx.application.domains import Domain
from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.timestamps import parse_ns
from eventdbx.errors import ConfigError, UnknownName
from eventdbx.surfaces.admin import plugin_shapes
from eventdbx.surfaces.admin.plugins import name_of
from eventdbx.surfaces.admin.table import DOMAIN, Answer, Call, Installation, Row
from eventdbx.surfaces.admin.working import Workplace, answering, place
from eventdbx.surfaces.control.asked import Asked
from eventdbx.surfaces.control.deliveries import OPERATIONS, check_place, delivering, usable
from eventdbx.surfaces.control.recording import PLUGIN_EVENTS

SCHEMAS = plugin_shapes.OF_DELIVERIES


class DeliveryRoutes:
    """The work of the rows."""

    def __init__(self, workplace: Workplace) -> None:
        self._at = workplace

    def _place(self, call: Call) -> tuple[Domain, PluginEntry, Delivering]:
        """Return where a plugin is served. Raises UnknownName, ConfigError."""
        domain = self._at.domain(call)
        domain.plugins.refresh()
        return domain, usable(domain, name_of(call)), delivering(domain)

    async def lag(self, call: Call) -> Answer:
        """Return how far a plugin is behind, and what keeps it."""
        _domain, entry, way = self._place(call)
        (lag,) = await way.lags(entry.key)
        return Answer(document=lag._asdict())

    async def seek(self, call: Call) -> Answer:
        """Move a plugin's place in the log."""
        to: str = call.body["to"]
        check_place(to)
        _domain, entry, way = self._place(call)
        token = await way.seek(entry.key, to)
        return Answer(document={"position": token}, resource=entry.key, details={"to": to})

    async def test(self, call: Call) -> Answer:
        """Deliver the sample event."""
        _domain, entry, way = self._place(call)
        (done,) = await way.test([entry.key])
        document: JSON = {"label": done.label, "ok": done.reason is None, "reason": done.reason}
        return Answer(document=document, resource=entry.key, details={"ok": done.reason is None})

    # Replays

    async def replay(self, call: Call) -> Answer:
        """Begin to deliver events again, beside live delivery."""
        domain, entry, _way = self._place(call)
        asked: dict[str, JSON] = {**call.body, "name": entry.key, "mode": None}
        asked["mode"] = call.body.get("payload_mode")
        for member in ("from_time", "to_time"):
            asked[member] = _time(call.body.get(member), member)
        started: Any = OPERATIONS["replay"](domain, Asked(asked, ConfigError), call.grant)
        job = started["job"]
        return Answer(
            status=202,
            document={"job": job},
            headers={"Location": place("plugins", entry.key, "replays", job)},
            resource=entry.key,
            details={"job": job},
        )

    async def replay_progress(self, call: Call) -> Answer:
        """Return how far a replay is."""
        _domain, _entry, way = self._place(call)
        progress = way.replay_progress(call.params["job"])
        if progress is None:
            raise UnknownName(f"there is no replay '{call.params['job'][:64]}'")
        return Answer(document=dict(progress))

    async def cancel_replay(self, call: Call) -> Answer:
        """Stop a replay."""
        _domain, entry, way = self._place(call)
        job = call.params["job"]
        if not way.cancel_replay(job):
            raise UnknownName(f"there is no replay '{job[:64]}'")
        return Answer(status=204, resource=entry.key, details={"job": job})

    # The process of a process plugin

    def _process(self, call: Call) -> tuple[str, Delivering]:
        _domain, entry, way = self._place(call)
        if entry.kind != "process":
            raise UnknownName(f"no process plugin named '{entry.key}' is configured")
        return entry.key, way

    async def process(self, call: Call) -> Answer:
        """Return the state of a plugin's process."""
        name, way = self._process(call)
        (state,) = way.processes(name)
        return Answer(document=state)

    async def start(self, call: Call) -> Answer:
        """Start a process that was stopped."""
        name, way = self._process(call)
        await way.start_process(name)
        return Answer(document=way.processes(name)[0], resource=name)

    async def stop(self, call: Call) -> Answer:
        """Stop a process until it is started again."""
        name, way = self._process(call)
        await way.stop_process(name)
        return Answer(document=way.processes(name)[0], resource=name)


def _time(text: str | None, member: str) -> int | None:
    """Return a time in nanoseconds. Raises ConfigError."""
    if text is None:
        return None
    try:
        return parse_ns(text)
    except ValueError:
        raise ConfigError(f"'{member}' must be a time (RFC 3339)") from None


def rows(installation: Installation) -> list[Row]:
    """Return the routes of this file."""
    do = DeliveryRoutes(Workplace(installation))
    one = "/admin/plugins/{name}"

    def row(
        method: str, path: str, operation: str, summary: str, work: Any, answer: str | None,
        event: str | None = None, *, status: int = 200, **more: Any,
    ) -> Row:  # fmt: skip
        return Row(
            method=method,
            path=one + path,
            operation=operation,
            summary=summary,
            action="plugin.read" if event is None else "plugin.manage",
            handle=answering(work),
            answers={status: answer, 404: "Error"},
            tag="plugins",
            query=(DOMAIN,),
            event=None if event is None else PLUGIN_EVENTS[event],
            area=None if event is None else "plugins",
            **more,
        )

    return [
        row("GET", "/lag", "getPluginLag", "How far a plugin is behind", do.lag, "PluginLag"),
        row("POST", "/seek", "seekPlugin", "Move a plugin's place in the log", do.seek,
            "PluginPosition", "seek", body="SeekRequest"),
        row("POST", "/test", "testPlugin", "Deliver the sample event", do.test, "PluginTest",
            "test"),
        row("POST", "/replays", "replayPlugin", "Deliver events again", do.replay,
            "ReplayStarted", "replay", status=202, body="ReplayRequest", body_required=False),
        row("GET", "/replays/{job}", "getReplay", "How far a replay is", do.replay_progress,
            "ReplayProgress"),
        row("DELETE", "/replays/{job}", "cancelReplay", "Stop a replay", do.cancel_replay, None,
            "cancel_replay", status=204),
        row("GET", "/process", "getPluginProcess", "The process of a plugin", do.process,
            "PluginProcess"),
        row("POST", "/process/start", "startPluginProcess", "Start a process that was stopped",
            do.start, "PluginProcess", "start"),
        row("POST", "/process/stop", "stopPluginProcess", "Stop a process", do.stop,
            "PluginProcess", "stop"),
    ]  # fmt: skip
