"""``/admin/plugins``: the entries of plugins.

What is to be enabled is tried first and stored after, and only over the entry that was tried: an
answer that is no success leaves everything as it was. Deliveries are in ``plugin_deliveries``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred

from eventdbx.application.delivering import Delivering
from eventdbx.application.domains import Domain
from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.editing import configured, with_options, without_unknown
from eventdbx.domain.delivery.entries import Entry, PluginEntry
from eventdbx.domain.delivery.masking import masked_document, unmasked
from eventdbx.domain.delivery.writing import plugin_document
from eventdbx.errors import ConfigError, StorageError, UnknownName
from eventdbx.surfaces.admin import plugin_shapes
from eventdbx.surfaces.admin.conditions import digest_of, etag_of
from eventdbx.surfaces.admin.table import (
    DOMAIN,
    Answer,
    Call,
    Installation,
    Parameter,
    Problem,
    Row,
)
from eventdbx.surfaces.admin.working import Workplace, answering, place
from eventdbx.surfaces.control.asked import Asked
from eventdbx.surfaces.control.deliveries import delivering, usable
from eventdbx.surfaces.control.plugins import OPERATIONS
from eventdbx.surfaces.control.recording import PLUGIN_EVENTS

SCHEMAS = plugin_shapes.SCHEMAS
ENABLED = Parameter("enabled", {"type": "boolean"}, "Only plugins that are enabled, or not.")
TYPE = Parameter("type", {"type": "string", "maxLength": 64}, "Only plugins of this kind.")
DISABLE = Parameter("disable", {"type": "boolean"}, "Remove it although it is enabled.")

Change = Callable[[PluginEntry], PluginEntry]


class PluginRoutes:
    """The work of the rows."""

    def __init__(self, workplace: Workplace) -> None:
        self._at = workplace

    # Looking

    async def list(self, call: Call) -> Answer:
        """Return the definitions of all entries in stored order."""
        plugins = self._at.domain(call).plugins
        plugins.refresh()
        enabled, kind = call.query.get("enabled"), call.query.get("type")
        shown = [definition(entry) for entry in plugins.shown_to(call.grant)]
        return Answer(
            document=[
                one
                for one in shown
                if (enabled is None or one["enabled"] is (enabled == "true"))
                and (kind is None or one["config"]["type"] == kind)
            ]
        )

    async def get(self, call: Call) -> Answer:
        """Return one definition."""
        plugins, name = self._at.domain(call).plugins, name_of(call)
        plugins.refresh()
        entry = plugins.find(name)
        if entry is None or entry not in plugins.shown_to(call.grant):
            raise UnknownName(f"no plugin named '{name}' is configured")
        return shown_entry(entry)

    # Defining

    async def put(self, call: Call) -> Answer:
        """Configure a plugin: a new one, or the one of that name."""
        domain, name = self._at.domain(call), name_of(call)
        domain.plugins.tidy()
        body: Mapping[str, Any] = call.body
        _check_name(body, name)
        sent = without_unknown(body)

        def make(existing: Entry | None) -> PluginEntry:
            self._at.check_match(call, None if existing is None else _etag(existing))
            config = unmasked(_object(sent["config"]), existing)
            document = {**sent, "name": name, "enabled": body.get("enabled"), "config": config}
            return configured(document, existing)

        kind = body["config"]["type"]
        planned, wanted = domain.plugins.planned(name, kind, make)
        await _try(domain, wanted, reach=body.get("enabled") is True)

        def make_as_planned(existing: Entry | None) -> PluginEntry:
            _check_unchanged(planned, existing)
            return make(existing)

        before, after = domain.plugins.put(name, kind, make_as_planned)
        await delivering(domain).taken_up(after.key)
        return _changed(before, after)

    async def patch(self, call: Call) -> Answer:
        """Change some members of a definition."""
        body: Mapping[str, Any] = call.body
        _check_name(body, name_of(call))

        def change(entry: PluginEntry) -> PluginEntry:
            edited = with_options(entry, _options_of(entry, body))
            enabled = body.get("enabled")
            return edited if enabled is None else replace(edited, enabled=enabled)

        return await self._edit(call, change, reach=body.get("enabled") is True)

    async def _edit(self, call: Call, change: Change, *, reach: bool) -> Answer:
        """Change an entry; with ``reach`` only if its target is there."""
        domain, name = self._at.domain(call), name_of(call)
        domain.plugins.tidy()
        planned = usable(domain, name)
        self._at.check_match(call, _etag(planned))
        await _try(domain, change(planned), reach=reach)

        def change_as_planned(entry: PluginEntry) -> PluginEntry:
            _check_unchanged(planned, entry)
            return change(entry)

        before, after = domain.plugins.edit(name, change_as_planned)
        await delivering(domain).taken_up(after.key)
        return _changed(before, after)

    async def delete(self, call: Call) -> Answer:
        """Remove a plugin, and what waits for it."""
        domain, name = self._at.domain(call), name_of(call)
        domain.plugins.tidy()
        entry = domain.plugins.find(name)
        if entry is None:
            raise UnknownName(f"no plugin named '{name}' is configured")
        way = delivering(domain)
        domain.plugins.remove(
            name,
            disable=call.query.get("disable") == "true",
            check=lambda found: self._at.check_match(call, _etag(found)),
        )
        dropped = await way.drop(key_of(entry))
        return Answer(
            status=204, resource=name, before=_digest(entry), details={"dropped": dropped}
        )

    # Switching

    async def enable(self, call: Call) -> Answer:
        """Enable a plugin whose target is there."""
        return await self._edit(call, lambda entry: replace(entry, enabled=True), reach=True)

    async def disable(self, call: Call) -> Answer:
        """Disable a plugin; what comes meanwhile is not for it."""
        return await self._edit(call, lambda entry: replace(entry, enabled=False), reach=False)

    async def pause(self, call: Call) -> Answer:
        """Stop deliveries to a plugin without skipping anything."""
        return await self._edit(call, lambda entry: replace(entry, paused=True), reach=False)

    async def resume(self, call: Call) -> Answer:
        """Let deliveries go on, whoever stopped them: an operator or the target's answer."""
        answer = await self._edit(call, lambda entry: replace(entry, paused=False), reach=False)
        domain = self._at.domain(call)
        if domain.delivering is not None:
            domain.delivering.resume(name_of(call))
        return answer

    async def rename(self, call: Call) -> Answer:
        """Give a plugin another name; it keeps its place and what waits for it."""
        return await self._operate(call, "rename", {"to": call.body["to"]})

    async def switch(self, call: Call) -> Answer:
        """Let another plugin take the name and the place of this one."""
        return await self._operate(call, "switch", {"with": call.body["with"]})

    async def _operate(self, call: Call, do: str, members: dict[str, JSON]) -> Answer:
        """Carry out an operation of the control protocol that answers with an entry."""
        domain, name = self._at.domain(call), name_of(call)
        domain.plugins.tidy()
        planned = usable(domain, name)
        self._at.check_match(call, _etag(planned))
        asked = Asked({"name": name, **members}, ConfigError)
        done: Any = OPERATIONS[do](domain, asked, call.grant)
        if isinstance(done, Deferred):
            done = await done
        after = domain.plugins.find(done["entry"]["name"])
        assert isinstance(after, PluginEntry), do
        return replace(_changed(planned, after), resource=name, details=members)


def name_of(call: Call) -> str:
    """Return the name in the path, without space around it."""
    return call.params["name"].strip()


def key_of(entry: Entry) -> str:
    """Return what the rows of a plugin are kept under."""
    return entry.key if isinstance(entry, PluginEntry) else entry.name or entry.type


def definition(entry: Entry) -> dict[str, Any]:
    """Return an entry as it is answered: masked, and with the members that all have."""
    document = masked_document(entry)
    if isinstance(entry, PluginEntry):
        return _object(document)
    members = _object(document)
    config = members.get("config")
    return {
        "emit_events": False,
        "payload_mode": "all",
        **members,
        "enabled": False,
        "name": entry.name,
        "config": {**_object(config), "type": entry.type},
        "unavailable": entry.reason,
    }


def shown_entry(entry: Entry) -> Answer:
    """Return the answer that shows an entry."""
    return Answer(document=definition(entry), etag=_etag(entry))


def _changed(before: Entry | None, after: PluginEntry) -> Answer:
    return replace(
        shown_entry(after),
        status=201 if before is None else 200,
        headers={"Location": place("plugins", after.key)} if before is None else {},
        resource=after.key,
        before=None if before is None else _digest(before),
        after=_digest(after),
        changed=before != after,
    )


def _etag(entry: Entry) -> str:
    # Of what is shown: a tag must not let anybody try out credentials.
    return etag_of(definition(entry))


def _digest(entry: Entry) -> str:
    return digest_of(masked_document(entry))


def _object(value: JSON) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _check_name(body: Mapping[str, Any], name: str) -> None:
    given = (body.get("name") or "").strip()
    if given and given != name:
        raise ConfigError(f"plugin name '{given}' does not match path parameter '{name}'")


def _check_unchanged(planned: Entry | None, found: Entry | None) -> None:
    """Raise Problem when somebody else was quicker: what was tried must be what is stored."""
    if planned != found:
        raise Problem(409, "the plugin was changed meanwhile; read it again", "config")


async def _try(domain: Domain, entry: PluginEntry, *, reach: bool) -> None:
    """Raise Problem 400 without the program of a plugin, 502 if its target is not reached."""
    way: Delivering = delivering(domain)
    await way.check_program(entry)
    if not reach:
        return
    try:
        await way.check(entry)
    except StorageError as error:
        if error.detail.startswith(ConfigError.prefix):  # No target is asked about a log's level.
            raise ConfigError(error.detail.removeprefix(ConfigError.prefix)) from None
        raise Problem(
            502,
            f"failed to establish connection for '{entry.key}'",
            error.code,
            errors=({"message": error.detail},),
        ) from None


def _options_of(entry: PluginEntry, body: Mapping[str, Any]) -> dict[str, JSON]:
    """Return the options that a PATCH changes, those of the config among them."""
    config = body.get("config") or {}
    if config.get("type", entry.kind) != entry.kind:
        raise ConfigError(f"plugin '{entry.key}' is of kind {entry.kind}; that cannot be changed")
    stored = plugin_document(entry)["config"]
    merged = dict(config)
    for member in ("headers", "env"):
        if isinstance(config.get(member), dict):
            values = {**stored.get(member, {}), **config[member]}
            merged[member] = {name: one for name, one in values.items() if one is not None}
    known = without_unknown({**body, "config": {**merged, "type": entry.kind}})
    changed = unmasked(_object(known.pop("config")), entry)
    del changed["type"]
    return {**known, **changed}


def rows(installation: Installation) -> list[Row]:
    """Return the routes of this file."""
    do = PluginRoutes(Workplace(installation))
    one = "/admin/plugins/{name}"

    def row(
        method: str, path: str, operation: str, summary: str, work: Any, event: str | None = None,
        **more: Any,
    ) -> Row:  # fmt: skip
        changes = event is not None
        return Row(
            method=method,
            path=path,
            operation=operation,
            summary=summary,
            action="plugin.manage" if changes else "plugin.read",
            handle=answering(work),
            tag="plugins",
            event=event,
            area="plugins" if changes else None,
            conditional=changes,
            **{
                "answers": {200: "PluginDefinition", 404: "Error", 409: "Error"}
                if changes
                else {200: "PluginDefinition", 404: "Error"},
                "query": (DOMAIN,),
                **more,
            },
        )

    tried = {200: "PluginDefinition", 404: "Error", 409: "Error", 502: "Error"}
    events = PLUGIN_EVENTS
    return [
        row("GET", "/admin/plugins", "listPlugins", "All plugins, in stored order", do.list,
            answers={200: "[PluginDefinition]", 404: "Error"}, lists=True,
            query=(ENABLED, TYPE, DOMAIN)),
        row("GET", one, "getPlugin", "One plugin", do.get),
        row("PUT", one, "putPlugin", "Configure a plugin", do.put, events["configure"],
            body="PluginUpsert", answers={**tried, 201: "PluginDefinition"}),
        row("PATCH", one, "updatePlugin", "Change some options of a plugin", do.patch,
            events["options"], body="PluginPatch", answers=tried),
        row("DELETE", one, "deletePlugin", "Remove a plugin and what waits for it", do.delete,
            events["remove"], answers={204: None, 404: "Error", 409: "Error"},
            query=(DISABLE, DOMAIN)),
        row("POST", one + "/enable", "enablePlugin", "Enable a plugin whose target is there",
            do.enable, events["enable"], answers=tried),
        row("POST", one + "/disable", "disablePlugin", "Disable a plugin", do.disable,
            events["disable"]),
        row("POST", one + "/pause", "pausePlugin", "Stop deliveries without skipping anything",
            do.pause, events["pause"]),
        row("POST", one + "/resume", "resumePlugin", "Let deliveries go on", do.resume,
            events["resume"]),
        row("POST", one + "/rename", "renamePlugin", "Give a plugin another name", do.rename,
            events["rename"], body="PluginRename"),
        row("POST", one + "/switch", "switchPlugin",
            "Let another plugin take the name and place of this one", do.switch,
            events["switch"], body="PluginSwitch"),
    ]  # fmt: skip
