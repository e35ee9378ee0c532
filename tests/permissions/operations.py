"""Every operation of the control protocol with what it needs: requests, and what to ``do``.

The tables are the whole of what the tests and docs/permissions.md know. An operation that is not
here fails a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from eventdbx.domain.commands import Write
from eventdbx.wire import requests as rq
from tests.permissions.place import Place
from tests.permissions.rules import HERE, Needs

SEEN = f"{HERE}-1"
PATCH = '[{"op":"add","path":"/paid","value":true}]'

Ask = Callable[[str, str, Place], rq.Request]
"""Makes the request of a token about an aggregate's id."""


class Operation(NamedTuple):
    """A request: its needs, how it is made, and the code it ends with once it is let in.

    ``ends`` is empty for success. ``writes``: it is carried out on an aggregate of its own.
    ``before`` is done by the wildcard before the operation is let in.
    """

    needs: Needs
    ask: Ask
    ends: str = ""
    writes: bool = False
    before: tuple[tuple[str, dict[str, Any]], ...] = ()
    hello: bool = False


def _needs(*actions: str, on: Any = "", actor: bool = False) -> Needs:
    return Needs(actions, on, actor)


READ_ONE = _needs("aggregate.read", on="aggregate")
READ_SOME = _needs("aggregate.read", on="items")
APPEND = _needs("aggregate.append", on="aggregate", actor=True)
TENANTS = _needs("tenant.manage")


def _write(kind: Any, event: str, content: str) -> Ask:
    return lambda token, one, _place: kind(token, "order", one, event, content)


def _on_one(kind: Any, *more: Any) -> Ask:
    return lambda token, one, _place: kind(token, "order", one, *more)


def _plain(kind: Any, *more: Any) -> Ask:
    return lambda token, _one, _place: kind(token, *more)


REQUESTS: dict[type, Operation] = {
    rq.ListAggregates: Operation(READ_SOME, _plain(rq.ListAggregates)),
    rq.GetAggregate: Operation(READ_ONE, _on_one(rq.GetAggregate)),
    rq.ListEvents: Operation(READ_ONE, _on_one(rq.ListEvents)),
    rq.AppendEvent: Operation(APPEND, _write(rq.AppendEvent, "order_paid", "{}"), writes=True),
    rq.CreateAggregate: Operation(
        _needs("aggregate.create", "aggregate.append", on="aggregate", actor=True),
        lambda token, one, _: rq.CreateAggregate(token, "order", f"{one}-new", "order_made", "{}"),
        writes=True,
    ),
    rq.PatchEvent: Operation(APPEND, _write(rq.PatchEvent, "order_paid", PATCH), writes=True),
    rq.VerifyAggregate: Operation(
        READ_ONE, lambda _token, one, _place: rq.VerifyAggregate("order", one), hello=True
    ),
    rq.SelectAggregate: Operation(READ_ONE, _on_one(rq.SelectAggregate, ("text",))),
    rq.SetAggregateArchive: Operation(
        _needs("aggregate.archive", on="aggregate", actor=True),
        _on_one(rq.SetAggregateArchive, True),
        writes=True,
    ),
    rq.CreateSnapshot: Operation(
        _needs("aggregate.append", on="aggregate"), _on_one(rq.CreateSnapshot), writes=True
    ),
    rq.ListSnapshots: Operation(READ_SOME, _plain(rq.ListSnapshots)),
    rq.GetSnapshot: Operation(
        READ_SOME, lambda token, _one, place: rq.GetSnapshot(token, place.snapshot)
    ),
    rq.ListReferrers: Operation(READ_ONE, _on_one(rq.ListReferrers)),
    rq.ReadOutbox: Operation(READ_SOME, _plain(rq.ReadOutbox)),
    rq.ListSchemas: Operation(_needs("schema.read"), _plain(rq.ListSchemas)),
    rq.ReplaceSchemas: Operation(_needs("schema.write"), _plain(rq.ReplaceSchemas, "{}")),
    rq.TenantAssign: Operation(TENANTS, _plain(rq.TenantAssign, "default", "shard-0003")),
    rq.TenantUnassign: Operation(TENANTS, _plain(rq.TenantUnassign, "default")),
    rq.TenantQuotaSet: Operation(TENANTS, _plain(rq.TenantQuotaSet, "default", 1_000_000)),
    rq.TenantQuotaClear: Operation(TENANTS, _plain(rq.TenantQuotaClear, "default")),
    rq.TenantQuotaRecalc: Operation(TENANTS, _plain(rq.TenantQuotaRecalc, "default")),
    rq.TenantReload: Operation(TENANTS, _plain(rq.TenantReload, "default")),
    rq.TenantSchemaPublish: Operation(TENANTS, _plain(rq.TenantSchemaPublish, "default")),
    rq.CommitBatch: Operation(
        APPEND,
        lambda token, one, _: rq.CommitBatch(
            token, (Write("append", "order", one, "order_paid", "{}"),)
        ),
        writes=True,
    ),
    rq.ReadAggregate: Operation(READ_ONE, _on_one(rq.ReadAggregate)),
    rq.ScanAggregates: Operation(READ_SOME, _plain(rq.ScanAggregates)),
    rq.ScanEvents: Operation(READ_SOME, _plain(rq.ScanEvents)),
    rq.ScanReferrers: Operation(READ_ONE, _on_one(rq.ScanReferrers)),
    rq.Verify: Operation(_needs("aggregate.read", on="all"), _plain(rq.Verify)),
    rq.Status: Operation(Needs(), _plain(rq.Status)),
    rq.Follow: Operation(READ_SOME, _plain(rq.Follow)),
}
"""Requests that are no documents. ``Unreadable`` is none that a client can send."""

VARIANTS: dict[str, Operation] = {
    "listSnapshots of one": Operation(READ_ONE, _on_one(rq.ListSnapshots)),
    "listAggregates, resolved": Operation(
        READ_SOME, lambda token, _one, _place: rq.ListAggregates(token, resolve=True)
    ),
    "getAggregate, resolved": Operation(
        READ_ONE, lambda token, one, _place: rq.GetAggregate(token, "order", one, resolve=True)
    ),
    "restore": Operation(
        _needs("aggregate.archive", on="aggregate", actor=True),
        _on_one(rq.SetAggregateArchive, False),
        writes=True,
    ),
    "scanEvents of one": Operation(READ_SOME, _on_one(rq.ScanEvents)),
    "verify of one": Operation(READ_ONE, _on_one(rq.Verify)),
    "follow of one": Operation(
        READ_ONE,
        lambda token, one, _place: rq.Follow(token, aggregate_type="order", aggregate_id=one),
    ),
    "commitBatch that creates": Operation(
        _needs("aggregate.create", "aggregate.append", on="aggregate", actor=True),
        lambda token, one, _: rq.CommitBatch(
            token, (Write("create", "order", f"{one}-new", "order_made", "{}"),)
        ),
        writes=True,
    ),
}
"""The same requests, asked otherwise."""


def _do(kind: Any, needs: Needs, ends: str = "", *before: Any, **members: Any) -> Operation:
    text = orjson.dumps(members)
    return Operation(needs, lambda token, _one, _place: kind(token, text), ends, before=before)


def _schema(right: str, do: str, ends: str = "", *before: Any, **members: Any) -> Operation:
    return _do(rq.SchemaOperation, _needs(right), ends, *before, do=do, **members)


PUBLISHED = ("schema", {"do": "publish", "force": True, "activate": True})
EMPTIED = ("schema", {"do": "replace", "schemas": {}})
NEW = {"do": "create", "aggregate": "order", "events": ["order_created"]}
READS, CHANGES = "schema.read", "schema.write"

SCHEMAS: dict[str, Operation] = {
    "list": _schema(READS, "list"),
    "history": _schema(READS, "history"),
    "version": _schema(READS, "version", "", PUBLISHED),
    "changes": _schema(READS, "changes"),
    "document": _schema(READS, "document", digest="00" * 16),
    "validate": _schema(READS, "validate", aggregate="order", event="order_paid", payload={}),
    "rehearsal": _schema(READS, "rehearsal", "config", job="none"),
    "rehearsals": _schema(READS, "rehearsals"),
    "change": _schema(CHANGES, "change", "", EMPTIED, changes=[NEW]),
    "replace": _schema(CHANGES, "replace", schemas={}),
    "publish": _schema(CHANGES, "publish", force=True),
    "activate": _schema(CHANGES, "activate", "", PUBLISHED),
    "rollback": _schema(CHANGES, "rollback", "", PUBLISHED, PUBLISHED),
    "reload": _schema(CHANGES, "reload"),
    "rehearse": _schema(CHANGES, "rehearse"),
    "cancel_rehearsal": _schema(CHANGES, "cancel_rehearsal", "config", job="none"),
}

NOTES: dict[str, Any] = {"name": "notes", "config": {"type": "log", "level": "info"}}
CONFIGURED = ("plugins", {"do": "configure", "entry": NOTES})
SPARE = ("plugins", {"do": "configure", "entry": {**NOTES, "name": "spare"}})
GONE = (
    ("plugins", {"do": "configure", "entry": {**NOTES, "name": "renamed"}}),
    ("plugins", {"do": "remove", "name": "renamed", "disable": True}),
)


def _plugin(right: str, do: str, ends: str = "", *before: Any, **members: Any) -> Operation:
    return _do(rq.PluginOperation, _needs(right), ends, *before, do=do, **members)


LOOKS, MANAGES = "plugin.read", "plugin.manage"
JOBS = Needs(("queue.read",), "jobs")

PLUGINS: dict[str, Operation] = {
    "list": _plugin(LOOKS, "list"),
    "lag": _plugin(LOOKS, "lag"),
    "status": _plugin(LOOKS, "status"),
    "replay_progress": _plugin(LOOKS, "replay_progress", "config", job="none"),
    "configure": _plugin(MANAGES, "configure", entry=NOTES),
    "enable": _plugin(MANAGES, "enable", "", CONFIGURED, name="notes"),
    "disable": _plugin(MANAGES, "disable", "", CONFIGURED, name="notes"),
    "pause": _plugin(MANAGES, "pause", "", CONFIGURED, name="notes"),
    "resume": _plugin(MANAGES, "resume", "", CONFIGURED, name="notes"),
    "options": _plugin(MANAGES, "options", "", CONFIGURED, name="notes", set={}),
    "rename": _plugin(MANAGES, "rename", "", SPARE, *GONE, name="spare", to="renamed"),
    "switch": _plugin(MANAGES, "switch", "", CONFIGURED, SPARE, name="notes", **{"with": "spare"}),
    "remove": _plugin(MANAGES, "remove", "", SPARE, name="spare", disable=True),
    "test": _plugin(MANAGES, "test", "", CONFIGURED, names=["notes"]),
    "seek": _plugin(MANAGES, "seek", "", CONFIGURED, name="notes", to="end"),
    "start": _plugin(MANAGES, "start", "config", name="none"),
    "stop": _plugin(MANAGES, "stop", "config", name="none"),
    "replay": _plugin(MANAGES, "replay", "", CONFIGURED, name="notes", aggregate_type="order"),
    "cancel_replay": _plugin(MANAGES, "cancel_replay", job="none"),
    "wait": _do(
        rq.PluginOperation,
        Needs(any_of=("plugin.read", "aggregate.append", "aggregate.read")),
        "",
        CONFIGURED,
        do="wait",
        name="notes",
        position="start",
    ),
    "queue": _do(rq.PluginOperation, JOBS, do="queue"),
    "job": _do(rq.PluginOperation, JOBS, do="job", id=1),
    "retry": _plugin("queue.manage", "retry"),
    "drop": _plugin("queue.manage", "drop"),
    "clear_done": _plugin("queue.manage", "clear_done"),
}


def _admin(right: str, do: str, ends: str = "", **members: Any) -> Operation:
    return _do(rq.AdminOperation, _needs(right), ends, do=do, **members)


ADMINISTRATION: dict[str, Operation] = {
    "reload": _admin("config.write", "reload"),
    "configuration": _admin("config.read", "configuration"),
    "status": _admin("metrics.read", "status"),
    "domains": _admin("config.read", "domains"),
    "data_keys": _admin("config.read", "data_keys"),
    "rotate_data_key": _admin("config.write", "rotate_data_key"),
    "tenants": _admin("tenant.manage", "tenants"),
    "backup_begin": _admin("config.write", "backup_begin"),
    "backup_end": _admin("config.write", "backup_end", "config", id="0"),
    "audit": _admin("audit.read", "audit"),
    "audit_verify": _admin("audit.read", "audit_verify"),
}


def _integrity(needs: Needs, do: str, ends: str = "", **members: Any) -> Operation:
    return _do(rq.IntegrityOperation, needs, ends, do=do, **members)


def _proof(do: str, **members: Any) -> Operation:
    """Return an operation that proves something of the aggregate asked for."""

    def ask(token: str, one: str, _place: Place) -> rq.Request:
        named = {"do": do, "aggregate_type": "order", "aggregate_id": one, **members}
        return rq.IntegrityOperation(token, orjson.dumps(named))

    return Operation(READ_ONE, ask)


def _erase() -> Operation:
    def ask(token: str, one: str, _place: Place) -> rq.Request:
        asked = {"do": "erase", "aggregate_type": "order", "aggregate_id": one, "reason": "r"}
        return rq.IntegrityOperation(token, orjson.dumps(asked))

    return Operation(_needs("aggregate.erase", on="aggregate", actor=True), ask, writes=True)


VARIANTS["erase of a subject"] = _integrity(
    _needs("aggregate.erase", on="all", actor=True), "erase", subject="nobody", reason="r"
)


def _evidence() -> Operation:
    def ask(token: str, one: str, _place: Place) -> rq.Request:
        asked = {"do": "evidence", "aggregates": [["order", one]]}
        return rq.IntegrityOperation(token, orjson.dumps(asked))

    return Operation(READ_ONE, ask)


INTEGRITY: dict[str, Operation] = {
    "event_proof": _proof("event_proof", version=1),
    "aggregate_event_proof": _proof("aggregate_event_proof", version=1),
    "aggregate_proof": _proof("aggregate_proof"),
    "aggregate_consistency": _proof("aggregate_consistency", first=1),
    "checkpoint": _integrity(_needs("aggregate.read"), "checkpoint", sign=True),
    "head_map": _integrity(_needs("config.read", "config.write"), "head_map", again=True),
    "evidence": _evidence(),
    "log_consistency": _integrity(_needs("aggregate.read"), "log_consistency", "config", first=0),
    "verify": _integrity(_needs("aggregate.read", on="all"), "verify"),
    "erase": _erase(),
    "scrub": _integrity(_needs("config.read", "config.write"), "scrub", action="stop"),
}


def _staging(needs: Needs, do: str, ends: str = "", **members: Any) -> Operation:
    return _do(rq.StagingOperation, needs, ends, do=do, **members)


def _stage(kind: str, needs: Needs, event: str, new: str = "") -> Operation:
    def ask(token: str, one: str, _place: Place) -> rq.Request:
        write = {"kind": kind, "aggregate_type": "order", "aggregate_id": one + new,
                 "event_type": event, "content_json": "{}"}  # fmt: skip
        return rq.StagingOperation(token, orjson.dumps({"do": "stage", "writes": [write]}))

    return Operation(needs, ask, writes=True)


STAGES = _needs("aggregate.append", actor=True)
OF_OTHERS = _needs("aggregate.append", "*.*", on="all", actor=True)
ANOTHER = {"group": "others", "user": "somebody"}
STAGING: dict[str, Operation] = {
    "stage": _stage("apply", APPEND, "order_paid"),
    "list": _staging(STAGES, "list"),
    "show": _staging(STAGES, "show", "config", id="1"),
    "drop": _staging(STAGES, "drop", all=True),
    "commit": _staging(STAGES, "commit"),
}
VARIANTS["stage of a creation"] = _stage(
    "create",
    _needs("aggregate.create", "aggregate.append", on="aggregate", actor=True),
    "order_made",
    "-staged",
)
VARIANTS["staged of all users"] = _staging(OF_OTHERS, "list", all_users=True)
VARIANTS["staged of another user"] = _staging(OF_OTHERS, "list", user=ANOTHER)
VARIANTS["drop of another user's"] = _staging(OF_OTHERS, "drop", all=True, user=ANOTHER)

UNKNOWN: dict[str, Operation] = {
    "schemas: unknown": _schema(CHANGES, "dance", "invalid_schema"),
    "plugins: unknown": _plugin(MANAGES, "dance", "config"),
    "administer: unknown": _admin("*.*", "dance", "config"),
    "integrity: unknown": _integrity(_needs("*.*"), "dance", "config"),
    "staging: unknown": _staging(_needs("*.*"), "dance", "config"),
}
"""Whoever asks for what there is not needs the greatest right of its kind."""

DOCUMENTS: dict[type, tuple[str, dict[str, Operation]]] = {
    rq.SchemaOperation: ("schemas", SCHEMAS),
    rq.PluginOperation: ("plugins", PLUGINS),
    rq.AdminOperation: ("administer", ADMINISTRATION),
    rq.IntegrityOperation: ("integrity", INTEGRITY),
    rq.StagingOperation: ("staging", STAGING),
}
"""Requests that are documents, with what there is to ``do``."""


def request_name(kind: type) -> str:
    """Return what the protocol calls a request."""
    name = kind.__name__
    return name[0].lower() + name[1:]


def everything() -> dict[str, Operation]:
    """Return all operations by the name under which the document lists them."""
    found = {request_name(kind): one for kind, one in REQUESTS.items()}
    found |= VARIANTS
    for _kind, (title, operations) in DOCUMENTS.items():
        found |= {f"{title}: {do}": one for do, one in operations.items()}
    return found | UNKNOWN
