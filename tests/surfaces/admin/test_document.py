"""The OpenAPI document: written from the rows, kept in the source tree, and whole.

``python -m tests.surfaces.admin.test_document`` writes ``docs/openapi.json``, and the routes in
``docs/admin-api.md``, anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.auditing import AREAS
from eventdbx.surfaces.admin.openapi import openapi_document, statuses_of
from eventdbx.surfaces.admin.rows import all_rows, component_schemas
from eventdbx.surfaces.admin.table import Installation, Row

DOCS = Path(__file__).resolve().parents[3] / "docs"
FILE, PAGE = DOCS / "openapi.json", DOCS / "admin-api.md"
ROUTES = re.compile(r"(?<=<!-- routes: begin -->\n).*(?=<!-- routes: end -->)", re.DOTALL)
OPEN_TO_ALL = {"getOpenApi", "getPublicKeys"}
ADDED = {
    "token.read", "token.manage", "schema.read", "schema.write", "remote.read", "remote.manage",
    "plugin.read", "plugin.manage", "queue.read", "queue.manage", "config.read", "config.write",
    "metrics.read", "audit.read", "aggregate.read", "aggregate.erase", "tenant.manage",
}  # fmt: skip
"""Every right that a route may ask for."""

ONLY_LOOKING = {"validateEvent"}
"""Routes with a body that change nothing."""


def rows() -> tuple[Row, ...]:
    """Return all rows, on an installation that is not there: none of them is called."""
    nothing = cast(Any, None)
    return all_rows(Installation(*[nothing] * len(Installation._fields)))


def document() -> dict[str, Any]:
    """Return the document as it belongs into the source tree: of no particular version."""
    return openapi_document(rows(), component_schemas(), "current")


def routes() -> str:
    """Return the table of routes for people."""
    lines = ["| route | right | what it does |", "|---|---|---|"]
    for row in rows():
        right = "open to all" if row.action is None else f"`{row.action}`"
        lines.append(f"| `{row.method} {row.path}` | {right} | {row.summary} |")
    return "\n".join(lines) + "\n"


class RowTests(SynchronousTestCase):
    """The table itself."""

    def test_every_route_names_its_right(self) -> None:
        """Only what is meant for everybody is open to all; rights are those that are documented."""
        for row in rows():
            self.assertEqual(row.action is None, row.operation in OPEN_TO_ALL, row.operation)
            self.assertIn(row.action, {*ADDED, None}, row.operation)

    def test_every_change_is_recorded(self) -> None:
        """A route that may change something has its event in the audit trail."""
        for row in rows():
            self.assertEqual(row.event is None, row.area is None, row.operation)
            self.assertIn(row.area, {*AREAS, None}, row.operation)
            changes = row.method != "GET" and row.operation not in ONLY_LOOKING
            self.assertEqual(row.event is not None, changes, row.operation)

    def test_tokens_are_not_cached(self) -> None:
        """Whatever is about tokens says no-store."""
        for row in rows():
            if row.path.startswith("/admin/tokens") and row.answers.keys() & {200, 201}:
                self.assertTrue(row.secret, row.operation)

    def test_names_are_used_once(self) -> None:
        """No operation and no route is there twice."""
        operations = [row.operation for row in rows()]
        self.assertEqual(len(operations), len(set(operations)))
        routes = [(row.method, re.sub(r"\{\w+\}", "{}", row.path)) for row in rows()]
        self.assertEqual(len(routes), len(set(routes)))


class DocumentTests(SynchronousTestCase):
    """What is served at /admin/openapi.json."""

    def test_the_file_is_that_of_the_routes(self) -> None:
        """docs/openapi.json shows the routes that there are; the module's docstring tells how."""
        self.assertEqual(json.loads(FILE.read_text()), json.loads(json.dumps(document())))

    def test_the_page_lists_the_routes(self) -> None:
        """docs/admin-api.md lists the routes that there are, each with its right."""
        found = ROUTES.search(PAGE.read_text())
        assert found is not None
        self.assertEqual(found[0], routes())

    def test_every_row_is_in_it(self) -> None:
        """Each row is an operation, with every status that it can answer with."""
        paths = document()["paths"]
        self.assertEqual(sum(len(methods) for methods in paths.values()), len(rows()))
        for row in rows():
            operation = paths[row.path][row.method.lower()]
            self.assertEqual(operation["operationId"], row.operation)
            self.assertEqual(set(operation["responses"]), {str(one) for one in statuses_of(row)})

    def test_names_of_the_first_version(self) -> None:
        """Operations and schemas of the API that this one continues keep their names."""
        shown = document()
        operations = {row.operation for row in rows()}
        self.assertLessEqual(
            {
                "listTokens", "issueToken", "revokeToken", "refreshToken", "listSchemas",
                "createSchema", "getSchema", "updateSchema", "deleteSchemaEvent", "listRemotes",
                "putRemote", "deleteRemote", "listPlugins", "putPlugin", "deletePlugin",
                "enablePlugin", "disablePlugin",
            },
            operations,
        )  # fmt: skip
        self.assertLessEqual(
            {
                "TokenRecord", "IssueTokenRequest", "IssuedTokenRecord", "RefreshTokenRequest",
                "AggregateSchema", "CreateSchemaRequest", "UpdateSchemaRequest", "Remote",
                "RemoteUpsert", "PluginDefinition", "PluginUpsert", "Error",
            },
            shown["components"]["schemas"].keys(),
        )  # fmt: skip

    def test_references_lead_somewhere(self) -> None:
        """Every schema is one, and every reference has a target."""
        shown = document()
        schemas = shown["components"]["schemas"]
        for name, schema in schemas.items():
            Draft202012Validator.check_schema(schema)
            self.assertIsInstance(schema, dict, name)
        for target in re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(shown)):
            kind, name = target.split("/")
            self.assertIn(name, shown["components"][kind])


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(ROUTES.sub(lambda _old: routes(), PAGE.read_text()))
