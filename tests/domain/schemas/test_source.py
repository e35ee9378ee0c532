"""The schema language: what texts mean, and where in them a mistake is."""

from __future__ import annotations

import json
import re

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.schemas.model import AggregateSchema, SchemaSet
from eventdbx.domain.schemas.reading import read_schemas
from eventdbx.domain.schemas.source import compile_source, parse_source
from eventdbx.domain.schemas.source_writing import source_text
from eventdbx.domain.schemas.writing import schemas_document, without_times
from eventdbx.errors import InvalidSchema
from tests.domain.schemas.sets import schema_sets

TIMES = '"created_at":"1970-01-01T00:00:00Z","updated_at":"1970-01-01T00:00:00Z"'
ORDER = """aggregate order { snapshot_threshold = 100   field status { type = "text" }
  event order_created { fields = ["status"] }   event order_paid { fields = ["status"] } }
"""
PEOPLE = """# people
aggregate person {
  hidden_fields = ["internal_notes"]   field_locks = ["id"]
  field email   { type = "STRING" rules = {"required": true, "format": "email"} }
  field manager { type = "reference" hidden = true locked = true
                  rules = {"reference": {"aggregate_type": "person", "cascade": "restrict"}} }
  field profile { type = "object"
                  rules = {"properties": {"country": {"type": "text", "format": "country_code"},
                                          "nickname": {"type": "text", "length": {"max": 32}}}} }
  event person_created { fields = ["manager", "email"] note = "Initial import" }
  event person_updated {}
}
"""
QUOTED = """aggregate "audit log" { locked = true hidden = true event "log.written" {} }   // two
aggregate invoice{
  field amount{type="numeric( 12 , 2 )" rules={"range":{"min":"0.00"}}}
  field customer{type="ref"} field due{type="date" rules={}}
  event invoice_issued{fields=["amount"," customer "]note=null}
}
"""

# A text, and the JSON of what it means; T stands for the times.
EXAMPLES: tuple[tuple[str, str], ...] = (
    ("", "{}"),
    (" # nothing\n// at all\u2003\u2028", "{}"),
    (
        ORDER,
        '{"order":{"aggregate":"order","snapshot_threshold":100,"locked":false,"field_locks":[],'
        '"hidden":false,"hidden_fields":[],"column_types":{"status":"text"},"events":{'
        '"order_created":{"fields":["status"]},"order_paid":{"fields":["status"]}},T}}',
    ),
    (
        PEOPLE,
        '{"person":{"aggregate":"person","snapshot_threshold":null,"locked":false,"field_locks":['
        '"id","manager"],"hidden":false,"hidden_fields":["internal_notes","manager"],'
        '"column_types":{"email":{"type":"text","required":true,"format":"email"},"manager":{'
        '"type":"text","format":"reference","reference":{"integrity":"strong","aggregate_type":'
        '"person","cascade":"restrict"}},"profile":{"type":"object","properties":{"country":{'
        '"type":"text","format":"country_code"},"nickname":{"type":"text","length":{"min":null,'
        '"max":32}}}}},"events":{"person_created":{"fields":["email","manager"],"notes":'
        '"Initial import"},"person_updated":{"fields":[]}},T}}',
    ),
    (
        QUOTED,
        '{"audit log":{"aggregate":"audit log","snapshot_threshold":null,"locked":true,'
        '"field_locks":[],"hidden":true,"hidden_fields":[],"column_types":{},"events":{'
        '"log.written":{"fields":[]}},T},"invoice":{"aggregate":"invoice","snapshot_threshold":'
        'null,"locked":false,"field_locks":[],"hidden":false,"hidden_fields":[],"column_types":{'
        '"amount":{"type":"decimal(12,2)","range":{"min":"0.00","max":null}},"customer":{"type":'
        '"text","format":"reference","reference":{"integrity":"strong","cascade":"none"}},"due":'
        '"date"},"events":{"invoice_issued":{"fields":["amount","customer"]}},T}}',
    ),
    (
        'aggregate a#b { event a//b {upcast=[[{"op":"rename","from":"/a","to":"/b"}]]}} # end',
        '{"a#b":{"aggregate":"a#b","snapshot_threshold":null,"locked":false,"field_locks":[],'
        '"hidden":false,"hidden_fields":[],"column_types":{},"events":{"a//b":{"fields":[],'
        '"upcast":[[{"op":"rename","from":"/a","to":"/b"}]]}},T}}',
    ),
    (
        'aggregate a { event e {} locked=false hidden =#c\ntrue snapshot_threshold = null'
        ' field r { type = "text" rules = {"reference": {}, "format": "email"} } }',
        '{"a":{"aggregate":"a","snapshot_threshold":null,"locked":false,"field_locks":[],'
        '"hidden":true,"hidden_fields":[],"column_types":{"r":{"type":"text","format":'
        '"reference","reference":{"integrity":"strong","cascade":"none"}}},"events":{"e":{'
        '"fields":[]}},T}}',
    ),
)  # fmt: skip

# A text, and why it is refused. «» marks the place that the message must name.
REFUSED: tuple[tuple[str, str], ...] = (
    ("type«» order {}", "expected `aggregate`, found `type`"),
    ("\ufeffaggregate«» a {}", "expected `aggregate`, found `\ufeffaggregate`"),
    ("«»{", "expected token"),
    ("«»}", "expected token"),
    ("aggregate a { event e {} }\n «»}", "expected token"),
    ("aggregate a { event e {}\n«»", "expected token"),
    ("aggregate a { «»= 1 }", "expected token"),
    ("aggregate«»", "expected name"),
    ("aggregate «»{", "expected name"),
    ("aggregate a «»b", "expected `{`, found `b`"),
    ("aggregate a «»}", "expected `{`, found `}`"),
    ("aggregate a«»", "expected `{`, found end of file"),
    ("aggregate ä { locked «»true }", "expected `=`, found `t`"),
    ("aggregate a { locked«»", "expected `=`, found end of file"),
    ("aggregate a { colour«» = 1 }", "unsupported aggregate property `colour`"),
    ("aggregate a { locked = true ;«» }", "unsupported aggregate property `;`"),
    ('aggregate a { "locked"«» = true }', 'unsupported aggregate property `"locked"`'),
    ("aggregate a {\n\n  field f { colour«» = 1 } }", "unsupported field property `colour`"),
    ("aggregate a { event e { notes«» = 1 } }", "unsupported event property `notes`"),
    ("aggregate a { field f { field«» g {} } }", "unsupported field property `field`"),
    ("aggregate a { locked = «»", "expected JSON value"),
    ("aggregate a { locked = «»}", "invalid JSON value: expected value"),
    ("aggregate a { locked = tr«»ü }", "invalid JSON value: expected ident"),
    ("aggregate a { locked = tru«» }", "invalid JSON value: EOF while parsing a value"),
    ("aggregate a { snapshot_threshold = 100«»#x }", "invalid JSON value: trailing characters"),
    ("aggregate a { snapshot_threshold = 0«»1 }", "invalid JSON value: invalid number"),
    ('aggregate a { field_locks = ["ä",\n "é" «»2] }', "invalid JSON value: expected `,` or `]`"),
    ('aggregate a { field_locks = ["ä", «»# c\n "b"] }', "invalid JSON value: expected value"),
    ('aggregate a { field_locks = ["ä" «»}', "invalid JSON value: expected `,` or `]`"),
    ('aggregate a { field_locks = ["ä" «»', "invalid JSON value: EOF while parsing a list"),
    ('aggregate "ä«»', "invalid JSON value: EOF while parsing a string"),
    ('aggregate "ä\\«»x" {}', "invalid JSON value: invalid escape"),
    ("aggregate a { locked = true «»locked = true }", "locked cannot be defined more than once"),
    (
        'aggregate a { field f { type = "text" «»type = "text" } }',
        "type cannot be defined more than once",
    ),
    ("aggregate a { event e {} } «»aggregate a {}", "aggregate a is defined more than once"),
    ('«»aggregate " " { event e {} }', "aggregate name cannot be empty"),
    ("«»aggregate a { locked = true }", "aggregate a must define at least one event"),
    *(
        (
            f"aggregate a {{ event e {{}} «»snapshot_threshold = {value} }}",
            "snapshot_threshold must be a non-negative integer or null",
        )
        for value in ("-1", "1.0", "true", '"1"', "18446744073709551616")
    ),
    ("aggregate a { event e {} «»locked = 1 }", "locked must be a JSON boolean"),
    ("aggregate a { event e {} «»hidden = null }", "hidden must be a JSON boolean"),
    (
        "aggregate a { event e {} «»hidden_fields = {} }",
        "hidden_fields must be a JSON array of strings",
    ),
    (
        'aggregate a { event e {} «»hidden_fields = ["a", " "] }',
        "hidden_fields entries cannot be empty",
    ),
    (
        "aggregate a { event e {} «»field_locks = [1] }",
        "field_locks must be a JSON array of strings",
    ),
    ('aggregate a { event e {} «»field_locks = [""] }', "field_locks entries cannot be empty"),
    (
        'aggregate a { event e {} field f {type="text"} «»field f {} }',
        "field f is defined more than once in aggregate a",
    ),
    ('aggregate a { event e {} field f { «»hidden = "" } }', "field.hidden must be a JSON boolean"),
    ("aggregate a { event e {} field f { «»locked = 0 } }", "field.locked must be a JSON boolean"),
    ("aggregate a { event e {} «»field f {} }", "field f in aggregate a must define type"),
    ("aggregate a { event e {} field f { «»type = 1 } }", "field.type must be a JSON string"),
    (
        'aggregate a { event e {} field f { type = "text" «»rules = [] } }',
        "field.rules must be a JSON object",
    ),
    (
        'aggregate a { event e {} field f { type = "text" «»rules = {"length": 1} } }',
        "failed to parse field.rules: expected an object, found a number at /length",
    ),
    ('aggregate a { event e {} field f { «»type = "  " } }', "field.type cannot be empty"),
    ('aggregate a { event e {} field f { «»type = "uuid" } }', "invalid column type 'uuid'"),
    (
        'aggregate a { event e {}\n«»field f { type = "int" rules = {"regex": ["a"]} } }',
        "field f must be a string",
    ),
    (
        'aggregate a { event e {} «»field f { type = "decimal(39,1)" } }',
        "field f decimal precision must be between 1 and 38",
    ),
    ("aggregate a { event e {} «»event e {} }", "event e is defined more than once in aggregate a"),
    (
        "aggregate a { event e { «»fields = null } }",
        "event.fields must be a JSON array of strings",
    ),
    ('aggregate a { event e { «»fields = ["  "] } }', "event.fields entries cannot be empty"),
    ("aggregate a { event e { «»note = [] } }", "event.note must be a JSON string or null"),
    (
        f'aggregate a {{ «»event e {{ note = "{"é" * 129}" }} }}',
        "default note for event e cannot exceed 128 characters",
    ),
    (
        "aggregate a { event e { «»upcast = [{}] } }",
        "failed to parse event.upcast: expected an array, found an object at /0",
    ),
    (
        'aggregate a { «»event e { upcast = [[{"op":"default","path":"","value":1}]] } }',
        "event e upcaster 1 of revision 1: '' is the whole payload",
    ),
    (
        "«»aggregate a { event a.b {} event a_b {} }",
        "events a.b and a_b are one event: dots count as underscores",
    ),
    ("aggregate a { event e {} } «»\ud800", "invalid unicode code point"),
)  # fmt: skip

PIECES = st.sampled_from(
    (
        "aggregate", "field", "event", "type", "rules", "fields", "note", "upcast", "locked",
        "hidden", "snapshot_threshold", " ", "\n", "{", "}", "=", '"', '"a"', "[", "]", ",", "#",
        "//", "true", "null", "1e999", "-", "a", "é", '"text"', '{"length":{"min":1}}', "\\",
        '["a"]', "\U0001f600", "\r", "\x00", "[[{}]]", "{}",
    )
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Return a good text from which a piece was cut, and into which others were put."""
    text = draw(st.sampled_from((ORDER, PEOPLE, QUOTED)))
    start = draw(st.integers(0, len(text)))
    end = start + draw(st.integers(0, 6))
    return text[:start] + "".join(draw(st.lists(PIECES, max_size=2))) + text[end:]


class Meaning(SynchronousTestCase):
    """What texts mean."""

    def test_examples_mean_their_json(self) -> None:
        """Texts compile to the JSON that is written for them."""
        for text, document in EXAMPLES:
            schemas = parse_source(text, now_ns=0)
            expected = document.replace(",T}", f",{TIMES}}}")
            self.assertEqual(schemas_document(schemas).decode(), expected)

    def test_each_fault_names_its_place(self) -> None:
        """Line and column of a mistake are those of the character where it is noticed."""
        for marked, reason in REFUSED:
            *_, after = marked.split("«»")
            text = marked.replace("«»", "")
            before = text[: len(text) - len(after)]
            line = before.count("\n") + 1
            column = len(before) - before.rfind("\n")
            with self.assertRaises(InvalidSchema) as caught:
                parse_source(text, now_ns=0)
            expected = f"{reason} at line {line}, column {column}"
            self.assertEqual(caught.exception.detail, expected, marked)

    def test_texts_have_a_largest_size(self) -> None:
        """A source is at most as long as a set of schemas."""
        with self.assertRaises(InvalidSchema):
            parse_source("é" * (limits.SCHEMA_SET_BYTES_MAX // 2 + 1), now_ns=0)

    def test_what_is_ignored_is_said_with_its_place(self) -> None:
        """Unknown keys of rules and names that no event has are warnings."""
        text = 'aggregate a {\n field f { type="ref" rules={"requird": 1} }\n event e-f {} }'
        self.assertEqual(
            compile_source(text, now_ns=0).warnings,
            [
                "field f: unknown key `requird` is ignored at line 2, column 2",
                "event 'e-f' can never match an event: event types are snake_case; call it 'e_f'",
            ],
        )

    def test_numbers_of_bounds_keep_their_digits(self) -> None:
        """A bound that is written as a number is not rounded."""
        rules = '{"range":{"max":9%s.10}}'
        text = f'aggregate a {{ field f {{ type="decimal(38,2)" rules={rules} }} event e {{}} }}'
        bounds = parse_source(text % ("0" * 30), now_ns=0)["a"].column_types["f"].range
        assert bounds is not None
        self.assertEqual(bounds.max, "9" + "0" * 30 + ".10")

    def test_times_of_unchanged_schemas_are_kept(self) -> None:
        """A type keeps its creation; its last update is now only if something else differs."""
        old = parse_source(ORDER, now_ns=1_000)
        self.assertEqual(parse_source(ORDER, now_ns=9_000, stored=old), old)
        other = parse_source(ORDER.replace("100", "50"), now_ns=9_000, stored=old)["order"]
        self.assertEqual((other.created_at, other.updated_at), (1_000, 9_000))
        new = parse_source(PEOPLE, now_ns=9_000, stored=old)["person"]
        self.assertEqual((new.created_at, new.updated_at), (9_000, 9_000))


class Garbage(SynchronousTestCase):
    """Texts that mean nothing."""

    def check(self, text: str) -> None:
        """A text is compiled, or refused at a place that it has."""
        try:
            parse_source(text, now_ns=0)
        except InvalidSchema as error:
            found = re.search(r" at line (\d+), column (\d+)$", error.detail)
            assert found is not None, error.detail
            line, column = int(found[1]), int(found[2])
            lines = text.split("\n")
            self.assertTrue(1 <= line <= len(lines), error.detail)
            self.assertTrue(1 <= column <= len(lines[line - 1]) + 1, error.detail)

    @given(st.lists(PIECES, max_size=30).map("".join))
    @example("aggregate a { locked = " + "[" * 100_000)
    @example('aggregate a { locked = "' + "\\" * 100_001)
    @example("aggregate a { snapshot_threshold = " + "9" * 10_000)
    def test_any_pieces_are_refused_at_a_place_in_the_text(self, text: str) -> None:
        """Nothing but a refusal comes of words and marks in any order."""
        self.check(text)

    @given(damaged())
    def test_damage_is_found_at_a_place_in_the_text(self, text: str) -> None:
        """Nothing but a refusal comes of a good text with a few characters changed."""
        self.check(text)

    @given(st.text(max_size=40))
    def test_any_text_is_refused_at_a_place_in_it(self, text: str) -> None:
        """Nothing but a refusal comes of any text."""
        self.check(text)
        self.check("aggregate a {" + text)
        self.check('aggregate a { event e { note = "' + text)


class Writing(SynchronousTestCase):
    """Schemas as texts of the language."""

    @given(schema_sets())
    def test_what_is_written_means_the_same(self, schemas: SchemaSet) -> None:
        """Any set that may be declared comes back from its source."""
        again = parse_source(source_text(schemas), now_ns=0)
        self.assertEqual(list(again), list(schemas))
        for name, schema in schemas.items():
            self.assertEqual(
                json.dumps(without_times(again[name])), json.dumps(without_times(schema))
            )

    def test_sources_are_laid_out_for_people(self) -> None:
        """One block a line while it is short, marks at the field that they are about."""
        self.assertEqual(
            source_text(parse_source(ORDER + PEOPLE, now_ns=0)),
            """\
aggregate order {
  snapshot_threshold = 100
  field status { type = "text" }
  event order_created { fields = ["status"] }
  event order_paid { fields = ["status"] }
}

aggregate person {
  hidden_fields = ["internal_notes"]
  field_locks = ["id"]
  field email {
    type = "text"
    rules = {"required": true, "format": "email"}
  }
  field manager {
    type = "reference"
    rules = {
      "reference": {
        "integrity": "strong",
        "aggregate_type": "person",
        "cascade": "restrict"
      }
    }
    hidden = true
    locked = true
  }
  field profile {
    type = "object"
    rules = {
      "properties": {
        "country": {
          "type": "text",
          "format": "country_code"
        },
        "nickname": {
          "type": "text",
          "length": {
            "min": null,
            "max": 32
          }
        }
      }
    }
  }
  event person_created {
    fields = ["email", "manager"]
    note = "Initial import"
  }
  event person_updated {}
}
""",
        )

    def test_what_the_language_cannot_say_is_written_all_the_same(self) -> None:
        """A type without events is written, and its text says what is missing when it is read."""
        text = source_text({"a": AggregateSchema(aggregate="a")})
        self.assertEqual(text, "aggregate a {\n}\n")
        with self.assertRaises(InvalidSchema):
            parse_source(text, now_ns=0)

    def test_an_empty_set_is_an_empty_text(self) -> None:
        """No schemas, no words."""
        self.assertEqual(source_text(read_schemas("{}", now_ns=0)[0]), "")
