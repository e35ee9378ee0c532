"""Changes of columns, and the Admin API's updates: what they leave and what they refuse."""

from __future__ import annotations

from typing import Any

from eventdbx.domain.schemas.edits import UndeclaredEvent
from eventdbx.errors import InvalidSchema, SerializationError
from tests.domain.schemas.test_changes import ChangeCase


class Columns(ChangeCase):
    """Types and rules."""

    def test_type(self) -> None:
        """A type alone drops the rules; with rules beside it the old ones stay."""
        self.assertEqual(self.field("n", type=" STRING "), "text")
        self.field("n", set={"required": True, "length": {"min": 2}})
        self.assertEqual(
            self.field("n", type="binary", set={"length": {"max": 4}}),
            {"type": "binary", "required": True, "length": {"min": 2, "max": 4}},
        )
        self.assertEqual(self.field("n", type="text"), "text")
        self.assertIsNone(self.field("n", type=None))
        self.assertIsNone(self.field("never", type=None))
        self.refused(InvalidSchema, "invalid column type 'x'", "field", field="n", type="x")

    def test_no_column(self) -> None:
        """Rules need a column, locks do not."""
        none = "field n has no column type; set --type before editing rules"
        self.refused(InvalidSchema, none, "field", field="n", set={"required": True})
        self.refused(InvalidSchema, none, "field", field="n", rules={"required": True})
        self.refused(
            InvalidSchema, "field n does not have rules to clear", "field", field="n", rules=None
        )
        self.assertIsNone(self.field("n", locked=True))
        self.assertEqual(self.order["field_locks"], ["n"])
        self.assertIsNone(self.field("n", locked=False))
        self.assertEqual(self.order["field_locks"], [])
        self.refused(
            InvalidSchema,
            "no changes requested; pass --type, --rules, or at least one rule flag",
            "field",
            field="n",
        )
        error = self.assertRaises(
            InvalidSchema, self.make, "field", field="n", type=None, set={"required": True}
        )
        self.assertIn("--clear-type cannot be combined", error.detail)

    def test_bounds_merge(self) -> None:
        """One bound leaves the other; null clears one or both."""
        self.field("q", type="integer", set={"range": {"min": "1", "max": "9"}})
        self.assertEqual(
            self.field("q", set={"range": {"min": "2"}})["range"], {"min": "2", "max": "9"}
        )
        self.assertEqual(
            self.field("q", set={"range": {"max": None}})["range"], {"min": "2", "max": None}
        )
        self.assertEqual(self.field("q", set={"range": {"min": None}}), "integer")
        self.field("q", set={"range": {"min": "1"}})
        self.assertEqual(self.field("q", set={"range": None}), "integer")

    def test_lists_replace(self) -> None:
        """A given list takes the place of the old one; empty entries are refused."""
        self.field("t", type="text", set={"contains": ["a", "b"], "regex": ["^x{1,3}$"]})
        self.assertEqual(
            self.field("t", set={"contains": ["c"]}),
            {"type": "text", "contains": ["c"], "regex": ["^x{1,3}$"]},
        )
        self.assertEqual(self.field("t", set={"contains": None, "regex": None}), "text")
        for rule, name in (
            ("contains", "contains"),
            ("does_not_contain", "does-not-contain"),
            ("regex", "regex"),
        ):
            self.refused(
                InvalidSchema,
                f"{name} entries cannot be empty",
                "field",
                field="t",
                set={rule: [""]},
            )

    def test_all_rules(self) -> None:
        """``rules`` replaces everything, but nested columns outlive a silent one."""
        nested = {"city": {"type": "text", "required": True}}
        self.field("o", type="object", set={"properties": nested, "required": True})
        self.assertEqual(self.field("o", rules={}), {"type": "object", "properties": nested})
        self.assertEqual(
            self.field("o", rules={"properties": {"zip": "text"}})["properties"], {"zip": "text"}
        )
        self.assertEqual(self.field("o", set={"properties": None}), "object")
        self.field("o", set={"properties": nested})
        self.assertEqual(self.field("o", rules=None), "object")
        self.make("field", field="o", rules={"typo": 1})
        self.assertIn("typo", self.warnings[0])
        wrong: list[Any] = [[], {"length": 3}, {"regex": [1]}]
        for rules in wrong:
            self.assertRaises(SerializationError, self.make, "field", field="o", rules=rules)
        self.assertRaises(SerializationError, self.make, "field", field="o", set={"typo": 1})

    def test_references(self) -> None:
        """A reference always has its format; its rules are edited one by one."""
        default = {"integrity": "strong", "cascade": "none"}
        self.assertEqual(
            self.field("c", type="Aggregate-Reference"),
            {"type": "text", "format": "reference", "reference": default},
        )
        self.field("c", set={"reference": {"aggregate_type": " customer ", "tenant": "geo"}})
        self.assertEqual(
            self.field("c", set={"reference": {"cascade": "nullify", "tenant": ""}})["reference"],
            {"integrity": "strong", "aggregate_type": "customer", "cascade": "nullify"},
        )
        self.assertEqual(
            self.field("c", type="reference", set={"required": True})["format"], "reference"
        )
        self.assertEqual(self.field("c", set={"format": None}), {"type": "text", "required": True})
        self.field("c", type="reference")
        self.assertEqual(
            self.field("c", set={"format": "iso_8601"}),
            {"type": "text", "required": True, "format": "iso8601"},
        )
        flags = (
            "reference flags require a reference field; set --type reference or --format reference"
        )
        weak = {"reference": {"integrity": "weak"}}
        self.refused(InvalidSchema, flags, "field", field="c", set=weak)
        self.assertEqual(
            self.field("c", set={"format": "reference", **weak})["reference"]["integrity"], "weak"
        )
        self.assertEqual(self.field("d", type="ref", set=weak)["reference"]["integrity"], "weak")

    def test_impossible(self) -> None:
        """What no event can satisfy is refused with the words of its first refusal."""
        described: list[tuple[dict[str, Any], str]] = [
            ({"type": "integer", "set": {"format": "email"}}, "field x must be a string"),
            (
                {"type": "text", "set": {"range": {"min": "1"}}},
                "field x does not support range validation",
            ),
            (
                {"type": "text", "set": {"properties": {"a": "text"}}},
                "field x cannot define nested properties on non-object type",
            ),
        ]
        for members, detail in described:
            self.refused(InvalidSchema, detail, "field", field="x", **members)
        others: list[dict[str, Any]] = [
            {"type": "text", "set": {"regex": ["("]}},
            {"type": "integer", "set": {"range": {"min": "9", "max": "1"}}},
            {"type": "integer", "set": {"range": {"min": "soon"}}},
            {"type": "decimal(2,3)"},
        ]
        for members in others:
            self.assertRaises(InvalidSchema, self.make, "field", field="x", **members)
        self.assertEqual(self.order["column_types"], {})
        self.field("t", type="timestamp", set={"format": "iso8601"})


class Updates(ChangeCase):
    """What the Admin API's PATCH does."""

    def test_everything_at_once(self) -> None:
        """All members are applied, in the order of the model."""
        self.make(
            "update",
            snapshot_threshold=None,
            locked=True,
            field_lock={"field": "code", "lock": True},
            hidden=True,
            hidden_field={"field": "secret", "hide": True},
            column_types={"email": {"type": "text", "format": "email"}, "qty": "int"},
            set_fields={"order_paid": ["a", "b"]},
            add_fields={"order_paid": ["c"], "order_new": ["x"]},
            remove_fields={"order_paid": ["a", "zz"], "nope": ["a"]},
            event_notes={"order_new": "fresh"},
        )
        order = self.order
        self.assertEqual(
            [order[key] for key in ("snapshot_threshold", "locked", "hidden")], [None, True, True]
        )
        self.assertEqual((order["field_locks"], order["hidden_fields"]), (["code"], ["secret"]))
        self.assertEqual(
            order["column_types"],
            {"email": {"type": "text", "format": "email"}, "qty": "integer"},
        )
        self.assertEqual(
            order["events"],
            {
                "order_created": {"fields": []},
                "order_new": {"fields": ["x"], "notes": "fresh"},
                "order_paid": {"fields": ["b", "c"]},
            },
        )
        self.make("update", remove_fields={"order_new": ["x"]}, column_types={"qty": None})
        self.assertIn("accepts any payload", self.warnings[0])
        self.assertEqual(list(self.order["column_types"]), ["email"])

    def test_nulls_say_nothing(self) -> None:
        """But for the threshold, which null clears; left out it stays."""
        nothing: dict[str, Any] = {
            "locked": None, "field_lock": None, "hidden": None, "hidden_field": None,
            "column_types": None, "set_fields": None, "add_fields": None, "remove_fields": None,
            "event_notes": None,
        }  # fmt: skip
        before = {**self.order, "updated_at": None}
        self.make("update", **nothing)
        self.assertEqual({**self.order, "updated_at": None}, before)
        self.assertEqual(self.order["snapshot_threshold"], 7)
        self.make("update", snapshot_threshold=None)
        self.assertIsNone(self.order["snapshot_threshold"])

    def test_refused(self) -> None:
        """Nothing is changed by an update of which one part is wrong."""
        wrong: list[dict[str, Any]] = [
            {"field_lock": {"field": "a"}},
            {"field_lock": "a"},
            {"column_types": {"a": 1}},
            {"column_types": {"a": {"required": True}}},
            {"add_fields": {"order_paid": "a"}},
            {"event_notes": {"order_paid": 1}},
            {"colum_types": {}},
        ]
        for members in wrong:
            before = dict(self.schemas)
            self.assertRaises(SerializationError, self.make, "update", locked=True, **members)
            self.assertEqual(dict(self.schemas), before, members)
        self.refused(
            UndeclaredEvent,
            "event x is not defined for aggregate order",
            "update",
            event_notes={"x": "n"},
        )
        self.refused(
            InvalidSchema, "field names cannot be empty", "update", add_fields={"order_paid": [" "]}
        )
