"""``/admin/schemas``: the schemas in force, one by one and as a set.

Every change goes through the catalogue of the domain, in its one step, which also meets the
conditions of the request: nobody comes between what was seen and what is stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from twisted.logger import Logger

from eventdbx.application.domains import Domain
from eventdbx.application.rules import InForce
from eventdbx.application.schema_work import Prepared
from eventdbx.application.schemas import Changed
from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.update_changes import MEMBERS
from eventdbx.domain.schemas.writing import schema_value
from eventdbx.errors import InvalidSchema, SchemaNotFound, SerializationError
from eventdbx.surfaces.admin import schema_shapes
from eventdbx.surfaces.admin.conditions import digest_of, etag_of
from eventdbx.surfaces.admin.problems import invalid_body
from eventdbx.surfaces.admin.table import DOMAIN, Answer, Call, Installation, Row
from eventdbx.surfaces.admin.working import Workplace, answering, origin_of, place
from eventdbx.surfaces.control.schemas import validated

SCHEMAS = schema_shapes.SCHEMAS
WARNINGS_BYTES_MAX = 4_096
"""Warnings travel in a header; what does not fit is in the log alone."""

log = Logger()
Document = dict[str, JSON]


class SchemaRoutes:
    """The work of the rows."""

    def __init__(self, workplace: Workplace) -> None:
        self._at = workplace

    async def list(self, call: Call) -> Answer:
        """Return all schemas by name."""
        in_force = self._at.domain(call).schemas.in_force
        documents, etag = await self._at.run_slowly(lambda: _listed(in_force))
        return Answer(document=documents, etag=etag)

    async def get(self, call: Call) -> Answer:
        """Return one schema."""
        schema = self._at.domain(call).schemas.in_force.schema(call.params["aggregate"])
        if schema is None:
            raise SchemaNotFound
        document = schema_value(schema)
        return Answer(document=document, etag=etag_of(document))

    async def create(self, call: Call) -> Answer:
        """Declare a schema that is not there yet."""
        name, body = call.body["aggregate"], call.body
        change = {"do": "create", "aggregate": name, "events": _events(body)}
        change["snapshot_threshold"] = body.get("snapshot_threshold")
        return await self.change(call, name, change, created=True)

    async def put(self, call: Call) -> Answer:
        """Put one schema in force, whatever was there before."""
        name = call.params["aggregate"]
        given = call.body.get("aggregate", name)
        if given != name:
            raise InvalidSchema(f"aggregate '{given}' does not match path parameter '{name}'")
        change: Document = {"do": "put_schema", "aggregate": name, "schema": call.body}
        return await self.change(call, name, change, created=True)

    async def patch(self, call: Call) -> Answer:
        """Change parts of a schema, all or nothing."""
        given = {member: call.body[member] for member in MEMBERS if member in call.body}
        return await self._change_known(call, "update", given)

    async def add_events(self, call: Call) -> Answer:
        """Declare events; those that are there stay as they are."""
        return await self._change_known(call, "add_events", {"events": _events(call.body)})

    async def delete_event(self, call: Call) -> Answer:
        """Take an event out of a schema; events that are stored already stay."""
        return await self._change_known(call, "remove_event", {"event": call.params["event"]})

    async def delete(self, call: Call) -> Answer:
        """Take a schema out of force; aggregates of the type stay."""
        return await self._change_known(call, "delete_schema", {})

    async def _change_known(self, call: Call, do: str, members: Mapping[str, JSON]) -> Answer:
        name = call.params["aggregate"]
        return await self.change(call, name, {"do": do, "aggregate": name, **members})

    async def change(
        self, call: Call, name: str, change: Mapping[str, JSON], *, created: bool = False
    ) -> Answer:
        """Carry out one change; ``created``: it may make a schema that was not there."""
        before: list[Document] = []

        def check(in_force: InForce) -> None:
            schema = in_force.schema(name)
            if schema is not None:
                before.append(schema_value(schema))
            self._at.check_match(call, etag_of(before[0]) if before else None)
            if schema is None and not created:
                raise SchemaNotFound

        schemas = self._at.domain(call).schemas
        try:
            changed = await schemas.change([change], origin=origin_of(call), check=check)
        except SerializationError as error:
            raise invalid_body(error.detail) from None
        after = changed.in_force.schema(name)
        document = None if after is None else schema_value(after)
        new = document is not None and not before
        return Answer(
            status=204 if document is None else 201 if new else 200,
            document=document,
            etag=None if document is None else etag_of(document),
            headers={
                **({"Location": place("schemas", name)} if new else {}),
                **_warned(changed.warnings),
            },
            resource=name,
            before=digest_of(before[0]) if before else None,
            after=None if document is None else digest_of(document),
            details={"changes": [change["do"]]},
        )

    async def replace(self, call: Call) -> Answer:
        """Put a whole set in force."""
        domain = self._at.domain(call)
        text = set_text(call.body)
        prepared = await prepare(self._at, domain, text)
        before: list[str] = []

        def check(in_force: InForce) -> None:
            documents, etag = _listed(in_force)
            before.append(digest_of(documents))
            self._at.check_match(call, etag)

        changed: Changed = await domain.schemas.replace(
            prepared, origin=origin_of(call), check=check
        )
        documents, etag = await self._at.run_slowly(lambda: _listed(changed.in_force))
        return Answer(
            document=documents,
            etag=etag,
            headers=_warned(changed.warnings),
            resource="*",
            before=before[0],
            after=digest_of(documents),
            details={"schemas": len(documents)},
        )

    async def validate(self, call: Call) -> Answer:
        """Say what keeps an event from being written; nothing is written."""
        schemas = self._at.domain(call).schemas
        name, body = call.params["aggregate"], call.body
        found = await self._at.run_slowly(
            lambda: validated(schemas, name, body["event"], body["payload"])
        )
        if not found["schema"]:
            raise SchemaNotFound
        return Answer(
            document={
                "valid": not found["violations"],
                "aggregate": name,
                "event": body["event"],
                "restrict": found["restrict"],
                "errors": found["violations"],
            }
        )


def _listed(in_force: InForce) -> tuple[list[JSON], str]:
    """Return the documents of a set by name, and their entity tag. Slow for large sets."""
    documents: list[JSON] = [schema_value(one) for _, one in sorted(in_force.schemas.items())]
    return documents, etag_of(documents)


def _events(body: Mapping[str, Any]) -> list[JSON]:
    """Return the names of events in a body. The command line separates them by commas."""
    for name in body["events"]:
        if "," in name:
            raise InvalidSchema(f"event name '{name}' cannot hold a comma")
    return list(body["events"])


def set_text(body: Any) -> bytes:
    """Return the text of a set of schemas that came as an array or by name."""
    if isinstance(body, dict):
        return orjson.dumps(body)
    by_name: dict[str, JSON] = {}
    for document in body:
        if document["aggregate"] in by_name:
            raise InvalidSchema(f"aggregate '{document['aggregate']}' is there twice")
        by_name[document["aggregate"]] = document
    return orjson.dumps(by_name)


async def prepare(workplace: Workplace, domain: Domain, text: bytes) -> Prepared:
    """Read, check and compile a set on a thread. Raises Problem, InvalidSchema."""
    try:
        prepared: Prepared = await workplace.run_slowly(
            lambda: domain.schemas.prepare(text, person=True)
        )
    except SerializationError as error:
        raise invalid_body(error.detail) from None
    return prepared


def _warned(warnings: Sequence[str]) -> dict[str, str]:
    """Return the header with warnings, which are logged as well."""
    for warning in warnings:
        # Names may hold anything: they must not draw on the terminal of whoever reads the log.
        shown_plainly = "".join(one if one.isprintable() else "?" for one in warning)
        log.warn("schemas: {warning}", warning=shown_plainly)
    shown = list(warnings)
    while shown and len(json.dumps(shown)) > WARNINGS_BYTES_MAX:
        shown.pop()
    return {"X-EventDBX-Warnings": json.dumps(shown)} if shown else {}


def rows(installation: Installation) -> list[Row]:
    """Return the routes of this file."""
    do = SchemaRoutes(Workplace(installation))
    one = "/admin/schemas/{aggregate}"
    unknown: dict[int, str | None] = {404: "Error"}

    def read(path: str, operation: str, summary: str, work: Any, **more: Any) -> Row:
        return Row(
            path=path,
            operation=operation,
            summary=summary,
            action="schema.read",
            handle=answering(work),
            tag="schemas",
            query=(DOMAIN,),
            **{"method": "GET", **more},
        )

    def change(method: str, path: str, operation: str, summary: str, work: Any, **more: Any) -> Row:
        return Row(
            method=method,
            path=path,
            operation=operation,
            summary=summary,
            action="schema.write",
            handle=answering(work),
            tag="schemas",
            query=(DOMAIN,),
            area="schemas",
            **{"conditional": True, **more},
        )

    return [
        read("/admin/schemas", "listSchemas", "All schemas in force, by name", do.list,
             answers={200: "[AggregateSchema]", **unknown}, lists=True),
        change("POST", "/admin/schemas", "createSchema", "Declare a schema", do.create,
               body="CreateSchemaRequest", answers={201: "AggregateSchema", **unknown,
                                                    409: "Error"},
               event="schemas_changed", conditional=False),
        change("PUT", "/admin/schemas", "replaceSchemas", "Put a whole set in force", do.replace,
               body="SchemaSet", answers={200: "[AggregateSchema]", **unknown},
               event="schemas_replaced"),
        read(one, "getSchema", "One schema", do.get, answers={200: "AggregateSchema", **unknown}),
        change("PUT", one, "putSchema", "Put one schema in force", do.put, body="SchemaDocument",
               answers={200: "AggregateSchema", 201: "AggregateSchema", **unknown},
               event="schemas_changed"),
        change("PATCH", one, "updateSchema", "Change parts of a schema, all or nothing", do.patch,
               body="UpdateSchemaRequest", answers={200: "AggregateSchema", **unknown},
               event="schemas_changed"),
        change("DELETE", one, "deleteSchema", "Take a schema out of force", do.delete,
               answers={204: None, **unknown}, event="schemas_changed"),
        change("POST", one + "/events", "addSchemaEvents", "Declare events", do.add_events,
               body="AddEventsRequest", answers={200: "AggregateSchema", **unknown},
               event="schemas_changed"),
        change("DELETE", one + "/events/{event}", "deleteSchemaEvent",
               "Take an event out of a schema", do.delete_event,
               answers={200: "AggregateSchema", **unknown, 409: "Error"},
               event="schemas_changed"),
        read(one + "/validate", "validateEvent", "Say what keeps an event from being written",
             do.validate, method="POST", body="ValidateRequest",
             answers={200: "Validation", **unknown}),
    ]  # fmt: skip
