"""Columns from JSON Schema: what the fragments of other tools' documents mean as columns.

The whole document is ``json_schema_import``'s. References lead to places in the same document
only; nothing is ever fetched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from eventdbx import limits
from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.columns import INTEGER_MAX, INTEGER_MIN
from eventdbx.domain.schemas.members import (
    Path,
    count_of,
    expected,
    members_of,
    number_text,
    object_of,
    pointer,
    string_of,
    strings_of,
)
from eventdbx.domain.schemas.model import Bounds, Column, ColumnType, Length, TypeName
from eventdbx.domain.schemas.patterns import compile_pattern
from eventdbx.domain.schemas.portable_patterns import literal
from eventdbx.domain.schemas.reading import read_column
from eventdbx.errors import InvalidSchema

ANNOTATIONS = frozenset(
    """title description default examples $comment deprecated $schema $id $anchor $defs definitions
    $vocabulary contentMediaType contentSchema readOnly writeOnly""".split()
)
"""Keywords that refuse no value."""

_TYPES: dict[str, TypeName] = {
    "string": "text",
    "integer": "integer",
    "number": "float",
    "boolean": "boolean",
    "object": "object",
    "array": "json",
}


class Unsupported(InvalidSchema):
    """A keyword that no column can say."""

    def __init__(self, keyword: str, path: Path, reason: str = "") -> None:
        text = f"unsupported keyword '{keyword}' at {pointer((*path, keyword))}"
        super().__init__(text + (f": {reason}" if reason else ""))


class Fragment(NamedTuple):
    """A schema of a document and where it stands; ``inside`` are the references that led to it."""

    value: JSON
    path: Path
    inside: tuple[str, ...] = ()


Members: TypeAlias = "dict[str, JSON]"


def is_ignored(keyword: str) -> bool:
    """Return whether a keyword says nothing that a column must hold."""
    return keyword in ANNOTATIONS or keyword.startswith("x-")


class Source:
    """A document that fragments are read from; ``warnings`` grows with what could not be kept."""

    def __init__(self, root: Members, warnings: list[str], *, lenient: bool) -> None:
        self.root = root
        self._left = limits.JSON_SCHEMA_PARTS_MAX
        self.warnings = warnings
        self.lenient = lenient

    def warn(self, text: str, path: Path) -> None:
        """Keep what a person should know about a place."""
        self.warnings.append(f"{text} at {pointer(path) or '/'}")

    def parts(self, fragment: Fragment) -> Iterator[tuple[Members, Fragment]]:
        """Yield a schema object and all those that it requires too: ``allOf`` and ``$ref``."""
        value, path, inside = fragment
        self._left -= 1
        if self._left < 0:
            raise InvalidSchema("the document has too many parts")
        if value is True:
            return
        if value is False:
            raise InvalidSchema(f"unsupported schema 'false' at {pointer(path) or '/'}")
        members = object_of(value, path)
        yield members, fragment
        if "$ref" in members:
            yield from self.parts(self._target(members["$ref"], fragment))
        choices = members.get("allOf", [])
        if not isinstance(choices, list):
            raise expected("an array", choices, (*path, "allOf"))
        for at, one in enumerate(choices):
            yield from self.parts(Fragment(one, (*path, "allOf", str(at)), inside))

    def _target(self, target: JSON, fragment: Fragment) -> Fragment:
        if not isinstance(target, str) or not target.startswith("#/"):
            reason = "only places in this document can be referred to"
            raise Unsupported("$ref", fragment.path, reason)
        if target in fragment.inside:
            raise Unsupported("$ref", fragment.path, "it leads back to itself")
        keys = tuple(key.replace("~1", "/").replace("~0", "~") for key in target[2:].split("/"))
        found: JSON = self.root
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                raise Unsupported("$ref", fragment.path, "there is no such place")
            found = found[key]
        return Fragment(found, keys, (*fragment.inside, target))

    def column(self, fragments: list[Fragment], *, required: bool) -> Column:
        """Return the column that all the fragments together say."""
        try:
            draft = _Draft(self)
            for fragment in fragments:
                for members, part in self.parts(fragment):
                    if "x-dbx-column" in members:
                        where = (*part.path, "x-dbx-column")
                        return read_column(members["x-dbx-column"], where, self.warnings)
                    draft.add(members, part)
            return draft.column(required)
        except Unsupported as error:
            if not self.lenient:
                raise
            self.warnings.append(f"{error.detail}; the column takes any value")
            return Column(type=ColumnType("json"), required=required)


class Properties:
    """The properties of an object, gathered from all its parts."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.fragments: dict[str, list[Fragment]] = {}
        self.required: set[str] = set()

    def add(self, members: Members, part: Fragment) -> None:
        """Take ``properties`` and ``required`` of one part."""
        if "properties" in members:
            for name, value, path in members_of(members["properties"], (*part.path, "properties")):
                self.fragments.setdefault(name, []).append(Fragment(value, path, part.inside))
        if "required" in members:
            self.required.update(strings_of(members["required"], (*part.path, "required")))

    def columns(self) -> dict[str, Column]:
        """Return the columns by name; what must be there without a schema may be anything."""
        return {
            name: self._source.column(self.fragments.get(name, []), required=name in self.required)
            for name in sorted({*self.fragments, *self.required})
        }


@dataclass(slots=True)
class _Draft:
    """What the parts of one fragment say together. ``seen`` is where each keyword stood first."""

    source: Source
    types: frozenset[str] | None = None
    formats: list[str] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)
    length: Length = field(default_factory=Length)
    low: int | float | None = None
    high: int | float | None = None
    properties: Properties = field(init=False)
    seen: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.properties = Properties(self.source)

    def add(self, members: Members, part: Fragment) -> None:
        """Take the keywords of one part."""
        for keyword, value in members.items():
            if keyword in _TAKEN:
                self.seen.setdefault(keyword, part.path)
                take = _TAKEN[keyword]
                if take is not None:
                    take(self, value, (*part.path, keyword))
            elif not is_ignored(keyword):
                raise Unsupported(keyword, part.path)
        self.properties.add(members, part)

    # --- one method for each keyword; the path is that of its value

    def _take_type(self, value: JSON, path: Path) -> None:
        names = [value] if isinstance(value, str) else strings_of(value, path)
        for name in names:
            if name not in _TYPES and name != "null":
                raise InvalidSchema(f"there is no type '{name}' at {pointer(path)}")
        # Every integer is a number.
        types = frozenset(names) | ({"integer"} if "number" in names else set())
        self.types = types if self.types is None else self.types & types

    def _take_format(self, value: JSON, path: Path) -> None:
        self.formats.append(string_of(value, path))

    def _take_pattern(self, value: JSON, path: Path) -> None:
        pattern = string_of(value, path)
        try:
            compile_pattern(pattern)
        except ValueError as error:
            raise Unsupported("pattern", path[:-1], str(error)) from None
        self.patterns.append(pattern)

    def _take_enum(self, value: JSON, path: Path) -> None:
        choices = value if path[-1] == "enum" else [value]
        if not isinstance(choices, list):
            raise expected("an array", choices, path)
        texts = [one for one in choices if isinstance(one, str)]
        if len(texts) < len(choices) or not texts:
            raise Unsupported(path[-1], path[:-1], "only texts can be listed")
        self.patterns.append(f"^(?:{'|'.join(map(literal, texts))})$")
        text = frozenset({"string"})
        self.types = text if self.types is None else self.types & text

    def _take_min_length(self, value: JSON, path: Path) -> None:
        self.length = self.length._replace(min=max(count_of(value, path), self.length.min or 0))

    def _take_max_length(self, value: JSON, path: Path) -> None:
        count, known = count_of(value, path), self.length.max
        self.length = self.length._replace(max=count if known is None else min(count, known))

    def _take_minimum(self, value: JSON, path: Path) -> None:
        number = _number(value, path)
        if path[-1] == "exclusiveMinimum":
            number = math.floor(number) + 1
        self.low = number if self.low is None else max(self.low, number)

    def _take_maximum(self, value: JSON, path: Path) -> None:
        number = _number(value, path)
        if path[-1] == "exclusiveMaximum":
            number = math.ceil(number) - 1
        self.high = number if self.high is None else min(self.high, number)

    def _take_encoding(self, value: JSON, path: Path) -> None:
        if string_of(value, path) != "base64":
            self.source.warn(f"contentEncoding '{value}' is not checked", path[:-1])
            del self.seen["contentEncoding"]

    def _take_additional(self, value: JSON, path: Path) -> None:
        if value is False:
            self.source.warn("other members are allowed nevertheless", path)
        elif value is not True and value != {}:
            raise Unsupported("additionalProperties", path[:-1])

    # --- the column

    def column(self, required: bool) -> Column:
        """Return the column, once every part is in."""
        name = self._type()
        if name == "json":
            self._refuse(*(set(self.seen) - _UNTYPED), reason="the column has no single type")
        kind, format_name = (name, None) if name != "text" else self._text_type()
        if required and self.types is not None and "null" in self.types:
            self.source.warn(
                "null is refused, so that the column is not required", self.seen["type"]
            )
            required = False
        column = Column(type=ColumnType(kind), required=required)
        if kind == "text":
            length = None if self.length == Length() else self.length
            regex = tuple(dict.fromkeys(self.patterns))
            return replace(column, regex=regex, length=length, format=format_name)
        if kind in ("integer", "float"):
            return replace(column, range=self._range(whole=kind == "integer"))
        if kind == "object":
            return replace(column, properties=self.properties.columns())
        return column

    def _type(self) -> TypeName:
        if self.types is None:
            if not self.properties.fragments:
                return "json"
            self.source.warn("taken for an object", self.seen["properties"])
            return "object"
        types = self.types - {"null"}
        if "number" in types:
            types -= {"integer"}
        if not types:
            raise Unsupported("type", self.seen["type"], "no value is of all the types at once")
        return _TYPES[min(types)] if len(types) == 1 else "json"

    def _text_type(self) -> tuple[TypeName, str | None]:
        """Return the type of a string and the format of a text."""
        known: set[tuple[TypeName, str | None]] = set()
        for name in self.formats:
            if name in _FORMATS:
                known.add(_FORMATS[name])
            else:
                self.source.warn(f"format '{name}' is not checked", self.seen["format"])
        if "contentEncoding" in self.seen:
            known.add(("binary", None))
        if len(known) > 1:
            self._refuse("format", reason="a column has only one")
        kind, format_name = known.pop() if known else ("text", None)
        if kind != "text":
            rules = ("pattern", "enum", "const", "minLength", "maxLength")
            self._refuse(*rules, reason=f"a column of type {kind} has no such rule")
        return kind, format_name

    def _range(self, *, whole: bool) -> Bounds | None:
        low, high = self.low, self.high
        if whole:
            low = None if low is None or low <= INTEGER_MIN else math.ceil(low)
            high = None if high is None or high >= INTEGER_MAX else math.floor(high)
        else:
            reason = "only integers have a next one"
            self._refuse("exclusiveMinimum", "exclusiveMaximum", reason=reason)
        if low is None and high is None:
            return None
        return Bounds(
            None if low is None else number_text(low), None if high is None else number_text(high)
        )

    def _refuse(self, *keywords: str, reason: str) -> None:
        for keyword in sorted(keywords):
            if keyword in self.seen:
                raise Unsupported(keyword, self.seen[keyword], reason)


def _number(value: JSON, path: Path) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise expected("a number", value, path)
    return value


_FORMATS: dict[str, tuple[TypeName, str | None]] = {
    "date-time": ("timestamp", None),
    "date": ("date", None),
    "email": ("text", "email"),
    "uri": ("text", "url"),
    "url": ("text", "url"),
}

_TAKEN: dict[str, Callable[[_Draft, JSON, Path], None] | None] = {
    "type": _Draft._take_type,
    "format": _Draft._take_format,
    "pattern": _Draft._take_pattern,
    "enum": _Draft._take_enum,
    "const": _Draft._take_enum,
    "minLength": _Draft._take_min_length,
    "maxLength": _Draft._take_max_length,
    "minimum": _Draft._take_minimum,
    "maximum": _Draft._take_maximum,
    "exclusiveMinimum": _Draft._take_minimum,
    "exclusiveMaximum": _Draft._take_maximum,
    "contentEncoding": _Draft._take_encoding,
    "additionalProperties": _Draft._take_additional,
    "properties": None,
    "required": None,
    "allOf": None,
    "$ref": None,
}
# What a column of any type needs not enforce: it is followed, or says nothing alone.
_UNTYPED = frozenset({"type", "format", "contentEncoding", "allOf", "$ref"})
