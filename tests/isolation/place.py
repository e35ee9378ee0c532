"""A running server with two domains, and the names of things that are in one of them alone.

Whoever asks in the domain ``default`` with a token of that tenant gets the same answer about what
is only in ``other`` as about what is nowhere. The questions are those of tests/permissions, with
other names in them (:func:`renamed`), so that no operation can be forgotten.
"""

from __future__ import annotations

import atexit
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import orjson

from eventdbx.errors import EventDBXError
from eventdbx.services.workspace import open_workspace
from eventdbx.surfaces.control.blocking import BlockingClient
from eventdbx.wire import requests as rq
from tests.daemon import Workspace, free_port
from tests.permissions.admin_routes import Route
from tests.permissions.operations import Operation
from tests.permissions.place import Place
from tests.permissions.rules import Holder

BOUND = Holder("bound", "all rights, for the tenant default", tenants=("default",))
OUTSIDER = Holder("outsider", "all rights, for the tenant other", tenants=("other",))

QUESTIONS_MAX = 250
"""Operations are asked about an aggregate each: some make what they are asked about."""

SECRETS = ("vault", "hidden-1", "told-over-there", "mole", "thereof", "far-over-there")
"""What the other domain has in it, too, and nobody asks about. No answer here has any of it."""


class Names(NamedTuple):
    """Names of things, all of the same length in both sets."""

    type: str
    id: str
    plugin: str
    domain: str
    text: str
    event: int
    snapshot: int
    digest: str
    version: str
    staged: int
    job: int

    def of(self, question: int) -> Names:
        """Return the names for one of many questions."""
        assert question < QUESTIONS_MAX
        return self._replace(id=f"{self.id[:-1]}{question + 100}")


class Two:
    """The server; ``place`` is the domain ``default`` as other tests know it."""

    def __init__(self) -> None:
        folder = TemporaryDirectory()
        atexit.register(folder.cleanup)
        self.workspace = Workspace(Path(folder.name) / "database")
        opened = open_workspace(
            str(self.workspace.folder / ".dbx" / "config.toml"),
            environ={"HOME": str(self.workspace.folder)},
        )
        self.http_port, self.metrics_token = free_port(), "m" * 32
        opened.workspace.save(
            {
                "auth.failures_per_minute": 1_000_000,
                "plugin_max_attempts": 1,
                "admin.enabled": True,
                "admin.port": free_port(),
                "admin.requests_per_second": 1_000_000,
                "admin.requests_burst": 1_000_000,
                "port": self.http_port,
            }
        )
        jwt = ".".join(("far-over-there",) * 3)
        self.workspace.run("checkout", "other", "--remote", "far-over-there", "--token", jwt)
        self.workspace.run("checkout", "default")
        self.workspace.start()
        atexit.register(self.workspace.stop)
        self.place = Place(self.workspace)
        self.token = self.place.issue(BOUND)[0]
        self.outsider, self.outsider_id = self.place.issue(OUTSIDER)
        self.there = self._fill()
        self.nowhere = Names(
            "ledgex", "therx-1", "theirx", "othex", "subject-therx", self.there.event + (1 << 30),
            self.there.snapshot + (1 << 30), self.there.digest[::-1], self.there.version[::-1],
            self.there.staged + 7, self.there.job + (1 << 30),
        )  # fmt: skip

    def open(self, token: str, tenant: str = "default") -> BlockingClient:
        """Open a session in a domain."""
        return BlockingClient("127.0.0.1", self.workspace.port, token, tenant=tenant)

    def begin_anew(self, operation: Operation | Route) -> None:
        """Make what an operation needs here, and take away what one like it has left."""
        self.take_away()
        for where, members in operation.before:
            getattr(self.place.root, where)(members)

    def take_away(self) -> None:
        """Take away what a question has left."""
        root = self.place.root
        for plugin in (self.there.plugin, self.nowhere.plugin, "renamed"):
            with suppress(EventDBXError):
                root.plugins({"do": "remove", "name": plugin, "disable": True})
        root.schema({"do": "replace", "schemas": {}})

    def _fill(self) -> Names:
        """Write something of every kind into the other domain."""
        with self.open(self.outsider, "other") as other:
            fields = {"text": "told-over-there"}
            note = {"type": "log", "level": "info"}
            other.schema(
                {"do": "change", "changes": [
                    {"do": "create", "aggregate": "ledger", "events": ["ledger_made"]}
                ]}
            )  # fmt: skip
            version = other.schema(
                {"do": "publish", "force": True, "activate": True, "labels": ["thereof"]}
            )["version"]
            other.create("ledger", "there-1", "ledger_made", fields)
            event: Any = other.apply("ledger", "there-1", "ledger_made", fields)
            other.create("vault", "hidden-1", "vault_made", fields)
            other.call(other._calls.snapshot("vault", "hidden-1", "told-over-there"))
            other.plugins({"do": "configure", "entry": {"name": "mole", "config": note}})
            for at in range(QUESTIONS_MAX):
                for kind in ("ledger", "order"):
                    other.create(kind, f"there-{at + 100}", f"{kind}_made", fields)
            snapshot = other.snapshot("ledger", "there-1", "told-over-there")
            other.plugins({"do": "configure", "entry": {"name": "theirs", "config": note}})
            closed = {"type": "http", "endpoint": f"http://127.0.0.1:{free_port()}/"}
            other.plugins({"do": "configure", "entry": {"name": "theirs2", "config": closed}})
            write = {
                "kind": "apply",
                "aggregate_type": "ledger",
                "aggregate_id": "there-1",
                "event_type": "ledger_made",
                "content_json": orjson.dumps(fields).decode(),
            }
            staged = other.call(other._calls.staging({"do": "stage", "writes": [write]}))
            document = other.schema({"do": "list"})
            other.create("order", "there-2", "order_made", fields)
            dead: list[Any] = []
            while not dead:
                other.plugins({"do": "wait", "name": "theirs2", "position": "end"})
                dead = other.plugins({"do": "queue"})["jobs"]["dead"]
        ids = _numbers(staged)
        return Names(
            "ledger", "there-1", "theirs", "other", "subject-there",
            int(event["metadata"]["event_id"]),
            int(snapshot["snapshot_id"]), _digest(document), version, ids[0], int(dead[0]["id"]),
        )  # fmt: skip


def _numbers(document: Any) -> list[int]:
    return [int(one) for one in re.findall(rb"\d+", orjson.dumps(document))]


def _digest(document: Any) -> str:
    found = re.search(rb"[0-9a-f]{32}", orjson.dumps(document))
    return "0123456789abcdef" * 2 if found is None else found[0].decode()


@cache
def two_domains() -> Two:
    """Return one server for all tests of a process."""
    return Two()


def renamed(request: rq.Request, names: Names) -> rq.Request:
    """Return a request that asks about things of these names in place of those it asks about."""
    changes: dict[str, Any] = {}
    values: Any = request
    for field, value in zip(request._fields, values, strict=True):
        if value is None or field == "token":
            continue
        if field == "json":
            changes[field] = orjson.dumps(document_renamed(orjson.loads(value), names))
        elif field == "writes":
            changes[field] = tuple(
                one._replace(aggregate_type=names.type, aggregate_id=names.id) for one in value
            )
        else:
            changes[field] = _of(field, value, names)
    return request._replace(**changes)


_FIELDS: Mapping[str, str] = {
    "aggregate_type": "type", "aggregate": "type", "aggregate_id": "id", "name": "plugin",
    "names": "plugin", "plugin": "plugin", "with": "plugin", "snapshot_id": "snapshot",
    "after_event_id": "event", "event_id": "event", "tenant": "domain", "domain": "domain",
    "digest": "digest", "version": "version", "job": "job", "subject": "text",
}  # fmt: skip


def document_renamed(document: Any, names: Names) -> Any:
    """Return a JSON document with these names in it."""
    if isinstance(document, list):
        return [document_renamed(one, names) for one in document]
    if not isinstance(document, dict):
        return document
    found: dict[str, Any] = {}
    for member, value in document.items():
        if member == "aggregates":
            found[member] = [[names.type, names.id]]
        elif isinstance(value, dict) or (isinstance(value, list) and member not in _FIELDS):
            found[member] = document_renamed(value, names)
        elif member == "id" and document.get("do") in ("show", "drop"):
            found[member] = str(names.staged)
        elif member == "id":
            found[member] = names.job
        else:
            found[member] = _of(member, value, names)
    return found


def _of(field: str, value: Any, names: Names) -> Any:
    kind = _FIELDS.get(field)
    if kind is None:
        return value
    name = getattr(names, kind)
    if isinstance(value, list):
        return [name]
    if isinstance(value, int) and not isinstance(name, int):
        return value  # A version of an aggregate, say.
    return str(name) if isinstance(value, str) else name


_VOLATILE = re.compile(
    rb"\d{4}-\d\d-\d\dT[0-9:.]+Z?|[0-9a-f]{16,}|[0-9a-f-]{36}|\d+|[A-Za-z0-9+/]{24,}=*"
)


def scrubbed(answer: bytes, two: Two) -> bytes:
    """Return an answer without the names that are asked for, numbers, times and hashes."""
    for names in (two.there, two.nowhere):
        for field, value in zip(names._fields, names, strict=True):
            if isinstance(value, str):
                answer = answer.replace(value.removesuffix("1").encode(), f"<{field}>".encode())
    return _VOLATILE.sub(b"#", answer)


def secrets_in(answer: bytes) -> list[str]:
    """Return what an answer tells of the other domain."""
    return [one for one in SECRETS if re.search(rf"\b{one}\b".encode(), answer)]
