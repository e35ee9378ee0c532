"""Changes of schemas, document by document: what they leave, refuse, and warn of."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.schemas.changes import apply_change
from eventdbx.domain.schemas.edits import LastEvent, UndeclaredEvent
from eventdbx.domain.schemas.model import SchemaSet
from eventdbx.domain.schemas.names import snake_case
from eventdbx.domain.schemas.reading import read_schema
from eventdbx.domain.schemas.writing import schema_value
from eventdbx.errors import (
    EventDBXError,
    InvalidSchema,
    SchemaExists,
    SchemaNotFound,
    SchemaViolation,
    SerializationError,
)

START, LATER = 1_000, 2_000


class ChangeCase(SynchronousTestCase):
    """One schema, ``order``, with two events; every change happens later than it was made."""

    def setUp(self) -> None:
        self.warnings: list[str] = []
        self.schemas: SchemaSet = {}
        self.make("create", events=["order_created", "order_paid"], now_ns=START)

    def make(
        self, do: str, *, aggregate: str = "order", now_ns: int = LATER, **members: Any
    ) -> None:
        """Carry out one change."""
        change = {"do": do, "aggregate": aggregate, **members}
        self.schemas, self.warnings = apply_change(
            self.schemas, change, now_ns=now_ns, default_threshold=7
        )

    def refused(self, kind: type[EventDBXError], detail: str, do: str, **members: Any) -> None:
        """Try a change that must fail and leave everything as it was."""
        before = dict(self.schemas)
        error = self.assertRaises(kind, self.make, do, **members)
        self.assertEqual((error.detail, dict(self.schemas)), (detail, before))

    @property
    def order(self) -> dict[str, Any]:
        """The schema as JSON."""
        return schema_value(self.schemas["order"])

    def column(self, name: str) -> Any:
        """Return a column as JSON, None without it."""
        return self.order["column_types"].get(name)

    def field(self, name: str, **members: Any) -> Any:
        """Change a column and return it."""
        self.make("field", field=name, **members)
        return self.column(name)


class Definitions(ChangeCase):
    """Schemas come and go."""

    def test_create(self) -> None:
        """A new schema has the configured threshold and open events; names are split, once each."""
        self.assertEqual(
            (self.order["snapshot_threshold"], self.schemas["order"].created_at), (7, START)
        )
        self.make("create", aggregate="item", events=["b, a", "a"], snapshot_threshold=0)
        item = schema_value(self.schemas["item"])
        self.assertEqual(item["events"], {"a": {"fields": []}, "b": {"fields": []}})
        self.assertEqual(item["snapshot_threshold"], 0)
        self.assertEqual(list(self.schemas), ["item", "order"])
        self.assertEqual(self.warnings, [])

    def test_create_refused(self) -> None:
        """Blank names and existing schemas are refused, the aggregate's name first."""
        self.refused(InvalidSchema, "aggregate name must be provided", "create", aggregate=" ")
        self.refused(InvalidSchema, "at least one event must be provided", "create", events=[])
        self.refused(InvalidSchema, "event names cannot be empty", "create", events=["a,,b"])
        self.refused(SchemaExists, "", "create", events=["a"])
        error = self.assertRaises(
            InvalidSchema, self.make, "create", aggregate="x" * 129, events=["a"]
        )
        self.assertIn("128", error.detail)

    def test_names_that_match_nothing(self) -> None:
        """They are declared with a warning that says how they would be written."""
        self.make("create", aggregate="My Thing", events=["patient-added", "log.written", "ok_1"])
        self.assertEqual(len(self.warnings), 2)
        self.assertIn("'my_thing'", self.warnings[0])
        self.assertIn("'patient_added'", self.warnings[1])
        self.make("annotate", aggregate="My Thing", event="ok_1", note="said once is enough")
        self.assertEqual(self.warnings, [])

    def test_snake_case(self) -> None:
        """Words are found by separators and capitals."""
        for name, expected in {
            "OrderPaid": "order_paid",
            "HTTPRequest": "http_request",
            "a--b  c": "a_b_c",
            "9lives": None,
            "é": None,
        }.items():
            self.assertEqual(snake_case(name), expected, name)

    def test_put_and_delete(self) -> None:
        """A whole schema is put in place, keeping when it was made; it is deleted by name."""
        self.make("put_schema", schema={"locked": True, "events": {"e": {}}, "typo": 1})
        self.assertTrue(self.schemas["order"].locked)
        self.assertEqual(self.schemas["order"].created_at, START)
        self.assertEqual(self.schemas["order"].updated_at, LATER)
        self.assertIn("typo", self.warnings[0])
        self.refused(
            InvalidSchema,
            "field n must be a string",
            "put_schema",
            schema={"column_types": {"n": {"type": "integer", "regex": ["a"]}}},
        )
        self.make("delete_schema")
        self.assertEqual(self.schemas, {})
        self.refused(SchemaNotFound, "", "delete_schema")

    def test_marks(self) -> None:
        """Threshold, locks and visibility, each there and back."""
        self.make("set_threshold", snapshot_threshold=None)
        self.make("lock_aggregate")
        self.make("hide_aggregate")
        self.make("lock_field", field=" code ")
        self.make("hide_field", field="b")
        self.make("hide_field", field="a")
        self.make("hide_field", field="a")
        order = self.order
        self.assertEqual(
            [order[key] for key in ("snapshot_threshold", "locked", "hidden")], [None, True, True]
        )
        self.assertEqual((order["field_locks"], order["hidden_fields"]), (["code"], ["a", "b"]))
        self.make("lock_aggregate", locked=False)
        self.make("hide_aggregate", hidden=False)
        self.make("lock_field", field="code", locked=False)
        self.make("hide_field", field="b", hidden=False)
        order = self.order
        self.assertEqual([order["locked"], order["hidden"]], [False, False])
        self.assertEqual((order["field_locks"], order["hidden_fields"]), ([], ["a"]))
        self.refused(InvalidSchema, "field name cannot be empty", "hide_field", field=" ")

    def test_time_of_change(self) -> None:
        """It is kept also when nothing else changed."""
        self.make("lock_aggregate", locked=False, now_ns=LATER + 1)
        self.assertEqual(self.schemas["order"].updated_at, LATER + 1)
        self.assertEqual(self.schemas["order"].created_at, START)

    def test_what_was_wrong_before(self) -> None:
        """A declaration that machines once stored does not keep people from other changes."""
        broken: Any = {
            "column_types": {"n": {"type": "integer", "regex": ["a"]}},
            "events": {"e": {}},
        }
        self.schemas = {"order": read_schema(broken, "order", now_ns=START)}
        self.make("lock_aggregate")
        self.assertTrue(self.schemas["order"].locked)
        self.refused(
            InvalidSchema,
            "field m does not support length validation",
            "field",
            field="m",
            type="integer",
            set={"length": {"min": 1}},
        )

    def test_documents(self) -> None:
        """What is unknown, missing or of another kind is refused by name."""
        for members, word in (
            ({"do": "fly"}, "fly"),
            ({"do": "create"}, "at least one event"),
            ({"do": "add_events", "events": "a"}, "'events'"),
            ({"do": "add_events", "events": [1]}, "'events'"),
            ({"do": "lock_aggregate", "locked": 1}, "'locked'"),
            ({"do": "lock_aggregate", "lock": True}, "'lock'"),
            ({"do": "set_threshold", "snapshot_threshold": -1}, "'snapshot_threshold'"),
            ({"do": "set_threshold", "snapshot_threshold": True}, "'snapshot_threshold'"),
            ({"do": 1}, "'do'"),
        ):
            document: Any = {"aggregate": "order", **members}
            error = self.assertRaises(
                EventDBXError,
                apply_change,
                self.schemas,
                document,
                now_ns=1,
                default_threshold=None,
            )
            self.assertIn(word, str(error))
        others: list[Any] = [None, [], {"do": "create"}]
        for change in others:
            self.assertRaises(
                SerializationError, apply_change, {}, change, now_ns=1, default_threshold=None
            )


class Events(ChangeCase):
    """Events and their lists."""

    def test_add_and_remove(self) -> None:
        """Events that exist stay as they are; the last one stays."""
        self.make("alter_event", event="order_paid", add=["amount"])
        self.make("add_events", events=["order_paid", "order_sent"])
        self.assertEqual(self.order["events"]["order_paid"], {"fields": ["amount"]})
        self.refused(InvalidSchema, "event names cannot be empty", "add_events", events=[""])
        self.make("remove_event", event="order_paid")
        self.make("remove_event", event="order_sent")
        self.refused(
            LastEvent,
            "aggregate order must define at least one event",
            "remove_event",
            event="order_created",
        )
        self.refused(
            UndeclaredEvent,
            "event nope is not defined for aggregate order",
            "remove_event",
            event="nope",
        )
        self.refused(SchemaNotFound, "", "add_events", aggregate="nope", events=[])

    def test_notes(self) -> None:
        """A note has at most 128 characters; null clears it."""
        self.make("annotate", event=" order_paid ", note="€" * 128)
        self.assertEqual(self.order["events"]["order_paid"]["notes"], "€" * 128)
        self.refused(
            InvalidSchema,
            "default note for event order_paid cannot exceed 128 characters",
            "annotate",
            event="order_paid",
            note="n" * 129,
        )
        self.make("annotate", event="order_paid", note=None)
        self.assertNotIn("notes", self.order["events"]["order_paid"])
        self.refused(
            SchemaViolation,
            "event x is not defined for aggregate order",
            "annotate",
            event="x",
            note="n",
        )

    def test_lists(self) -> None:
        """Fields are added before others are taken away; set replaces."""
        self.make("alter_event", event="order_paid", add=["b", " a ", "b"], remove=["b"])
        self.assertEqual(self.order["events"]["order_paid"]["fields"], ["a"])
        self.make("alter_event", event="order_paid", set=["z", "y"])
        self.assertEqual(self.order["events"]["order_paid"]["fields"], ["y", "z"])
        self.make("alter_event", event="order_paid", set=[])
        self.assertEqual(self.order["events"]["order_paid"]["fields"], [])
        self.assertEqual(self.warnings, [])
        self.refused(
            InvalidSchema,
            "no changes requested; supply --add, --remove, --set, or --clear",
            "alter_event",
            event="order_paid",
        )
        self.refused(
            InvalidSchema,
            "--set entries cannot be empty",
            "alter_event",
            event="order_paid",
            set=[""],
        )

    def test_opening_an_event(self) -> None:
        """Taking the last field away lets any payload in, which is said."""
        self.make("alter_event", event="order_paid", add=["a", "b"])
        self.make("alter_event", event="order_paid", remove=["a"])
        self.assertEqual(self.warnings, [])
        self.make("alter_event", event="order_paid", remove=["b"])
        self.assertIn("accepts any payload", self.warnings[0])
        self.make("alter_event", event="order_paid", remove=["b"])
        self.assertEqual(self.warnings, [])

    def test_upcasters(self) -> None:
        """Each list of steps begins a revision; fewer lists than before are warned of."""
        step = {"op": "rename", "from": "/a", "to": "/b"}
        self.make("add_upcast", event="order_paid", steps=[step])
        self.make("add_upcast", event="order_paid", steps=[{**step, "from": "/b", "to": "/c"}])
        self.assertEqual(self.schemas["order"].events["order_paid"].revision, 3)
        self.make("set_upcast", event="order_paid", upcast=[[step]])
        self.assertIn("from revision 3 to 2", self.warnings[0])
        self.make("set_upcast", event="order_paid", upcast=None)
        self.assertEqual(self.schemas["order"].events["order_paid"].revision, 1)
        for steps in ([{"op": "fly"}], {"op": "rename"}, None):
            self.assertRaises(
                EventDBXError, self.make, "add_upcast", event="order_paid", steps=steps
            )
