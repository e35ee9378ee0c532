"""The OpenAPI document, written from the same rows as the routes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from eventdbx.domain.canonical import JSON
from eventdbx.surfaces.admin.bodies import schema_reference
from eventdbx.surfaces.admin.examples import EXAMPLES
from eventdbx.surfaces.admin.paging import CURSOR, LIMIT
from eventdbx.surfaces.admin.problems import PROBLEM_TYPE
from eventdbx.surfaces.admin.table import Parameter, Row

ERROR_SCHEMA: JSON = {
    "type": "object",
    "description": "The one shape of all errors: the wire's code and message, then RFC 9457.",
    "required": ["message", "code"],
    "properties": {
        "message": {"type": "string"},
        "code": {"type": "string"},
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}

_SECURITY: JSON = {
    "bearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "adminKey": {"type": "apiKey", "in": "header", "name": "X-Admin-Key"},
}


def openapi_document(
    rows: Iterable[Row], schemas: Mapping[str, JSON], version: str
) -> dict[str, Any]:
    """Return the document of all rows."""
    rows = list(rows)
    paths: dict[str, Any] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "EventDBX Admin API",
            "version": version,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(row.tag for row in rows)],
        "security": [{"bearerAuth": []}, {"adminKey": []}],
        "paths": paths,
        "components": {
            "securitySchemes": _SECURITY,
            "responses": _error_responses(rows),
            "schemas": {"Error": ERROR_SCHEMA, **schemas},
        },
    }


def parameters_of(row: Row) -> tuple[Parameter, ...]:
    """Return the query parameters of a row, those of pages included."""
    return (*row.query, LIMIT, CURSOR) if row.lists else row.query


def statuses_of(row: Row) -> dict[int, str | None]:
    """Return every status that a row can answer with, and its schema."""
    answers: dict[int, str | None] = dict(row.answers)
    wrong = [405, 414, 429, 431, 500, 503]
    if row.action is not None:
        wrong += [401, 403]
    if row.body is not None:
        wrong += [400, 413, 415, 422]
    if row.query or row.lists or "{" in row.path or row.idempotent_by_key:
        wrong.append(400)
    if row.idempotent_by_key:
        wrong += [409, 422]
    if row.conditional:
        wrong += [412, 428]
    if any(one.name == "domain" for one in row.query):
        wrong.append(404)
    if row.method == "GET":
        answers.setdefault(304, None)
    return answers | {status: "Error" for status in wrong if status not in answers}


def _operation(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": row.operation,
        "summary": row.summary,
        "tags": [row.tag],
    }
    if row.action is None:
        found["security"] = []
    else:
        found["description"] = f"Needs the root pair (`*.*` on `*`) or `{row.action}`."
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", row.path)
    ]
    parameters += [
        {
            "name": one.name,
            "in": "query",
            "required": one.required,
            "description": one.description,
            "schema": dict(one.schema),
        }
        for one in parameters_of(row)
    ]
    parameters += _headers(row)
    if parameters:
        found["parameters"] = parameters
    if row.body is not None:
        shown = {"example": EXAMPLES[row.body]} if row.body in EXAMPLES else {}
        content = {"application/json": {"schema": schema_reference(row.body), **shown}}
        found["requestBody"] = {"required": row.body_required, "content": content}
    found["responses"] = {
        str(status): _response(status, name) for status, name in sorted(statuses_of(row).items())
    }
    return found


def _headers(row: Row) -> list[dict[str, Any]]:
    found: dict[str, Any] = {}
    if row.idempotent_by_key:
        found["Idempotency-Key"] = {"type": "string", "maxLength": 256}
    if row.conditional:
        found |= {name: {"type": "string"} for name in ("If-Match", "If-None-Match")}
    return [
        {"name": name, "in": "header", "required": False, "schema": schema}
        for name, schema in found.items()
    ]


def _response(status: int, name: str | None) -> dict[str, Any]:
    if name == "Error":
        return {"$ref": f"#/components/responses/{_error_name(status)}"}
    found: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if name is not None:
        found["content"] = {"application/json": {"schema": schema_reference(name)}}
    return found


def _error_name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


def _error_responses(rows: Iterable[Row]) -> dict[str, Any]:
    """Return the answers that are errors, one for each status that any row has."""
    statuses = {status for row in rows for status, name in statuses_of(row).items()
                if name == "Error"}  # fmt: skip
    schema = schema_reference("Error")
    kinds = ("application/json", PROBLEM_TYPE)
    return {
        _error_name(status): {
            "description": HTTPStatus(status).phrase,
            "content": {kind: {"schema": schema} for kind in kinds},
        }
        for status in sorted(statuses)
    }
