"""The portable layer of the documents, judged by a validator that knows nothing of ours."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.contract import compile_schema
from eventdbx.domain.schemas.json_schema import document, export
from eventdbx.domain.schemas.model import (
    AggregateSchema,
    Bounds,
    Column,
    ColumnType,
    EventRule,
    Length,
)
from eventdbx.domain.schemas.patterns import compile_pattern
from eventdbx.domain.schemas.portable_patterns import literal, portable_pattern
from tests.domain.schemas.strategies import Attempt, attempts, columns, nudged, values

TEXT = ColumnType("text")


def judge(found: dict[str, Any]) -> Any:
    """Return the independent validator of a document; formats are annotations to it."""
    return jsonschema_rs.validator_for(found, validate_formats=False)


def wrapped(payload: JSON) -> JSON:
    """Return the object that stands for a payload in documents."""
    if isinstance(payload, dict):
        return payload
    return {} if payload is None else {"_value": payload}


def of_float(column: Column) -> bool:
    """Return whether a column, or one inside it, compares doubles with a bound."""
    return column.type.name == "float" or any(map(of_float, column.properties.values()))


def beyond_doubles(value: JSON) -> bool:
    """Return whether a value has integers that a double cannot hold."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return any(map(beyond_doubles, inner))
    return type(value) is int and abs(value) > 2**53


@st.composite
def exact_columns(draw: st.DrawFn, depth: int = 2) -> Column:
    """Return a column of those that the standard keywords say exactly."""
    kind = draw(st.sampled_from(("text", "json", "object")))
    texts = st.lists(st.sampled_from(("a", "", ".", "a]", "é", "\n", "/")), max_size=2).map(tuple)
    if kind == "text":
        return Column(
            type=TEXT,
            required=draw(st.booleans()),
            contains=draw(texts),
            does_not_contain=draw(texts.map(lambda found: tuple(filter(None, found)))),
            regex=draw(st.sampled_from(((), ("^[a-z]+$",), ("a|b", "^.?.?$"), (r"^(ab)*\.?$",)))),
            length=draw(st.none() | st.builds(Length, st.none() | st.just(1), st.just(3))),
            format=draw(st.sampled_from((None, None, "snake_case", "pascal_case"))),
        )
    nested: dict[str, Column] = {}
    if kind == "object" and depth:
        nested = draw(
            st.dictionaries(st.sampled_from(("a", "b")), exact_columns(depth - 1), max_size=2)
        )
    return Column(type=ColumnType(kind), required=draw(st.booleans()), properties=nested)  # type: ignore[arg-type]


_INNER = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("aAb.]/é\n_", max_size=4),
    lambda inner: st.dictionaries(st.sampled_from(("a", "b")), inner, max_size=2),
    max_leaves=4,
)


class PortableDocumentTests(SynchronousTestCase):
    """What others' validators make of our contracts."""

    @settings(max_examples=600, deadline=None)
    @given(attempts())
    def test_whatever_we_accept_others_accept(self, attempt: Attempt) -> None:
        """A payload that fits the contract fits the portable document, and the full one."""
        schema, payload = attempt.schema, attempt.payload
        if any(map(of_float, schema.column_types.values())) and beyond_doubles(payload):
            return
        if compile_schema(schema).violations(attempt.event, payload):
            event("refused")
            return
        event("accepted")
        for portable in (False, True):
            found = document(schema, attempt.event, domain="default", portable=portable)
            self.assertTrue(judge(found).is_valid(wrapped(payload)), found)

    @settings(max_examples=1500, deadline=None)
    @given(columns(depth=1).flatmap(lambda one: st.tuples(st.just(one), values(one))))
    @example((Column(type=ColumnType("decimal", 4, 1)), "1.5_"))
    @example((Column(type=ColumnType("decimal", 4, 0)), "1.50e2"))
    @example((Column(type=ColumnType("integer")), "\x855\x85"))
    @example((Column(type=TEXT, regex=(r"^\d.$",)), "٣\r"))
    @example((Column(type=TEXT, format="reference"), " a##b\u2003"))
    @example((Column(type=ColumnType("float"), range=Bounds("1e400", "0.1")), 0.1))
    def test_whatever_a_column_takes_others_take(self, pair: tuple[Column, JSON]) -> None:
        """The same of single columns, which reaches deeper."""
        column, value = pair
        if of_float(column) and beyond_doubles(value):
            return
        schema = AggregateSchema(
            aggregate="thing", column_types={"f": column}, events={"opened": EventRule()}
        )
        fits = not compile_schema(schema).violations("opened", {"f": value})
        event(f"{column.type.name} {fits}")
        if fits:
            found = document(schema, "opened", domain="default", portable=True)
            self.assertTrue(judge(found).is_valid({"f": value}), found)

    @settings(max_examples=800, deadline=None)
    @given(
        st.dictionaries(st.sampled_from(("a", "b")), exact_columns(), max_size=2),
        st.dictionaries(st.sampled_from(("a", "b", "c")), _INNER, max_size=3),
        st.sampled_from(((), ("a",), ("a", "b"))),
    )
    def test_plain_contracts_are_said_exactly(
        self, declared: dict[str, Column], payload: dict[str, JSON], fields: tuple[str, ...]
    ) -> None:
        """Texts, objects and json columns with shared rules: both verdicts are always the same."""
        schema = AggregateSchema(
            aggregate="thing", column_types=declared, events={"e": EventRule(fields=fields)}
        )
        fits = not compile_schema(schema).violations("e", payload)
        event("accepted" if fits else "refused")
        found = document(schema, "e", domain="default", portable=True)
        self.assertIs(judge(found).is_valid(payload), fits)

    def test_a_portable_document_has_no_keyword_of_ours(self) -> None:
        """It is plain JSON Schema, as any tool reads it."""
        column = Column(type=ColumnType("decimal", 6, 2), range=Bounds("0", None))
        schema = AggregateSchema(
            aggregate="cart", column_types={"total": column}, events={"cart.paid": EventRule()}
        )
        for found in (
            document(schema, "cart_paid", domain="shop", portable=True),
            export(schema, domain="shop", portable=True),
        ):
            self.assertNotIn("x-dbx", str(found))
        self.assertIn("x-dbx-column", str(export(schema, domain="shop")))

    def test_a_document_in_full(self) -> None:
        """The document of an event, key by key."""
        schema = AggregateSchema(
            aggregate="order",
            field_locks=("id",),
            hidden_fields=("total",),
            column_types={
                "id": Column(type=TEXT),
                "total": Column(
                    type=ColumnType("integer"), required=True, range=Bounds(" 0", "+010")
                ),
            },
            events={"order_paid": EventRule(fields=("total",), notes="money arrived")},
        )
        found = document(schema, "order_paid", domain="shop")
        self.assertTrue(found.pop("$id").startswith("urn:eventdbx:shop:order:order_paid:"))
        self.assertEqual(
            found,
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "order_paid",
                "description": "money arrived",
                "type": "object",
                "properties": {
                    "id": {"type": "string", "readOnly": True, "x-dbx-column": "text"},
                    "total": {
                        "anyOf": [
                            {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
                            {
                                "type": "string",
                                "pattern": "^[\\s\\u0085]*[+-]?[0-9]+[\\s\\u0085]*$",
                            },
                        ],
                        "minimum": 0,
                        "maximum": 10,
                        "$comment": "approximation: x-dbx-column says it exactly",
                        "x-dbx-range": {"min": " 0", "max": "+010"},
                        "writeOnly": True,
                        "x-dbx-column": {
                            "type": "integer",
                            "required": True,
                            "range": {"min": " 0", "max": "+010"},
                        },
                    },
                },
                "required": ["total"],
                "propertyNames": {"enum": ["total"]},
                "x-dbx-event": {
                    "aggregate": "order",
                    "event": "order_paid",
                    "snapshot_threshold": None,
                    "locked": False,
                    "field_locks": ["id"],
                    "hidden": False,
                    "hidden_fields": ["total"],
                },
            },
        )

    def test_an_event_that_is_not_declared_takes_nothing(self) -> None:
        """Its document refuses everything."""
        schema = AggregateSchema(aggregate="order", events={"order_paid": EventRule()})
        for portable in (False, True):
            found = document(schema, "order_lost", domain="default", portable=portable)
            self.assertFalse(judge(found).is_valid({}))


SHARED = {
    "^a.b$": "^a[^\\n]b$",
    r"\Aa\z": "^a$",
    "(a|b){2,3}?": "(?:a|b){2,3}?",
    "(?:x)": "(?:x)",
    "()(a|)*": "(?:)(?:a|)*",
    r"a\-\.\_": "a-\\._",
    "[]a]": "[\\]a]",
    "[^a-z.-]": "[^a-z.\\-]",
    r"[\-\]\x41]": "[\\-\\]A]",
    "a]b}": "a\\]b\\}",
    r"\t/": "\\t\\/",
}
NOT_SHARED = (
    r"\d", r"\w+", r"[\s]", r"\bx", "(?i)a", "(?P<n>a)", r"\pL", "[a-z&&b]", "[a[b]]",
    "[[:alpha:]]", "()?", "((^)|)*", "^*", "[a--b]", r"\p{Greek}",
)  # fmt: skip


class PortablePatternTests(SynchronousTestCase):
    """Patterns that every dialect shares."""

    def test_what_is_shared(self) -> None:
        """Shared patterns are spelled so that all read them alike."""
        self.assertEqual({one: portable_pattern(one) for one in SHARED}, SHARED)

    def test_what_is_not(self) -> None:
        """Whatever differs somewhere has no portable form."""
        found = [one for one in NOT_SHARED if portable_pattern(one) is not None]
        self.assertEqual(found, [])

    @settings(max_examples=1000, deadline=None)
    @given(
        st.text(st.sampled_from("ab[]()^$|*+?{}\\-&~.,1#/ é\n"), max_size=8),
        nudged(st.sampled_from(("", "a", "ab", "b]", "a\nb", "]}", "-", "é\r", "a.b"))),
    )
    def test_portable_forms_mean_the_same(self, pattern: str, text: str) -> None:
        """Where there is a portable form, another engine finds with it what ours finds."""
        try:
            compiled = compile_pattern(pattern)
        except ValueError:
            return
        portable = portable_pattern(pattern)
        event("shared" if portable is not None else "not shared")
        if portable is not None:
            other = judge({"type": "string", "pattern": portable})
            self.assertIs(other.is_valid(text), compiled.search(text), portable)

    @given(st.text(max_size=8), st.text(max_size=8))
    def test_literals_find_themselves(self, needle: str, around: str) -> None:
        """The pattern of a text finds that text, in our dialect too."""
        for text in (needle, around, around + needle + around):
            found = needle in text
            self.assertIs(judge({"pattern": literal(needle)}).is_valid(text), found)
            self.assertIs(compile_pattern(literal(needle)).search(text), found)
