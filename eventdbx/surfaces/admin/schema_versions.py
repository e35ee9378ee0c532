"""``/admin/schema-versions``: published versions of the whole set; and those of one schema.

Versions are of all schemas together, so they have a path of their own: below ``/admin/schemas``
every word is the name of a schema. The routes below a schema's name look at its part of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from eventdbx.application.schemas import Activated, Catalogue
from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.history import manifest
from eventdbx.errors import SchemaNotFound
from eventdbx.surfaces.admin.schema_shapes import SET
from eventdbx.surfaces.admin.schemas import SchemaRoutes, prepare, set_text
from eventdbx.surfaces.admin.table import DOMAIN, Answer, Call, Installation, Row
from eventdbx.surfaces.admin.working import Workplace, answering, origin_of, place

LOOKED_AT_MAX = 100
"""Versions that are read for what they say about one schema, newest first: each is a whole set."""

_TEXT: dict[str, JSON] = {"type": ["string", "null"]}
_VERSION: dict[str, JSON] = {
    "id": {"type": "string"},
    "file": {"type": "string"},
    "created_at": {"type": "string"},
    "author": _TEXT,
    "reason": _TEXT,
    "parent": _TEXT,
    "checksum": {"type": "string"},
    "labels": {"type": "array", "items": {"type": "string"}},
    "active": {"type": "boolean"},
}

SCHEMAS: Mapping[str, JSON] = {
    "SchemaVersion": {
        "type": "object",
        "required": ["id", "created_at", "checksum", "active"],
        "properties": _VERSION,
    },
    "SchemaVersionText": {
        "type": "object",
        "required": ["id", "created_at", "checksum", "active", "schemas"],
        "properties": {
            **_VERSION,
            "schemas": {
                "type": "object",
                "additionalProperties": {"$ref": "#/components/schemas/AggregateSchema"},
            },
        },
    },
    "SchemaOfVersion": {
        "type": "object",
        "required": ["version", "created_at", "active", "schema"],
        "properties": {
            "version": {"type": "string"},
            "created_at": {"type": "string"},
            "active": {"type": "boolean"},
            "schema": {"$ref": "#/components/schemas/AggregateSchema"},
        },
    },
    "PublishRequest": {
        "type": "object",
        "properties": {
            "schemas": {
                **SET,
                "type": ["array", "object", "null"],
                "description": "What to publish; the set in force if left out.",
            },
            "reason": _TEXT,
            "labels": {"type": ["array", "null"], "items": {"type": "string"}},
            "activate": {"type": ["boolean", "null"]},
            "force": {
                "type": ["boolean", "null"],
                "description": "Keep a version also if it says what the latest one says.",
            },
        },
    },
    "PublishedVersion": {
        "type": "object",
        "required": ["version", "activated", "skipped", "reactivated", "warnings"],
        "properties": {
            "version": {"type": "string"},
            "activated": {"type": "boolean"},
            "skipped": {"type": "boolean"},
            "reactivated": {"type": "boolean"},
            "warnings": {"type": "array", "items": {"type": "string"}},
        },
    },
    "ActivateRequest": {"type": "object", "properties": {"reason": _TEXT}},
    "RollbackRequest": {
        "type": "object",
        "properties": {
            "version": {**_TEXT, "description": "Null: the one before the active one."},
            "reason": _TEXT,
        },
    },
    "ActivatedVersion": {
        "type": "object",
        "required": ["version", "already_active", "autosaved"],
        "properties": {
            "version": {"type": "string"},
            "already_active": {"type": "boolean"},
            "autosaved": _TEXT,
        },
    },
    "ActivateSchemaRequest": {
        "type": "object",
        "required": ["version"],
        "properties": {"version": {"type": "string"}},
    },
}


class VersionRoutes:
    """The work of the rows."""

    def __init__(self, workplace: Workplace) -> None:
        self._at = workplace
        self._schemas = SchemaRoutes(workplace)

    async def list(self, call: Call) -> Answer:
        """Return all versions, oldest first."""
        return Answer(document=[*_versions(self._at.domain(call).schemas).values()])

    async def get(self, call: Call) -> Answer:
        """Return one version with its schemas."""
        schemas = self._at.domain(call).schemas
        version, text = await self._at.run_slowly(lambda: schemas.text_of(call.params["version"]))
        document = {**_versions(schemas)[version.id], "schemas": orjson.loads(text)}
        return Answer(document=document)

    async def publish(self, call: Call) -> Answer:
        """Keep the set in force, or one that is sent, as a version."""
        domain, body = self._at.domain(call), call.body
        given = body.get("schemas")
        source = None if given is None else await prepare(self._at, domain, set_text(given))
        published = await domain.schemas.publish(
            source,
            origin=origin_of(call, body.get("reason")),
            labels=body.get("labels") or (),
            activate=body.get("activate") is True,
            force=body.get("force") is True,
        )
        return Answer(
            status=200 if published.skipped else 201,
            document={**published._asdict(), "warnings": list(published.warnings)},
            headers={"Location": place("schema-versions", published.version)},
            resource=published.version,
            details={"activated": published.activated, "skipped": published.skipped},
        )

    async def activate(self, call: Call) -> Answer:
        """Put a version in force."""
        schemas, before = self._before(call)
        origin = origin_of(call, call.body.get("reason"))
        done = await schemas.activate(call.params["version"], origin=origin)
        return _activated(schemas, before, done)

    async def rollback(self, call: Call) -> Answer:
        """Put an earlier version in force."""
        schemas, before = self._before(call)
        origin = origin_of(call, call.body.get("reason"))
        done = await schemas.rollback(call.body.get("version"), origin=origin)
        return _activated(schemas, before, done)

    def _before(self, call: Call) -> tuple[Catalogue, str]:
        schemas = self._at.domain(call).schemas
        return schemas, schemas.in_force.digest

    async def list_of_one(self, call: Call) -> Answer:
        """Return what the newest versions say about one schema, the newest first."""
        schemas, name = self._at.domain(call).schemas, call.params["aggregate"]
        found = await self._at.run_slowly(lambda: _versions_with(schemas, name))
        if not found and schemas.in_force.schema(name) is None:
            raise SchemaNotFound
        return Answer(document=found)

    async def activate_one(self, call: Call) -> Answer:
        """Put one schema of a version in force; all others stay."""
        schemas, name = self._at.domain(call).schemas, call.params["aggregate"]
        _version, text = await self._at.run_slowly(lambda: schemas.text_of(call.body["version"]))
        schema = orjson.loads(text).get(name)
        if schema is None:
            raise SchemaNotFound
        change: dict[str, JSON] = {"do": "put_schema", "aggregate": name, "schema": schema}
        return await self._schemas.change(call, name, change, created=True)


def _versions(schemas: Catalogue) -> dict[str, Any]:
    """Return the documents of all versions by id, oldest first."""
    history = schemas.history
    listed = manifest(history)["versions"]
    return {one["id"]: {**one, "active": one["id"] == history.active} for one in listed}


def _versions_with(schemas: Catalogue, name: str) -> list[JSON]:
    found: list[JSON] = []
    for version in [*_versions(schemas).values()][: -LOOKED_AT_MAX - 1 : -1]:
        schema = orjson.loads(schemas.text_of(version["id"])[1]).get(name)
        if schema is not None:
            found.append(
                {
                    "version": version["id"],
                    "created_at": version["created_at"],
                    "active": version["active"],
                    "schema": schema,
                }
            )
    return found


def _activated(schemas: Catalogue, before: str, done: Activated) -> Answer:
    return Answer(
        document=done._asdict(),
        resource=done.version,
        before=before,
        after=schemas.in_force.digest,
        details={"autosaved": done.autosaved},
    )


def rows(installation: Installation) -> list[Row]:
    """Return the routes of this file."""
    do = VersionRoutes(Workplace(installation))
    all_of_them, one = "/admin/schema-versions", "/admin/schema-versions/{version}"
    schema = "/admin/schemas/{aggregate}"

    def read(path: str, operation: str, summary: str, work: Any, answer: str, **more: Any) -> Row:
        return Row(
            method="GET",
            path=path,
            operation=operation,
            summary=summary,
            action="schema.read",
            handle=answering(work),
            answers={200: answer, 404: "Error"},
            tag="schemas",
            query=(DOMAIN,),
            **more,
        )

    def change(
        path: str, operation: str, summary: str, work: Any, event: str, body: str, **more: Any
    ) -> Row:
        return Row(
            method="POST",
            path=path,
            operation=operation,
            summary=summary,
            action="schema.write",
            handle=answering(work),
            tag="schemas",
            query=(DOMAIN,),
            body=body,
            event=event,
            area="schemas",
            **{"answers": {200: "ActivatedVersion", 404: "Error"}, "body_required": False, **more},
        )

    return [
        read(all_of_them, "listSchemaVersions", "All versions, oldest first", do.list,
             "[SchemaVersion]", lists=True),
        change(all_of_them, "publishSchemas", "Keep a set as a version", do.publish,
               "schemas_published", "PublishRequest",
               answers={200: "PublishedVersion", 201: "PublishedVersion", 404: "Error"}),
        change(all_of_them + "/rollback", "rollbackSchemas", "Put an earlier version in force",
               do.rollback, "schemas_rolled_back", "RollbackRequest"),
        read(one, "getSchemaVersion", "One version and its schemas", do.get, "SchemaVersionText"),
        change(one + "/activate", "activateSchemas", "Put a version in force", do.activate,
               "schemas_activated", "ActivateRequest"),
        read(schema + "/versions", "listVersionsOfSchema",
             "What the newest versions say about one schema", do.list_of_one,
             "[SchemaOfVersion]", lists=True),
        change(schema + "/activate", "activateSchema", "Put one schema of a version in force",
               do.activate_one, "schemas_changed", "ActivateSchemaRequest", body_required=True,
               conditional=True, answers={200: "AggregateSchema", 201: "AggregateSchema",
                                          404: "Error"}),
    ]  # fmt: skip
