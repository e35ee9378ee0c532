"""References: notation, canonical form, where they lie in a payload, how they are replaced."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.schemas.model import AggregateSchema, Column, ColumnType, ReferenceRule
from eventdbx.domain.schemas.references import (
    Reference,
    notation_fault,
    nulled,
    parse_reference,
    reference_paths,
    references_in,
    rule_fault,
    texts_at,
    with_values,
)
from eventdbx.errors import SchemaViolation

TEXT = ColumnType("text")
OBJECT = ColumnType("object")

domains = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
types = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
references = st.builds(Reference, domains, types, ids)
texts = st.text(alphabet="aB1#-_ é\u00a0", max_size=12)


def link(**rule: Any) -> Column:
    """Return a column of references."""
    return Column(type=TEXT, format="reference", reference=ReferenceRule(**rule))


SCHEMA = AggregateSchema(
    aggregate="farm",
    column_types={
        "owner": link(cascade="nullify"),
        "name": Column(type=TEXT),
        "blob": Column(type=ColumnType("json"), properties={"x": link()}),
        "site": Column(
            type=OBJECT,
            properties={
                "deep": Column(type=OBJECT, properties={"plot": link(integrity="weak")}),
                "address": link(),
            },
        ),
    },
)
PATHS = reference_paths(SCHEMA)


def parse(text: str) -> Reference:
    """Parse as seen from a farm of the domain ``default``."""
    return parse_reference(text, domain="default", aggregate_type="farm")


class NotationTests(SynchronousTestCase):
    """Which texts name an aggregate."""

    def test_three_forms(self) -> None:
        """The domain, and then the type, may be left out where they are the writer's own."""
        for text, wanted in (
            ("geo#address#a-1", Reference("geo", "address", "a-1")),
            ("address#a-1", Reference("default", "address", "a-1")),
            ("#f-2", Reference("default", "farm", "f-2")),
            ("  GEO#address#A_1\u3000", Reference("geo", "address", "A_1")),
        ):
            self.assertEqual(parse(text), wanted)
            self.assertIsNone(notation_fault(text))

    def test_refusals(self) -> None:
        """Each malformed text is refused with its own words."""
        long_id = "a" * 129
        for text, words in (
            (" ", "reference value cannot be empty"),
            ("a-1", "reference must be domain#aggregate#id, aggregate#id, or #id"),
            ("a#b#c#d", "reference must be domain#aggregate#id, aggregate#id, or #id"),
            ("##a", "reference segments cannot be empty"),
            ("a##b", "reference segments cannot be empty"),
            ("a#b#", "reference segments cannot be empty"),
            ("-a#b#c", "reference domain must begin with an ASCII letter or digit"),
            ("a.b#b#c", "reference domain may only contain letters, numbers, '-' or '_'"),
            ("\u212aa#b#c", "reference domain must begin with an ASCII letter or digit"),
            ("Address#a", "aggregate_type must be lowercase snake_case"),
            ("a#b c", "aggregate_id may only contain letters, numbers, underscores, or hyphens"),
            ("a# b", "aggregate_id cannot include leading or trailing whitespace"),
            (f"a#{long_id}", "aggregate_id cannot exceed 128 characters"),
        ):
            error = self.assertRaises(SchemaViolation, parse, text)
            self.assertEqual(error.detail, words, text)

    def test_notation_faults(self) -> None:
        """Column checks tell the two ways in which the notation itself can be wrong."""
        marks = "must use reference notation domain#aggregate#id, aggregate#id, or #id"
        no_id = "must specify an aggregate id after '#'"
        for text, words in (
            ("", marks), ("  ", marks), ("a", marks), ("a#b#c#d", marks),
            ("#", no_id), ("a#", no_id), ("a#b# ", no_id), ("#a", None), ("##a", None),
        ):  # fmt: skip
            self.assertEqual(notation_fault(text), words, text)

    @given(references)
    def test_canonical_text_is_its_own_parse(self, reference: Reference) -> None:
        """Parsing a canonical text gives the reference back, from wherever it is seen."""
        self.assertEqual(parse(str(reference)), reference)

    @given(texts)
    def test_canonicalising_twice_changes_nothing(self, text: str) -> None:
        """What parses has a canonical text that parses to the same; a fault never parses."""
        try:
            reference = parse(text)
        except SchemaViolation:
            return
        self.assertIsNone(notation_fault(text))
        self.assertEqual(str(parse(str(reference))), str(reference))


class PlaceTests(SynchronousTestCase):
    """Where references lie."""

    def test_paths_of_a_schema(self) -> None:
        """Objects are entered at any depth, json columns are not; the order is that of checks."""
        self.assertEqual([path.text for path in PATHS], ["owner", "site.address", "site.deep.plot"])

    def test_columns_without_the_format_hold_none(self) -> None:
        """Reference rules without the format declare nothing."""
        column = Column(type=TEXT, reference=ReferenceRule())
        schema = AggregateSchema(aggregate="a", column_types={"x": column})
        self.assertEqual(reference_paths(schema), ())

    def test_what_is_read(self) -> None:
        """Null, other kinds, missing parents and malformed texts are passed over."""
        state: dict[str, Any] = {
            "owner": None,
            "blob": {"x": "#f-1"},
            "site": {"address": "address#a-1", "deep": {"plot": "nonsense"}},
        }
        found = references_in(state, PATHS, domain="d", aggregate_type="farm")
        self.assertEqual(
            [(path.text, str(one)) for path, one in found], [("site.address", "d#address#a-1")]
        )
        self.assertEqual(list(texts_at({"site": [1], "owner": 5}, PATHS)), [])

    def test_an_object_kept_as_text_is_read(self) -> None:
        """States that only know texts still show the references inside their objects."""
        state: dict[str, Any] = {"site": '{"address":"#f-1"}', "owner": "#f-2"}
        found = [path.text for path, _text in texts_at(state, PATHS)]
        self.assertEqual(found, ["owner", "site.address"])
        self.assertEqual(list(texts_at({"site": "{broken"}, PATHS)), [])
        in_payload = [path.text for path, _text in texts_at(state, PATHS, payload=True)]
        self.assertEqual(in_payload, ["owner"])

    def test_rules(self) -> None:
        """A column may demand a tenant and a type, and says so by the path."""
        schema = AggregateSchema(
            aggregate="a",
            column_types={"x": link(tenant="Geo", aggregate_type="address")},
        )
        (path,) = reference_paths(schema)
        self.assertIsNone(rule_fault(path, Reference("geo", "address", "1")))
        self.assertEqual(
            rule_fault(path, Reference("geo", "farm", "1")),
            "reference x must target aggregate type address",
        )
        self.assertEqual(
            rule_fault(path, Reference("default", "farm", "1")),
            "reference x must target tenant/domain Geo",
        )


class ReplacementTests(SynchronousTestCase):
    """Payloads with other references in them."""

    state: dict[str, Any] = {
        "name": "n",
        "owner": "#f-1",
        "site": {"address": "#f-2", "zip": 1, "deep": {"plot": "#f-3", "keep": [1]}},
    }

    def test_with_values(self) -> None:
        """Only the paths change, and the original never does."""
        before = copy.deepcopy(self.state)
        changed = with_values(self.state, [(path, path.text) for path in PATHS])
        self.assertEqual(
            changed,
            {
                "name": "n",
                "owner": "owner",
                "site": {
                    "address": "site.address",
                    "zip": 1,
                    "deep": {"plot": "site.deep.plot", "keep": [1]},
                },
            },
        )
        self.assertEqual(self.state, before)

    def test_nulled(self) -> None:
        """A cleared nested reference brings its whole top-level object, others stay away."""
        before = copy.deepcopy(self.state)
        self.assertEqual(nulled(self.state, PATHS[:1]), {"owner": None})
        self.assertEqual(
            nulled(self.state, PATHS[1:]),
            {"site": {"address": None, "zip": 1, "deep": {"plot": None, "keep": [1]}}},
        )
        self.assertEqual(self.state, before)

    @given(
        st.dictionaries(
            st.sampled_from(["owner", "site", "name"]),
            st.recursive(
                st.none() | st.sampled_from(["#a", "b#c", "x"]),
                lambda inner: st.dictionaries(
                    st.sampled_from(["address", "deep", "plot"]), inner, max_size=3
                ),
                max_leaves=8,
            ),
        )
    )
    def test_canonical_payloads_hold_the_same_references(self, payload: dict[str, Any]) -> None:
        """Writing canonical texts at the places found changes no reference and nothing else."""
        found = list(references_in(payload, PATHS, domain="d", aggregate_type="farm"))
        changed = with_values(payload, [(path, str(one)) for path, one in found])
        again = list(references_in(changed, PATHS, domain="other", aggregate_type="other"))
        self.assertEqual(again, found)
        original = [(path, dict(texts_at(payload, [path]))[path]) for path, _reference in found]
        self.assertEqual(with_values(changed, original), payload)
