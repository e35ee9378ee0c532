"""The configuration over HTTP: shown without its secrets, changed key by key, read again.

What would hand over the installation to whoever may change the configuration, keys above all, is
changed on its files alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock

from eventdbx.application.administering import Reloaded
from eventdbx.config import HIDDEN
from eventdbx.domain.canonical import JSON
from eventdbx.errors import ConfigError
from eventdbx.keys import ON_FILES_ALONE, Declared, declared, meant
from eventdbx.settings import Value
from eventdbx.surfaces.admin.conditions import check_match, digest_of, etag_of
from eventdbx.surfaces.admin.table import Answer, Call, Installation, Row

_NAMES: Any = {"type": "array", "items": {"type": "string"}, "description": "Keys, dotted."}
_PENDING = "restart_required"


def _key_schema(key: Declared) -> dict[str, Any]:
    kind = str(key.item.type)
    schema: dict[str, Any] = {"type": ["string", "null"]}
    if key.many is not None:
        schema = {"type": ["object" if key.named else "array", "null"]}
    elif key.item.metadata["secret"]:
        schema = {}  # Whatever it is, it may come back as it was shown.
    elif kind.startswith("bool"):
        schema = {"type": ["boolean", "null"]}
    elif kind.startswith("int"):
        schema = {"type": ["integer", "null"]}
    elif kind.startswith("tuple"):
        schema = {"type": ["array", "null"], "items": {"type": "string"}}
    return {**schema, "description": key.item.metadata["about"]}


def _tables() -> dict[str, Any]:
    """Return the members of a configuration as JSON Schemas, nested as its tables are."""
    members: dict[str, Any] = {}
    for key in declared():
        place = members
        *tables, name = key.path.split(".")
        for table in tables:
            inner = place.setdefault(table, {"type": "object", "properties": {}})
            place = inner["properties"]
        place[name] = _key_schema(key)
    return members


SCHEMAS: Mapping[str, JSON] = {
    "Configuration": {
        "type": "object",
        "required": ["port", _PENDING],
        "properties": {**_tables(), _PENDING: _NAMES},
    },
    "ConfigurationChange": {
        "type": "object",
        "description": "Keys as they are shown; null goes back to the default. A hidden secret "
        "that comes back as it was shown stays.",
        "properties": _tables(),
    },
    "Reloaded": {
        "type": "object",
        "required": ["changed", _PENDING],
        "properties": {"changed": _NAMES, _PENDING: _NAMES},
    },
}

_PATHS = {key.path: key for key in declared()}
_TABLES = {path.rpartition(".")[0] for path in _PATHS} | {"plugin_queue"}


def changes_of(
    body: Mapping[str, Any],
    shown: Mapping[str, Any],
    pending: Collection[str],
    prefix: str = "",
) -> Iterator[tuple[str, Value]]:
    """Yield the keys in which a body differs from the document that is ``shown``; those that are
    ``pending`` are saved otherwise than shown.

    Raises ConfigError for what is no key, or not changed in this way.
    """
    for name, value in body.items():
        path = prefix + name
        if value == shown.get(name) and not any(one.startswith(path) for one in pending):
            continue
        if path == _PENDING or value == HIDDEN:
            continue
        if path in _TABLES and isinstance(value, Mapping):
            yield from changes_of(value, shown.get(name, {}), pending, path + ".")
            continue
        key = _PATHS.get(path)
        if key is None:
            raise ConfigError(f"unknown configuration key '{path[:128]}'{meant(path)}")
        if path in ON_FILES_ALONE or key.many is not None:
            raise ConfigError(f"{path} cannot be changed in this way")
        yield path, tuple(value) if isinstance(value, list) else value


def rows(installation: Installation) -> tuple[Row, ...]:
    """Return the routes of this file."""
    administration = installation.administration

    def document() -> dict[str, Any]:
        pending = list(administration.waiting())
        return {**administration.configuration(), _PENDING: pending}

    def show(_call: Call) -> Answer:
        shown = document()
        return Answer(document=shown, etag=etag_of(shown))

    turns = DeferredLock()

    def change(call: Call) -> Deferred[Answer]:
        # In turn: what a condition was held against must be what is changed.
        done: Deferred[Answer] = turns.run(change_now, call)
        return done

    def change_now(call: Call) -> Deferred[Answer]:
        before = document()
        required = installation.config().admin.require_if_match
        check_match(call.headers, etag_of(before), required=required)
        found = changes_of(call.body, before, before[_PENDING])
        changes = {path: _whole(value) for path, value in found}

        def changed(reloaded: Reloaded) -> Answer:
            after = document()
            return Answer(
                document=after,
                etag=etag_of(after),
                resource=", ".join(sorted({*changes, *reloaded.changed})),
                before=digest_of(before),
                after=digest_of(after),
                changed=bool(changes or reloaded.changed),
            )

        return administration.change(changes).addCallback(changed)

    def reload(_call: Call) -> Deferred[Answer]:
        return administration.reload().addCallback(_reloaded_answer)

    return (
        Row(
            method="GET",
            path="/admin/config",
            operation="getConfig",
            summary="Every key that is in force, secrets hidden",
            action="config.read",
            handle=show,
            answers={200: "Configuration"},
            tag="config",
        ),
        Row(
            method="PATCH",
            path="/admin/config",
            operation="changeConfig",
            summary="Change keys: all are saved and those that are live put into force, or none",
            action="config.write",
            handle=change,
            answers={200: "Configuration"},
            tag="config",
            body="ConfigurationChange",
            event="config_changed",
            area="config",
            conditional=True,
        ),
        Row(
            method="POST",
            path="/admin/config/reload",
            operation="reloadConfig",
            summary="Read the configuration file again",
            action="config.write",
            handle=reload,
            answers={200: "Reloaded"},
            tag="config",
            event="config_reloaded",
            area="config",
        ),
    )


def _reloaded_answer(reloaded: Reloaded) -> Answer:
    return Answer(
        document=reloaded.document(),
        resource=", ".join(reloaded.changed),
        changed=bool(reloaded.changed),
    )


def _whole(value: Any) -> Any:
    """Return an integer that JSON may write as 60.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
