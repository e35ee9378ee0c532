"""Whole events: locks, declared events, lists of fields, required columns, modes of restriction."""

from __future__ import annotations

from typing import Any

from tests.conformance.case import Case

_OPEN: dict[str, Any] = {"events": {"opened": {"fields": []}}}
_LISTED: dict[str, Any] = {"events": {"opened": {"fields": ["b", "a"]}}}
_TYPED: dict[str, Any] = {"column_types": {"n": "integer", "t": "text"}, **_OPEN}
_REQUIRED: dict[str, Any] = {
    "column_types": {"n": {"type": "integer", "required": True}, "t": "text"},
    "events": {"opened": {"fields": []}, "named": {"fields": ["t"]}, "counted": {"fields": ["n"]}},
}
_ALL: dict[str, Any] = {
    "locked": True,
    "field_locks": ["k"],
    "column_types": {"n": "integer"},
    "events": {"opened": {"fields": ["n"]}},
}
_NAMES: dict[str, Any] = {
    "events": {"line.added": {"fields": ["a"]}, "line_removed": {"fields": ["a"]}}
}
_SEVERAL: dict[str, Any] = {
    "column_types": {
        "b": {"type": "integer", "required": True},
        "a.b": "integer",
        "B": "integer",
        "\u00e9": "integer",
    },
    **_OPEN,
}
_BAD_REFERENCE: dict[str, Any] = {
    "column_types": {"r": {"type": "integer", "format": "reference"}},
    **_OPEN,
}
_EXPECTS = "aggregate {A} expects object payload for validation"
_UNDEFINED = "event closed is not defined for aggregate {A}"
_N = "field n must be an integer"

LISTS = (
    Case("no list", _OPEN, "opened", '{"anything":[1]}', None),
    Case("no list, nothing", _OPEN, "opened", "{}", None),
    Case("no list, a scalar", _OPEN, "opened", "5", None),
    Case("no list, an array", _OPEN, "opened", "[1]", None),
    Case("no list, null", _OPEN, "opened", "null", None),
    Case("undeclared event", _OPEN, "closed", "{}", _UNDEFINED),
    Case("undeclared before columns", _TYPED, "closed", '{"n":"x"}', _UNDEFINED),
    Case("list", _LISTED, "opened", '{"a":1,"b":null}', None),
    Case("list, one missing", _LISTED, "opened", '{"a":1}',
         "missing required field b for event opened"),
    Case("list, the first missing one", _LISTED, "opened", "{}",
         "missing required field a for event opened"),
    Case("list, missing before not permitted", _LISTED, "opened", '{"a":1,"c":1}',
         "missing required field b for event opened"),
    Case("list, one too many", _LISTED, "opened", '{"a":1,"b":1,"c":1}',
         "field c is not permitted for event opened"),
    Case("list, the first one too many", _LISTED, "opened", '{"z":1,"a":1,"b":1,"B":1}',
         "field B is not permitted for event opened"),
    Case("list, a scalar", _LISTED, "opened", "5", "missing required field a for event opened"),
    Case("list, null", _LISTED, "opened", "null", "missing required field a for event opened"),
    Case("list for scalars", {"events": {"opened": {"fields": ["_value"]}}}, "opened", "5", None),
    Case("list for scalars, null", {"events": {"opened": {"fields": ["_value"]}}}, "opened",
         "null", "missing required field _value for event opened"),
    Case("dots in a declared name", _NAMES, "line_added", '{"a":1}', None),
    Case("dots on both sides", _NAMES, "line.added", '{"a":1}', None),
    Case("dots in the event", _NAMES, "line.removed", '{"a":1}', None),
    Case("dots in the event, its list", _NAMES, "line.removed", "{}",
         "missing required field a for event line_removed"),
    Case("dots in a declared name, its list", _NAMES, "line_added", '{"a":1,"b":1}',
         "field b is not permitted for event line_added"),
    Case("hyphens match nothing", {"events": {"line-added": {"fields": []}}}, "line_added", "{}",
         "event line_added is not defined for aggregate {A}"),
)  # fmt: skip

COLUMNS = (
    Case("columns, absent ones", _TYPED, "opened", "{}", None),
    Case("columns, unknown keys", _TYPED, "opened", '{"x":1}', None),
    Case("columns, wrong one", _TYPED, "opened", '{"n":"x","t":"y"}', _N),
    Case("columns, first wrong one", _TYPED, "opened", '{"t":1,"n":"x"}', _N),
    Case("columns, a scalar", _TYPED, "opened", "5", _EXPECTS),
    Case("columns, an array", _TYPED, "opened", "[]", _EXPECTS),
    Case("columns, null", _TYPED, "opened", "null", _EXPECTS),
    Case("columns by bytes of names", _SEVERAL, "opened", '{"B":"x","a.b":"x","b":"x"}',
         "field B must be an integer"),
    Case("columns, dots are no paths", _SEVERAL, "opened", '{"a.b":"x","b":1}',
         "field a.b must be an integer"),
    Case("columns, required in its place", _SEVERAL, "opened", '{"\u00e9":"x"}',
         "field b is required"),
    Case("columns, names beyond ASCII last", _SEVERAL, "opened", '{"\u00e9":"x","b":1}',
         "field \u00e9 must be an integer"),
    Case("required", _REQUIRED, "opened", '{"n":1}', None),
    Case("required, missing", _REQUIRED, "opened", '{"t":"x"}', "field n is required"),
    Case("required, null", _REQUIRED, "opened", '{"n":null}', _N),
    Case("required, but not in the list", _REQUIRED, "named", '{"t":"x"}', None),
    Case("required, in the list", _REQUIRED, "counted", '{"n":1}', None),
    Case("required, in the list, missing", _REQUIRED, "counted", "{}",
         "missing required field n for event counted"),
    Case("bad reference column, absent", _BAD_REFERENCE, "opened", "{}",
         "field r uses reference format but must be a text column"),
    Case("reference block without format", {
            "column_types": {"r": {"type": "text", "reference": {"integrity": "weak"}}}, **_OPEN,
         }, "opened", '{"r":"p-1"}',
         "field r must use reference notation domain#aggregate#id, aggregate#id, or #id"),
    Case("camelCase keys", {
            "columnTypes": {"f": {"type": "text", "doesNotContain": ["x"]}}, **_OPEN,
         }, "opened", '{"f":"x"}', "field f must not contain 'x'"),
    Case("nested rules object", {
            "column_types": {"f": {"type": "text", "rules": {"length": {"min": "1", "max": "2"}}}},
            **_OPEN,
         }, "opened", '{"f":"abc"}', "field f must have length <= 2"),
    Case("numbers as ends of a range", {
            "column_types": {"f": {"type": "decimal(4,2)", "range": {"max": 1.50}}}, **_OPEN,
         }, "opened", '{"f":1.51}', "field f must be <= 1.5"),
    Case("one text instead of a list", {
            "column_types": {"f": {"type": "text", "contains": "a"}}, **_OPEN,
         }, "opened", '{"f":"b"}', "field f must contain 'a'"),
)  # fmt: skip

LOCKS = (
    Case("locked", {"locked": True, **_OPEN}, "opened", "{}",
         "aggregate {A} is locked for updates"),
    Case("locked before everything", _ALL, "closed", '{"k":1}',
         "aggregate {A} is locked for updates"),
    Case("field lock", {"field_locks": ["k"], **_OPEN}, "opened", '{"a":1,"k":null}',
         "field k is locked for aggregate {A}"),
    Case("field lock, not touched", {"field_locks": ["k"], **_OPEN}, "opened", '{"a":1}', None),
    Case("field lock, nested", {"field_locks": ["k"], **_OPEN}, "opened", '{"a":{"k":1}}', None),
    Case("field lock, the first", {"field_locks": ["z", "b"], **_OPEN}, "opened", '{"z":1,"b":1}',
         "field b is locked for aggregate {A}"),
    Case("field lock before the event", {"field_locks": ["k"], **_OPEN}, "closed", '{"k":1}',
         "field k is locked for aggregate {A}"),
    Case("field lock of scalars", {"field_locks": ["_value"], **_OPEN}, "opened", "5",
         "field _value is locked for aggregate {A}"),
    Case("field lock of scalars, null", {"field_locks": ["_value"], **_OPEN}, "opened", "null",
         None),
    Case("hidden hides nothing from writers", {
            "hidden": True, "hidden_fields": ["a"], "column_types": {"a": "integer"}, **_OPEN,
         }, "opened", '{"a":1}', None),
    Case("hidden fields are checked", {
            "hidden_fields": ["a"], "column_types": {"a": "integer"}, **_OPEN,
         }, "opened", '{"a":"x"}', "field a must be an integer"),
)  # fmt: skip

_STATE = '{"a":1,"b":2,"n":3,"s":{"x":1}}'
_PATCHED: dict[str, Any] = {
    "column_types": {
        "n": {"type": "integer", "required": True},
        "s": {"type": "object", "properties": {"x": {"type": "integer", "required": True}}},
    },
    "events": {
        "opened": {"fields": []},
        "edited": {"fields": ["a", "b"]},
        "new": {"fields": ["c"]},
    },
}

PATCHES = (
    Case("patch, listed fields that are known", _PATCHED, "edited",
         '[{"op":"replace","path":"/a","value":5}]', None, state=_STATE),
    Case("patch, a listed field that is not known", _PATCHED, "new",
         '[{"op":"add","path":"/a","value":5}]', "missing required field c for event new",
         state=_STATE),
    Case("patch, not permitted", _PATCHED, "edited", '[{"op":"add","path":"/c","value":5}]',
         "field c is not permitted for event edited", state=_STATE),
    Case("patch, required column that is known", _PATCHED, "opened",
         '[{"op":"replace","path":"/a","value":5}]', None, state=_STATE),
    Case("patch, wrong type", _PATCHED, "opened", '[{"op":"replace","path":"/n","value":"x"}]', _N,
         state=_STATE),
    Case("patch inside an object", _PATCHED, "opened",
         '[{"op":"replace","path":"/s/x","value":2}]', None, state=_STATE),
    Case("patch that takes what a nested object needs", _PATCHED, "opened",
         '[{"op":"remove","path":"/s/x"}]', "field s.x is required", state=_STATE),
    Case("patch that empties a required field", _PATCHED, "opened",
         '[{"op":"replace","path":"/n","value":null}]', _N, state=_STATE),
)  # fmt: skip

MODES = (
    Case("off, undeclared event", _OPEN, "closed", "{}", None, "off"),
    Case("off, unknown key", _LISTED, "opened", '{"a":1,"b":1,"c":1}', None, "off"),
    Case("off, missing field", _LISTED, "opened", "{}", None, "off"),
    Case("off, required column", _REQUIRED, "opened", "{}", None, "off"),
    Case("off, wrong type", _TYPED, "opened", '{"n":"x"}', None, "off"),
    Case("off, a scalar", _TYPED, "opened", "5", None, "off"),
    Case("off, bad reference column", _BAD_REFERENCE, "opened", "{}", None, "off"),
    Case("off, locked", {"locked": True, **_OPEN}, "opened", "{}",
         "aggregate {A} is locked for updates", "off"),
    Case("off, field lock", {"field_locks": ["k"], **_OPEN}, "closed", '{"k":1}',
         "field k is locked for aggregate {A}", "off"),
    Case("strict, declared", _TYPED, "opened", '{"n":1}', None, "strict"),
    Case("strict, wrong type", _TYPED, "opened", '{"n":"x"}', _N, "strict"),
    Case("strict, unknown key without a list", _TYPED, "opened", '{"x":1}', None, "strict"),
    Case("strict, undeclared event", _OPEN, "closed", "{}", _UNDEFINED, "strict"),
    Case("strict, missing field", _LISTED, "opened", '{"a":1}',
         "missing required field b for event opened", "strict"),
)  # fmt: skip

CASES = LISTS + COLUMNS + LOCKS + PATCHES + MODES
