"""Every route of the Admin API, and every component schema: the tables put together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import orjson

from eventdbx import __version__
from eventdbx.domain.canonical import JSON
from eventdbx.surfaces.admin import (
    aggregates,
    audit,
    backups,
    checkpoints,
    configuration,
    datakeys,
    domains,
    erasing,
    keys,
    plugin_deliveries,
    plugins,
    proofs,
    queue,
    remotes,
    schema_versions,
    schemas,
    scrubs,
    status,
    tenants,
    tokens,
)
from eventdbx.surfaces.admin.conditions import etag_of
from eventdbx.surfaces.admin.openapi import openapi_document
from eventdbx.surfaces.admin.table import Answer, Call, Installation, Row

MODULES: tuple[Any, ...] = (
    tokens,
    schemas,
    schema_versions,
    plugins,
    plugin_deliveries,
    queue,
    remotes,
    configuration,
    aggregates,
    proofs,
    erasing,
    keys,
    datakeys,
    backups,
    audit,
    checkpoints,
    scrubs,
    tenants,
    status,
    domains,
)
"""Each has ``SCHEMAS``, by name, and ``rows(installation)``."""


def component_schemas() -> dict[str, JSON]:
    """Return the schemas of all modules. Two of one name are our own mistake."""
    found: dict[str, JSON] = {"OpenApi": {"type": "object", "required": ["openapi", "paths"]}}
    for module in MODULES:
        schemas: Mapping[str, JSON] = module.SCHEMAS
        assert not found.keys() & schemas.keys(), module.__name__
        found |= schemas
    return found


def all_rows(installation: Installation) -> tuple[Row, ...]:
    """Return all routes, that of the document itself included."""
    rows = [row for module in MODULES for row in module.rows(installation)]
    rows.append(_document_row(rows))  # It shows itself, too: the list is read when it is asked for.
    return tuple(rows)


def _document_row(rows: list[Row]) -> Row:
    @cache
    def written() -> Answer:
        document = openapi_document(rows, component_schemas(), __version__)
        text: Any = orjson.Fragment(orjson.dumps(document))
        return Answer(document=text, etag=etag_of(document))

    def document(_call: Call) -> Answer:
        return written()  # Anybody may ask for it, so it costs nothing the second time.

    return Row(
        method="GET",
        path="/admin/openapi.json",
        operation="getOpenApi",
        summary="This document",
        action=None,
        handle=document,
        answers={200: "OpenApi"},
        tag="status",
    )
