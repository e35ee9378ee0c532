"""Schemas on the control protocol: the published operations, and the one that carries the rest.

An operation of our own is a JSON document that says what to ``do``; docs/protocol.md, "Schemas",
lists them. What changes a catalogue needs ``schema.write``, what looks at it ``schema.read``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from twisted.internet.defer import Deferred

from eventdbx.application.rehearsal import Rehearsals
from eventdbx.application.schema_work import Origin, Prepared
from eventdbx.application.schemas import Activated, Changed, Published
from eventdbx.domain.canonical import JSON
from eventdbx.domain.identifiers import normalise_event_type
from eventdbx.domain.schemas.history import manifest
from eventdbx.errors import InvalidSchema
from eventdbx.surfaces.control.asked import Asked, read_asked
from eventdbx.surfaces.control.recording import schema_change, schemas_changed
from eventdbx.surfaces.control.rehearsals import RehearsalRoutes
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs

if TYPE_CHECKING:
    from eventdbx.application.domains import Domain
    from eventdbx.application.schemas import Catalogue
    from eventdbx.domain.grants import Grant
    from eventdbx.surfaces.control.routes import Routes, RunSlowly, Session

_READS = frozenset(
    "list history version changes document validate rehearsal rehearsals".split()  # one a word
)
_LARGE_BYTES = 65_536
"""A document that is longer is read on a thread."""


class SchemaRoutes:
    """The methods of everything about schemas; the table is joined with that of Routes."""

    def __init__(self, routes: Routes, run_slowly: RunSlowly, rehearsals: Rehearsals) -> None:
        self._routes = routes
        self._run_slowly = run_slowly
        self._rehearsals = RehearsalRoutes(rehearsals, run_slowly, _set)
        self._operations: dict[str, Callable[[Session, Asked], Any]] = {
            "list": self._list,
            "change": self._change,
            "replace": self._replace,
            "publish": self._publish,
            "activate": self._activate,
            "rollback": self._rollback,
            "history": lambda session, asked: manifest(session.domain.schemas.history),
            "version": self._version,
            "changes": self._changes,
            "document": self._document,
            "validate": self._validate,
            "reload": self._reload,
        }

    @property
    def names(self) -> frozenset[str]:
        """What there is to do."""
        return self._rehearsals.names.union(self._operations)

    def table(self) -> dict[type, Callable[[Session, Any], Any]]:
        """Return which method answers which request."""
        return {
            rq.ListSchemas: self._list_schemas,
            rq.ReplaceSchemas: self._replace_schemas,
            rq.TenantReload: self._tenant_reload,
            rq.TenantSchemaPublish: self._tenant_schema_publish,
            rq.SchemaOperation: self._operate,
        }

    # The published operations

    def _list_schemas(self, session: Session, request: rq.ListSchemas) -> rs.SchemasReply:
        self._routes.grant(session, request.token).require("schema.read")
        return rs.SchemasReply(session.domain.schemas.in_force.document())

    def _replace_schemas(self, session: Session, request: rq.ReplaceSchemas) -> Deferred[Any]:
        grant = self._routes.grant(session, request.token)
        grant.require("schema.write")
        origin = Origin(None if grant.actor is None else grant.actor.user, None)
        change = schemas_changed(session.domain, "schemas_replaced", "control replaceSchemas", {})
        replacing = Deferred.fromCoroutine(
            self._replaced(session.domain, request.schemas.encode(), origin)
        )
        done: Deferred[Any] = self._routes.recording.done(session, grant, change, replacing)
        return done

    async def _replaced(self, domain: Domain, text: bytes, origin: Origin) -> rs.SchemasReplaced:
        prepared = await self._prepared(domain, text)
        changed = await domain.schemas.replace(prepared, origin=origin)
        return rs.SchemasReplaced(len(changed.in_force.schemas))

    def _tenant_reload(self, session: Session, request: rq.TenantReload) -> Deferred[Any]:
        grant = self._routes.grant(session, request.token)
        domain = self._routes.administered(session, grant, request.tenant)
        change = schemas_changed(domain, "schemas_reloaded", "control tenantReload", {})
        reloading = domain.reload_schemas()
        self._routes.recording.done(session, grant, change, reloading, domain)
        return reloading.addCallback(lambda _warnings: rs.TenantReloaded(True))

    def _tenant_schema_publish(
        self, session: Session, request: rq.TenantSchemaPublish
    ) -> Deferred[Any]:
        grant = self._routes.grant(session, request.token)
        domain = self._routes.administered(session, grant, request.tenant)
        details: dict[str, JSON] = {"actor": request.actor, "reason": request.reason}
        change = schemas_changed(
            domain, "schemas_published", "control tenantSchemaPublish", details
        )
        published = domain.schemas.publish(
            origin=Origin(request.actor, request.reason),
            labels=request.labels,
            activate=request.activate,
            force=request.force,
        )
        self._routes.recording.done(session, grant, change, published, domain)
        return published.addCallback(
            lambda done: rs.TenantSchemaPublished(done.version, done.activated, done.skipped)
        )

    # Our own

    def _operate(self, session: Session, request: rq.SchemaOperation) -> Any:
        grant = self._routes.grant(session, request.token)
        if len(request.json) <= _LARGE_BYTES:
            return self._operate_on(session, grant, _asked(request.json))
        reading = self._run_slowly(lambda: _asked(request.json))
        return reading.addCallback(lambda asked: self._operate_on(session, grant, asked))

    def _operate_on(self, session: Session, grant: Grant, asked: Asked) -> Any:
        do = asked.required("do")
        grant.require("schema.read" if do in _READS else "schema.write")
        if do in self._rehearsals.names:
            answer = self._rehearsals.answer(session, asked, grant)
        elif do in self._operations:
            change = schema_change(session.domain, do, asked)
            answer = self._operations[do](session, asked)
            answer = self._routes.recording.done(session, grant, change, answer)
        else:
            raise InvalidSchema(f"unknown schema operation '{do}'")
        if isinstance(answer, Deferred):
            return answer.addCallback(_answer)
        return _answer(answer)

    def _list(self, session: Session, _asked: Asked) -> dict[str, Any]:
        schemas = session.domain.schemas
        return {
            "schemas": orjson.Fragment(schemas.in_force.document()),
            "digest": schemas.in_force.digest,
            "restrict": schemas.restrict,
        }

    def _change(self, session: Session, asked: Asked) -> Deferred[Any]:
        changed = session.domain.schemas.change(
            asked.objects("changes"), origin=asked.origin, expect=asked.text("expect")
        )
        return changed.addCallback(_changed)

    def _replace(self, session: Session, asked: Asked) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._replace_own(session.domain, asked))

    async def _replace_own(self, domain: Domain, asked: Asked) -> dict[str, Any]:
        prepared = await self._prepared(domain, _set(asked), person=asked.flag("person"))
        expect = asked.text("expect")
        changed = await domain.schemas.replace(prepared, origin=asked.origin, expect=expect)
        return {"replaced": len(changed.in_force.schemas), **_changed(changed)}

    def _prepared(self, domain: Domain, text: bytes, *, person: bool = False) -> Deferred[Prepared]:
        return self._run_slowly(lambda: domain.schemas.prepare(text, person=person))

    def _publish(self, session: Session, asked: Asked) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._publish_own(session.domain, asked))

    async def _publish_own(self, domain: Domain, asked: Asked) -> dict[str, Any]:
        source = await self._prepared(domain, _set(asked)) if asked.has("schemas") else None
        done: Published = await domain.schemas.publish(
            source,
            origin=asked.origin,
            labels=asked.texts("labels"),
            activate=asked.flag("activate"),
            force=asked.flag("force"),
        )
        return done._asdict()

    def _activate(self, session: Session, asked: Asked) -> Deferred[Any]:
        schemas = session.domain.schemas
        version = asked.text("version") or "latest"
        return schemas.activate(version, origin=asked.origin).addCallback(Activated._asdict)

    def _rollback(self, session: Session, asked: Asked) -> Deferred[Any]:
        schemas = session.domain.schemas
        version = asked.text("version")
        return schemas.rollback(version, origin=asked.origin).addCallback(Activated._asdict)

    def _version(self, session: Session, asked: Asked) -> dict[str, Any]:
        version, text = session.domain.schemas.text_of(asked.text("version") or "active")
        return {"version": version.id, "schemas": orjson.Fragment(text)}

    def _changes(self, session: Session, _asked: Asked) -> dict[str, Any]:
        return {"changes": session.domain.schemas.changes()}

    def _document(self, session: Session, asked: Asked) -> dict[str, Any]:
        """Answer with the schema that an event's mark names, whether published or not."""
        try:
            digest = bytes.fromhex(asked.required("digest"))
        except ValueError:
            raise InvalidSchema("'digest' must be hexadecimal") from None
        document = session.domain.schemas.document_of(digest)
        return {"schema": None if document is None else orjson.Fragment(document)}

    def _validate(self, session: Session, asked: Asked) -> Deferred[Any]:
        aggregate, event = asked.required("aggregate"), asked.required("event")
        schemas, payload = session.domain.schemas, asked.value("payload")
        return self._run_slowly(lambda: validated(schemas, aggregate, event, payload))

    def _reload(self, session: Session, _asked: Asked) -> Deferred[Any]:
        reloading = session.domain.reload_schemas()
        return reloading.addCallback(lambda warnings: {"reloaded": True, "warnings": warnings})


def validated(schemas: Catalogue, aggregate: str, event: str, payload: JSON) -> dict[str, Any]:
    """Return what keeps an event from being written. Slow for large payloads: on a thread."""
    contract = schemas.in_force.contracts.get(aggregate)
    found = []
    if contract is not None:
        try:
            event = normalise_event_type(event)
        except InvalidSchema:
            pass  # Declared names may have any spelling; this one is not declared.
        violations = schemas.rules.violations(contract, event, payload)
        found = [one._asdict() for one in violations]
    return {"schema": contract is not None, "restrict": schemas.restrict, "violations": found}


def _asked(text: bytes) -> Asked:
    return read_asked(text, "a schema operation")


def _set(asked: Asked) -> bytes:
    """Return the text of the set of schemas that an operation brings, as an object or as text."""
    value = asked.value("schemas")
    if type(value) is str:
        return value.encode()
    if type(value) is not dict:
        raise InvalidSchema("'schemas' must be an object of schemas by aggregate type")
    return orjson.dumps(value)


def _changed(changed: Changed) -> dict[str, Any]:
    known = changed.in_force.contracts
    return {
        "schemas": {
            name: orjson.Fragment(known[name].document) for name in changed.names if name in known
        },
        "digest": changed.in_force.digest,
        "warnings": list(changed.warnings),
    }


def _answer(document: dict[str, Any]) -> rs.Extension:
    return rs.Extension(orjson.dumps(document))
