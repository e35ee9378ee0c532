"""The suite through the control socket of a running server, one server for each mode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.client import BlockingClient
from eventdbx.errors import SchemaViolation
from eventdbx.surfaces.control.calls import Calls
from tests.conformance.suite import Placed, placed_cases, schema_document
from tests.daemon import Workspace


class SocketTests(SynchronousTestCase):
    """What a client is told."""

    def _outcomes(self, restrict: str) -> Iterator[tuple[Placed, str | None]]:
        """Yield every case of a mode with the message that the server answered, if any."""
        workspace = Workspace(Path(self.mktemp()).absolute())
        workspace.run("config", "--restrict", restrict)
        workspace.start()
        self.addCleanup(workspace.stop)
        with BlockingClient("127.0.0.1", workspace.port, workspace.token) as client:
            document = schema_document(restrict)
            calls = Calls(workspace.token)
            # What the columns of some cases demand is impossible: only machines may declare it.
            replaced = client.call(calls.schema({"do": "replace", "schemas": document}))
            self.assertEqual(replaced["replaced"], len(document))
            for number, placed in enumerate(placed_cases()):
                if placed.case.restrict == restrict:
                    yield placed, self._answer(client, placed, f"case-{number}")

    def _answer(self, client: BlockingClient, placed: Placed, identifier: str) -> str | None:
        case, aggregate = placed.case, placed.aggregate
        try:
            if case.state is None:
                client.create(aggregate, identifier, case.event, case.payload)
            else:
                client.create(aggregate, identifier, "opened", case.state)
                client.patch(aggregate, identifier, case.event, case.payload)
        except SchemaViolation as error:
            self.assertEqual(str(error), f"schema violation: {error.detail}")
            return error.detail
        return None

    def _hold(self, restrict: str) -> None:
        wrong = [
            (placed.case.title, found, placed.expected)
            for placed, found in self._outcomes(restrict)
            if found != placed.expected
        ]
        self.assertEqual(wrong, [])

    def test_default(self) -> None:
        """By default what has a schema must fit it."""
        self._hold("default")

    def test_off(self) -> None:
        """Without validation only locks hold."""
        self._hold("off")

    def test_strict(self) -> None:
        """In strict mode the schemas hold as well."""
        self._hold("strict")

    def test_strict_demands_schemas(self) -> None:
        """In strict mode a type without a schema takes nothing."""
        workspace = Workspace(Path(self.mktemp()).absolute())
        workspace.run("config", "--restrict", "strict")
        workspace.start()
        self.addCleanup(workspace.stop)
        with BlockingClient("127.0.0.1", workspace.port, workspace.token) as client:
            error = self.assertRaises(
                SchemaViolation, client.create, "thing", "t-1", "opened", "{}"
            )
        self.assertEqual(
            str(error),
            "schema violation: aggregate thing requires a schema before events can be appended "
            "when restrict=strict",
        )
