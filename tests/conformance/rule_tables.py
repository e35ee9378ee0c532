"""What each rule of a column demands, and which rules a type can never satisfy."""

from __future__ import annotations

from tests.conformance.case import Table

_NO_LENGTH = "field f does not support length validation"
_NO_RANGE = "field f does not support range validation"
_NO_PROPERTIES = "field f cannot define nested properties on non-object type"
_TEXT = "field f must be a string"

TEXT_RULES: tuple[Table, ...] = (
    Table(
        "contains",
        {"type": "text", "contains": ["@", "b"]},
        (
            ('"a@b"', None),
            ('"b@"', None),
            ('"ab"', "field f must contain '@'"),
            ('"a@B"', "field f must contain 'b'"),
            ('""', "field f must contain '@'"),
            ("1", _TEXT),
        ),
    ),
    Table(
        "contains the empty text", {"type": "text", "contains": [""]}, (('""', None), ('"x"', None))
    ),
    Table(
        "does not contain",
        {"type": "text", "does_not_contain": ["<", "x y"]},
        (
            ('"xy"', None),
            ('""', None),
            ('"a<b"', "field f must not contain '<'"),
            ('"x y"', "field f must not contain 'x y'"),
        ),
    ),
    Table(
        "does not contain the empty text",
        {"type": "text", "does_not_contain": [""]},
        (('""', "field f must not contain ''"), ('"x"', "field f must not contain ''")),
    ),
    Table(
        "pattern that searches",
        {"type": "text", "regex": ["[0-9]{2}"]},
        (
            ('"ab12cd"', None),
            ('"12"', None),
            ('"1a2"', "field f must match pattern [0-9]{2}"),
            ('""', "field f must match pattern [0-9]{2}"),
        ),
    ),
    Table(
        "pattern with anchors",
        {"type": "text", "regex": ["^[a-z]+$"]},
        (
            ('"abc"', None),
            ('"abc\\n"', "field f must match pattern ^[a-z]+$"),
            ('"aBc"', "field f must match pattern ^[a-z]+$"),
        ),
    ),
    Table(
        "pattern with Unicode classes",
        {"type": "text", "regex": [r"^\w+\d$"]},
        (
            ('"Zo\\u00eb7"', None),
            ('"Zo\\u00eb\\u0663"', None),
            ('"Zo-7"', r"field f must match pattern ^\w+\d$"),
        ),
    ),
    Table(
        "several patterns",
        {"type": "text", "regex": ["a", "(?i)B"]},
        (
            ('"ab"', None),
            ('"aB"', None),
            ('"a"', "field f must match pattern (?i)B"),
            ('"b"', "field f must match pattern a"),
        ),
    ),
    Table(
        "length of a text",
        {"type": "text", "length": {"min": 2, "max": 4}},
        (
            ('"ab"', None),
            ('"abcd"', None),
            ('"\\ud83d\\ude00\\ud83d\\ude00"', None),
            ('"\\u00eb\\u00eb\\u00eb\\u00eb"', None),
            ('"a"', "field f must have length >= 2"),
            ('"\\ud83d\\ude00"', "field f must have length >= 2"),
            ('"abcde"', "field f must have length <= 4"),
            ('""', "field f must have length >= 2"),
        ),
    ),
    Table(
        "least length",
        {"type": "text", "length": {"min": 1, "max": None}},
        (('"a"', None), ('""', "field f must have length >= 1")),
    ),
    Table(
        "greatest length",
        {"type": "text", "length": {"min": None, "max": 1}},
        (('""', None), ('"ab"', "field f must have length <= 1")),
    ),
    Table(
        "length beside other rules, after them",
        {"type": "text", "contains": ["a"], "format": "snake_case", "length": {"max": 3}},
        (
            ('"abc"', None),
            ('"abcd"', "field f must have length <= 3"),
            ('"ABCD"', "field f must contain 'a'"),
            ('"aBCD"', "field f must be snake_case"),
        ),
    ),
    Table(
        "all rules of a text, in order",
        {
            "type": "text",
            "contains": ["a"],
            "does_not_contain": ["b"],
            "regex": ["^[a-z]*$"],
            "format": "camel_case",
            "length": {"min": 2, "max": 3},
        },
        (
            ('"ca"', None),
            ('"B1bbb"', "field f must contain 'a'"),
            ('"B1bba"', "field f must not contain 'b'"),
            ('"C1cca"', "field f must match pattern ^[a-z]*$"),
            ('"caaa"', "field f must have length <= 3"),
            ('"a"', "field f must have length >= 2"),
        ),
    ),
    Table(
        "length of bytes",
        {"type": "binary", "length": {"min": 2, "max": 3}},
        (
            ('"AAE="', None),
            ('"AAEC"', None),
            ('"AA=="', "field f must have length >= 2"),
            ('"AAECAw=="', "field f must have length <= 3"),
            ('"AAE"', "field f must be base64 encoded"),
        ),
    ),
)

RANGES: tuple[Table, ...] = (
    Table(
        "range of integers",
        {"type": "integer", "range": {"min": " 1 ", "max": "+010"}},
        (
            ("1", None),
            ("10", None),
            ('"5"', None),
            ("0", "field f must be >= 1"),
            ("11", "field f must be <= 10"),
            ('"11"', "field f must be <= 10"),
        ),
    ),
    Table(
        "range of floats",
        {"type": "float", "range": {"min": "-1.50", "max": "1e2"}},
        (
            ("-1.5", None),
            ("100", None),
            ('"1e2"', None),
            ("-1.6", "field f must be >= -1.5"),
            ("100.5", "field f must be <= 100"),
            ('"101"', "field f must be <= 100"),
        ),
    ),
    Table(
        "range of floats with small and large ends",
        {"type": "float", "range": {"min": "1e-7", "max": "1e21"}},
        (
            ("0.5", None),
            ("0", "field f must be >= 0.0000001"),
            ("1e22", "field f must be <= 1000000000000000000000"),
        ),
    ),
    Table(
        "range of decimals",
        {"type": "decimal(6,2)", "range": {"min": "0.50", "max": "1_000"}},
        (
            ("0.5", None),
            ('"1000.00"', None),
            ("0.49", "field f must be >= 0.50"),
            ('"1000.01"', "field f must be <= 1000"),
        ),
    ),
    Table(
        "range of decimals that doubles cannot tell apart",
        {"type": "decimal(30,0)", "range": {"max": "900000000000000000000000000001"}},
        (
            ('"900000000000000000000000000001"', None),
            (
                '"900000000000000000000000000002"',
                "field f must be <= 900000000000000000000000000001",
            ),
        ),
    ),
    Table(
        "range of timestamps",
        {
            "type": "timestamp",
            "range": {"min": "2026-01-01T00:00:00Z", "max": "2026-12-31T23:59:59+00:00"},
        },
        (
            ('"2026-01-01T00:00:00Z"', None),
            ('"2026-01-01T02:00:00+02:00"', None),
            ('"2025-12-31T23:00:00-01:00"', None),
            ('"2026-01-01T01:00:00+02:00"', "field f must be >= 2026-01-01T00:00:00Z"),
            ('"2025-12-31T23:59:59.999999999Z"', "field f must be >= 2026-01-01T00:00:00Z"),
            ('"2027-01-01T00:00:00Z"', "field f must be <= 2026-12-31T23:59:59+00:00"),
            ('"2026-12-31T23:59:60Z"', "field f must be <= 2026-12-31T23:59:59+00:00"),
        ),
    ),
    Table(
        "range of dates",
        {"type": "date", "range": {"min": "2026-01-01", "max": "2026-12-31"}},
        (
            ('"2026-01-01"', None),
            ('"2026-12-31"', None),
            ('"2026-6-1"', None),
            ('"2025-12-31"', "field f must be on or after 2026-01-01"),
            ('"2027-01-01"', "field f must be on or before 2026-12-31"),
            ('"-2026-06-01"', "field f must be on or after 2026-01-01"),
        ),
    ),
    Table(
        "range that nothing is in",
        {"type": "integer", "range": {"min": "5", "max": "3"}},
        (("4", "field f must be >= 5"), ("6", "field f must be <= 3")),
    ),
    Table(
        "bad least integer",
        {"type": "integer", "range": {"min": "one", "max": "3"}},
        (
            ("2", "field f range minimum 'one' is not a valid integer"),
            ("9", "field f range minimum 'one' is not a valid integer"),
        ),
    ),
    Table(
        "bad greatest integer",
        {"type": "integer", "range": {"min": "1", "max": "1.5"}},
        (
            ("2", "field f range maximum '1.5' is not a valid integer"),
            ("0", "field f must be >= 1"),
        ),
    ),
    Table(
        "bad end of floats",
        {"type": "float", "range": {"max": "nan"}},
        (("1", "field f range maximum 'nan' is not a valid float"),),
    ),
    Table(
        "bad end of decimals",
        {"type": "decimal(4,1)", "range": {"min": "a"}},
        (("1", "field f range minimum 'a' is not a valid decimal"),),
    ),
    Table(
        "bad end of timestamps",
        {"type": "timestamp", "range": {"min": "2026-01-01"}},
        (
            (
                '"2026-01-01T00:00:00Z"',
                "field f range boundary '2026-01-01' is not a valid RFC3339 timestamp",
            ),
        ),
    ),
    Table(
        "bad end of dates",
        {"type": "date", "range": {"max": "soon"}},
        (('"2026-01-01"', "field f range boundary 'soon' is not a valid date (YYYY-MM-DD)"),),
    ),
)

# What only a file or a peer can bring in: such a column can be left out, but never written.
MISMATCHES: tuple[Table, ...] = (
    Table("contains on integer", {"type": "integer", "contains": ["1"]}, (("1", _TEXT),)),
    Table(
        "does_not_contain on float", {"type": "float", "does_not_contain": ["9"]}, (("1", _TEXT),)
    ),
    Table("regex on decimal", {"type": "decimal(4,2)", "regex": ["1"]}, (("1", _TEXT),)),
    Table("format on boolean", {"type": "boolean", "format": "email"}, (("true", _TEXT),)),
    Table("format on json", {"type": "json", "format": "email"}, (('"a@b.c"', _TEXT),)),
    Table("regex on date", {"type": "date", "regex": ["2"]}, (('"2026-01-01"', _TEXT),)),
    Table("contains on binary", {"type": "binary", "contains": ["A"]}, (('"AA=="', _TEXT),)),
    Table("regex on object", {"type": "object", "regex": ["a"]}, (("{}", _TEXT),)),
    Table(
        "format on timestamp",
        {"type": "timestamp", "format": "email"},
        (('"2026-01-01T00:00:00Z"', _TEXT),),
    ),
    Table(
        "iso8601 on timestamp",
        {"type": "timestamp", "format": "iso8601"},
        (
            ('"2026-01-01T00:00:00Z"', None),
            ('"2026-01-01"', "field f must be an RFC3339 timestamp"),
        ),
    ),
    Table(
        "length on integer",
        {"type": "integer", "length": {"min": 1}},
        (("1", _NO_LENGTH), ('"x"', "field f must be an integer")),
    ),
    Table("length on json", {"type": "json", "length": {"max": 9}}, (('"a"', _NO_LENGTH),)),
    Table("length on object", {"type": "object", "length": {"max": 9}}, (("{}", _NO_LENGTH),)),
    Table(
        "length on timestamp",
        {"type": "timestamp", "length": {"min": 1}},
        (('"2026-01-01T00:00:00Z"', _NO_LENGTH),),
    ),
    Table("range on text", {"type": "text", "range": {"min": "a"}}, (('"b"', _NO_RANGE),)),
    Table("range on boolean", {"type": "boolean", "range": {"max": "1"}}, (("true", _NO_RANGE),)),
    Table("range on binary", {"type": "binary", "range": {"max": "1"}}, (('"AA=="', _NO_RANGE),)),
    Table("range on json", {"type": "json", "range": {"max": "1"}}, (("1", _NO_RANGE),)),
    Table(
        "properties on text",
        {"type": "text", "properties": {"a": "text"}},
        (('"x"', _NO_PROPERTIES), ("1", _TEXT)),
    ),
    Table(
        "properties on date",
        {"type": "date", "properties": {"a": "text"}},
        (('"2026-01-01"', _NO_PROPERTIES),),
    ),
    Table(
        "properties on json, without force",
        {"type": "json", "properties": {"a": {"type": "integer", "required": True}}},
        (("{}", None), ('{"a":"x"}', None), ("[]", None)),
    ),
)

NESTED: tuple[Table, ...] = (
    Table(
        "properties",
        {
            "type": "object",
            "properties": {
                "city": {"type": "text", "required": True, "length": {"min": 2}},
                "zip": "integer",
                "geo": {
                    "type": "object",
                    "properties": {"lat": {"type": "float", "range": {"min": "-90"}}},
                },
            },
        },
        (
            ('{"city":"Bonn"}', None),
            ('{"city":"Bonn","zip":53111,"other":[null]}', None),
            ('{"city":"Bonn","geo":{"lat":50.7}}', None),
            ('{"city":"Bonn","geo":{}}', None),
            ("{}", "field f.city is required"),
            ('{"zip":1}', "field f.city is required"),
            ('{"city":null}', "field f.city must be a string"),
            ('{"city":"B"}', "field f.city must have length >= 2"),
            ('{"city":"Bonn","zip":"x"}', "field f.zip must be an integer"),
            ('{"zip":"x"}', "field f.city is required"),
            ('{"city":"Bonn","geo":1}', "field f.geo must be a JSON object"),
            ('{"city":"Bonn","geo":{"lat":-91}}', "field f.geo.lat must be >= -90"),
            ('{"city":"Bonn","geo":{"lat":"?"},"zip":"?"}', "field f.geo.lat must be a float"),
            ('"Bonn"', "field f must be a JSON object"),
        ),
    ),
    Table(
        "properties before the rules of the object",
        {"type": "object", "range": {"min": "1"}, "properties": {"a": "integer"}},
        (('{"a":"x"}', "field f.a must be an integer"), ('{"a":1}', _NO_RANGE)),
    ),
)

TABLES = TEXT_RULES + RANGES + MISMATCHES + NESTED
