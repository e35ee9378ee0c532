"""Two validators, one verdict: the contract, and the JSON Schema document with our keywords."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, example, given, settings
from jsonschema import Draft202012Validator
from referencing.exceptions import Unresolvable
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.schemas.contract import compile_schema
from eventdbx.domain.schemas.json_schema import document
from eventdbx.domain.schemas.json_schema_check import DocumentCheck, DocumentChecks
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Bounds,
    Column,
    ColumnType,
    EventRule,
    Length,
    Violation,
)
from tests.domain.schemas.strategies import Attempt, attempts, schemas

TEXT = ColumnType("text")
ORDER = AggregateSchema(
    aggregate="order",
    field_locks=("id",),
    column_types={
        "a/b": Column(
            type=ColumnType("object"),
            properties={"~": Column(type=TEXT, required=True), "n": Column(type=TEXT)},
        ),
        "note": Column(type=TEXT, regex=("^a",), length=Length(3, None)),
    },
    events={"order_paid": EventRule(fields=("note",)), "order_seen": EventRule()},
)

# A column with every rule, none of which its type can have.
IMPOSSIBLE = Attempt(
    AggregateSchema(
        aggregate="thing",
        column_types={
            "a": Column(
                type=ColumnType("boolean"),
                contains=("a",),
                does_not_contain=("a",),
                regex=("a",),
                format="email",
                length=Length(1),
                range=Bounds("1"),
                properties={"b": Column(type=TEXT)},
            )
        },
        events={"opened": EventRule()},
    ),
    "opened",
    {"a": True},
    None,
)


class AgreementTests(SynchronousTestCase):
    """Whatever the schema and the payload, both say the same."""

    @settings(max_examples=600, deadline=None)
    @given(attempts())
    @example(IMPOSSIBLE)
    def test_both_find_the_same(self, attempt: Attempt) -> None:
        """The same violations, in the same words and order, at the same places."""
        contract = compile_schema(attempt.schema)
        check = DocumentCheck(document(attempt.schema, attempt.event, domain="default"))
        for off in (False, True):
            known, payload = attempt.known, attempt.payload
            expected = contract.violations(attempt.event, payload, known, off=off)
            self.assertEqual(check.violations(payload, known, off=off), expected)
        event("refused" if expected else "accepted")

    @settings(max_examples=100, deadline=None)
    @given(schemas())
    def test_documents_are_json_schema(self, schema: AggregateSchema) -> None:
        """Every document passes the meta-schema of its dialect."""
        for name in (*schema.events, "closed"):
            for portable in (False, True):
                found = document(schema, name, domain="default", portable=portable)
                Draft202012Validator.check_schema(found)


class DocumentCheckTests(SynchronousTestCase):
    """What is said of one payload, and what is kept."""

    def found(self, event_type: str, payload: object) -> list[Violation]:
        """Return the violations of a payload of ORDER."""
        check = DocumentCheck(document(ORDER, event_type, domain="default"))
        return check.violations(payload)  # type: ignore[arg-type]

    def test_everything_is_said_in_order(self) -> None:
        """Locks come first, then the event's list, then columns; each with its place."""
        found = self.found("order_paid", {"id": 1, "a/b": {"n": 1}, "note": "b"})
        self.assertEqual(
            found,
            [
                Violation(
                    "field_lock", "/id", "field_lock", "field id is locked for aggregate order"
                ),
                Violation(
                    "not_permitted", "/a~1b", "not_permitted",
                    "field a/b is not permitted for event order_paid",
                ),
                Violation(
                    "not_permitted", "/id", "not_permitted",
                    "field id is not permitted for event order_paid",
                ),
                Violation("column", "/a~1b/n", "type", "field a/b.n must be a string"),
                Violation("column", "/a~1b/~0", "required", "field a/b.~ is required"),
                Violation("column", "/note", "regex", "field note must match pattern ^a"),
                Violation("column", "/note", "length", "field note must have length >= 3"),
            ],
        )  # fmt: skip

    def test_a_payload_that_is_no_object(self) -> None:
        """A scalar counts as one key, and has no columns."""
        self.assertEqual(
            [(one.step, one.pointer) for one in self.found("order_paid", 5)],
            [("missing", "/note"), ("not_permitted", ""), ("object", "")],
        )
        self.assertEqual([one.step for one in self.found("order_seen", None)], ["object"])

    def test_an_event_that_is_not_declared(self) -> None:
        """It is refused, and its columns are looked at nevertheless."""
        self.assertEqual(
            [one.message for one in self.found("order_lost", {"note": 1})],
            [
                "event order_lost is not defined for aggregate order",
                "field note must be a string",
            ],
        )

    def test_what_a_patch_builds_on_is_there(self) -> None:
        """Fields of the state need not be sent again, but their members must, with them."""
        check = DocumentCheck(document(ORDER, "order_paid", domain="default"))
        self.assertEqual([one.step for one in check.violations({}, {"note": 1})], [])
        check = DocumentCheck(document(ORDER, "order_seen", domain="default"))
        found = check.violations({"a/b": {}}, {"a/b": None})
        self.assertEqual([one.pointer for one in found], ["/a~1b/~0"])

    def test_nothing_is_fetched(self) -> None:
        """A reference to another document, put in by hand, is an error and no request."""
        broken = document(ORDER, "order_seen", domain="default")
        broken["allOf"] = [{"$ref": "http://127.0.0.1:9/x"}]
        self.assertRaises(Unresolvable, DocumentCheck(broken).violations, {})

    def test_a_check_is_made_once_for_each_version_and_event(self) -> None:
        """The same check serves until the schema changes; the oldest are forgotten."""
        checks = DocumentChecks(entries_max=2)
        contract = compile_schema(ORDER)
        first = checks.check(contract, "order_paid")
        self.assertIs(
            checks.check(compile_schema(replace(ORDER, updated_at=5)), "order_paid"), first
        )
        changed = checks.check(compile_schema(replace(ORDER, locked=True)), "order_paid")
        self.assertIsNot(changed, first)
        self.assertIs(checks.check(contract, "order_paid"), first)
        checks.check(contract, "order_seen")
        self.assertEqual(len(checks), 2)
        self.assertIs(checks.check(contract, "order_paid"), first)
