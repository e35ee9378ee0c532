"""What the commands of ``dbx schema`` have in common: operations on schemas, and their answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from eventdbx.domain.identifiers import check_domain_name
from eventdbx.errors import InvalidSchema, SchemaNotFound, SchemaViolation, UnknownName
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.output import note
from eventdbx.surfaces.cli.session import database, opened, server_address, tenant_in_use

if TYPE_CHECKING:
    from collections.abc import Iterator

Document = dict[str, Any]


class Tenant(NamedTuple):
    """Whose schemas are worked with: the name to show, the domain to open or None for that in use.

    A server of another machine may know better than the configuration here which one is in use.
    """

    name: str
    domain: str | None

    def __str__(self) -> str:
        return self.name


def user() -> str:
    """Return who works here, as the history names people."""
    return os.environ.get("USER") or os.environ.get("USERNAME") or "unknown"


def operate(
    context: click.Context,
    operation: Document,
    *,
    writes: bool = False,
    tenant: Tenant | None = None,
) -> Document:
    """Carry out one operation on schemas; say its warnings; return its answer.

    ``tenant`` is whose schemas they are, by default those of the domain in use.
    """
    domain = None if tenant is None else tenant.domain
    with database(context, writes=writes, domain=domain) as (way, calls):
        answer = way.call(calls.schema(operation))
    warn(answer)
    return answer


def warn(answer: Document) -> None:
    """Say what a person should know about a change."""
    for warning in answer.get("warnings", ()):
        note(f"warning: {warning}")


def change(context: click.Context, do: str, aggregate: str, **members: Any) -> Document:
    """Change one schema (see ``domain.schemas.changes``); return it as it is now."""
    document = {"do": do, "aggregate": aggregate, **members}
    operation = {"do": "change", "changes": [document], "actor": user()}
    schemas: Document = operate(context, operation, writes=True)["schemas"]
    return schemas.get(aggregate) or next(iter(schemas.values()), {})


def stored(context: click.Context, tenant: Tenant | None = None) -> Document:
    """Return the schemas in force by aggregate type."""
    schemas: Document = operate(context, {"do": "list"}, tenant=tenant)["schemas"]
    return schemas


def stored_schema(context: click.Context, aggregate: str) -> Document:
    """Return the schema of one aggregate type. Raises SchemaNotFound."""
    schemas = stored(context)
    if aggregate not in schemas:
        raise SchemaNotFound
    schema: Document = schemas[aggregate]
    return schema


@contextmanager
def bare_errors() -> Iterator[None]:
    """Let refusals speak without the prefix of their class, as some commands always have."""
    try:
        yield
    except (InvalidSchema, SchemaViolation) as error:
        raise Failure(error.detail, code=error.code) from None


def required(value: str, noun: str) -> str:
    """Return a name, trimmed. Raises Failure if nothing is left of it."""
    name = value.strip()
    if not name:
        raise Failure(f"{noun} name cannot be empty", code=InvalidSchema.code)
    return name


def names_of(texts: Sequence[str]) -> list[str]:
    """Return the names in texts that may hold several, split by commas."""
    return [part.strip() for text in texts for part in text.split(",")]


def tenant_named(context: click.Context, tenant: str | None) -> Tenant:
    """Return the tenant that is asked for, by default the domain in use.

    Raises ConfigError for what is no name, and Failure when there is no such domain.
    """
    place = opened(context)
    if tenant is None:
        return Tenant(tenant_in_use(context) or place.config.domain, None)
    name = check_domain_name(tenant)
    if server_address(context, place) is None and not place.workspace.domain_dir(name).is_dir():
        raise Failure(
            f"domain '{name}' does not exist",
            hint="a version is named with --version; `dbx list` shows the domains",
            code=UnknownName.code,
        )
    return Tenant(name, name)
