"""Which values two versions of a column accept: all that one does, or not provably.

The sets of values are those of docs/schema-reference.md. Every answer is on the safe side: two
patterns are only compared by their text, and rules that can never be met are not reasoned about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

from eventdbx.domain.schemas.columns import (
    INTEGER_MAX,
    RANGED,
    Comparable,
    parse_bound,
)
from eventdbx.domain.schemas.model import (
    REFERENCE,
    Bounds,
    Column,
    ColumnType,
    Length,
    ReferenceRule,
)

Verdict: TypeAlias = Literal["full", "backward", "forward", "breaking"]

_NUMBERS = ("integer", "float", "decimal")
_TEXTS = ("text", "timestamp", "date", "binary")
"""Types that accept nothing but texts; ``text`` itself accepts every one."""

_INTEGER_DIGITS = len(str(INTEGER_MAX))
_DECLARED: Mapping[bool, Verdict] = {True: "full", False: "breaking"}


class Aspect(NamedTuple):
    """One difference. ``wider``: the new side accepts whatever the old one does; ``narrower``:
    the old side accepts whatever the new one does.

    ``about_presence`` marks a change of ``required``, ``binding`` one that counts in every mode
    of restriction.
    """

    sentence: str
    wider: bool
    narrower: bool
    about_presence: bool = False
    binding: bool = False


def verdict_of(aspect: Aspect) -> Verdict:
    """Return the name of what a difference means."""
    return _named(aspect.wider, aspect.narrower)


def _named(wider: bool, narrower: bool) -> Verdict:
    if wider == narrower:
        return _DECLARED[wider]
    return "backward" if wider else "forward"


def meet(verdicts: Iterable[Verdict]) -> Verdict:
    """Return what several verdicts come to together; ``full`` for none."""
    found = set(verdicts)
    wider = found <= {"full", "backward"}
    return _named(wider, found <= {"full", "forward"})


def accepts_all(column: Column) -> bool:
    """Say whether a column rules out nothing, not even its absence."""
    return column.type.name == "json" and not column.has_rules


def column_aspects(old: Column, new: Column, path: str) -> Iterator[Aspect]:
    """Yield the differences of two versions of a column; ``path`` is its dotted path."""
    if old == new:
        return
    if not (_meaningful(old) and _meaningful(new)):
        yield Aspect(f"column {path} has other rules, of which some can never be met", False, False)
        return
    yield from _type_aspects(old, new, path)
    yield from _null_aspects(old, new, path)
    if old.required != new.required:
        word = "required now" if new.required else "not required any more"
        yield Aspect(
            f"column {path} is {word}", not new.required, new.required, about_presence=True
        )
    yield from _needle_aspects(old, new, path)
    yield from _format_aspects(old, new, path)
    yield from _length_aspects(old, new, path)
    yield from _range_aspects(old, new, path)
    yield from _reference_aspects(old.reference_rule, new.reference_rule, path)
    yield from _property_aspects(old, new, path)


def _meaningful(column: Column) -> bool:
    """Say whether every rule of a column fits its type, so that values can be accepted."""
    name = column.type.name
    if name != "text":
        stamp = name == "timestamp" and column.format == "iso8601"
        if column.contains or column.does_not_contain or column.regex:
            return False
        if column.format is not None and not stamp:
            return False
    if column.reference is not None and column.format != REFERENCE:
        return False
    if column.length is not None and name not in ("text", "binary"):
        return False
    if column.range is not None:
        bounds = [text for text in column.range if text is not None]
        if name not in RANGED or any(parse_bound(column.type, text) is None for text in bounds):
            return False
    return not column.properties or name in ("object", "json")


def _type_aspects(old: Column, new: Column, path: str) -> Iterator[Aspect]:
    if old.type == new.type:
        return
    wider, narrower = _within(old, new), _within(new, old)
    after = {
        "full": "which accepts the same",
        "backward": "which accepts that, too",
        "forward": "which accepts less",
        "breaking": "which accepts something else",
    }[_named(wider, narrower)]
    yield Aspect(f"column {path} is {new.type} instead of {old.type}, {after}", wider, narrower)


def _within(one: Column, other: Column) -> bool:
    """Say whether the type of one column accepts only what that of another does, rules apart."""
    inner, outer = one.type, other.type
    if outer.name == "json" or inner == outer:
        return True
    if outer.name == "text":
        return inner.name in _TEXTS
    if outer.name == "timestamp":
        return inner.name == "text" and one.format == "iso8601"
    if outer.name == "float":
        return inner.name == "integer"
    if outer.name == "decimal":
        if inner.name == "integer":
            return outer.precision >= _INTEGER_DIGITS
        return inner.name == "decimal" and _decimal_within(inner, outer)
    return False


def _decimal_within(inner: ColumnType, outer: ColumnType) -> bool:
    return inner.precision <= outer.precision and inner.scale <= outer.scale


def _takes_null(column: Column) -> bool:
    return column.type.name == "json" or column.format == REFERENCE and not column.required


def _null_aspects(old: Column, new: Column, path: str) -> Iterator[Aspect]:
    """Yield whether null comes or goes with a reference; elsewhere the type says it."""
    if "json" in (old.type.name, new.type.name) or _takes_null(old) == _takes_null(new):
        return
    now = _takes_null(new)
    yield Aspect(f"column {path} takes {'null now' if now else 'no null any more'}", now, not now)


def _needle_aspects(old: Column, new: Column, path: str) -> Iterator[Aspect]:
    """Yield the differences of the three lists of texts; an entry may follow from another."""
    if old.contains != new.contains:
        wider = all(_contained(one, old.contains) for one in new.contains)
        narrower = all(_contained(one, new.contains) for one in old.contains)
        yield _list_aspect(f"column {path}: contains", wider, narrower)
    if old.does_not_contain != new.does_not_contain:
        wider = all(_forbidden(one, old.does_not_contain) for one in new.does_not_contain)
        narrower = all(_forbidden(one, new.does_not_contain) for one in old.does_not_contain)
        yield _list_aspect(f"column {path}: does_not_contain", wider, narrower)
    if old.regex != new.regex:
        wider, narrower = {*new.regex} <= {*old.regex}, {*old.regex} <= {*new.regex}
        yield _list_aspect(f"column {path}: regex", wider, narrower)


def _contained(needle: str, required: tuple[str, ...]) -> bool:
    return needle == "" or any(needle in one for one in required)


def _forbidden(needle: str, forbidden: tuple[str, ...]) -> bool:
    return any(one in needle for one in forbidden)


def _list_aspect(rule: str, wider: bool, narrower: bool) -> Aspect:
    word = {
        "full": "says the same in other words",
        "backward": "demands less",
        "forward": "demands more",
        "breaking": "demands something else",
    }[_named(wider, narrower)]
    return Aspect(f"{rule} {word}", wider, narrower)


def _format_aspects(old: Column, new: Column, path: str) -> Iterator[Aspect]:
    if old.format == new.format:
        return
    wider = new.format is None or new.format in _formats(old)
    narrower = old.format is None or old.format in _formats(new)
    if new.format is None:
        words = f"has no format any more (was {old.format})"
    elif old.format is None:
        words = f"has the format {new.format} now"
    else:
        words = f"has the format {new.format} instead of {old.format}"
    yield Aspect(f"column {path} {words}", wider, narrower)


def _formats(column: Column) -> set[str | None]:
    """Return the formats that every value of a column has; timestamps have one by themselves."""
    return {column.format} | ({"iso8601"} if column.type.name == "timestamp" else set())


def _length_aspects(old: Column, new: Column, path: str) -> Iterator[Aspect]:
    before, after = old.length or Length(), new.length or Length()
    if before == after and (old.type == new.type or before == Length()):
        return
    if old.type == new.type:
        wider, narrower = _bounds_within(before, after), _bounds_within(after, before)
    else:
        # Characters of a text and bytes of a binary are not the same number.
        wider, narrower = after == Length(), before == Length()
    yield _bounds_aspect(f"column {path}: length", before, after, wider, narrower)


def _range_aspects(old: Column, new: Column, path: str) -> Iterator[Aspect]:
    before, after = old.range or Bounds(), new.range or Bounds()
    if before == after:
        return
    wider, narrower = after == Bounds(), before == Bounds()
    numbers = old.type.name in _NUMBERS and new.type.name in _NUMBERS
    if numbers or old.type.name == new.type.name:
        inner, outer = _ends(old.type, before), _ends(new.type, after)
        wider = wider or _bounds_within(inner, outer)
        narrower = narrower or _bounds_within(outer, inner)
    yield _bounds_aspect(f"column {path}: range", before, after, wider, narrower)


def _ends(kind: ColumnType, bounds: Bounds) -> tuple[Comparable, Comparable]:
    low, high = (None if text is None else parse_bound(kind, text) for text in bounds)
    return low, high


def _bounds_within(
    inner: tuple[Comparable, Comparable], outer: tuple[Comparable, Comparable]
) -> bool:
    """Say whether what lies between two bounds lies between two others; None is open."""
    low = outer[0] is None or inner[0] is not None and inner[0] >= outer[0]
    high = outer[1] is None or inner[1] is not None and inner[1] <= outer[1]
    return low and high


def _bounds_aspect(
    rule: str, before: Length | Bounds, after: Length | Bounds, wider: bool, narrower: bool
) -> Aspect:
    sentence = f"{rule} is {_between(after)} instead of {_between(before)}"
    return Aspect(sentence, wider, narrower)


def _between(bounds: Length | Bounds) -> str:
    low, high = bounds
    if low is None and high is None:
        return "open"
    if low is None:
        return f"up to {high}"
    return f"from {low}" if high is None else f"{low} to {high}"


def _reference_aspects(
    old: ReferenceRule | None, new: ReferenceRule | None, path: str
) -> Iterator[Aspect]:
    """Yield the differences of what references must name; gone and come is the format's matter."""
    if old is None and new is None:
        return
    before, after = old or ReferenceRule("weak"), new or ReferenceRule("weak")
    if before.integrity != after.integrity and old is not None and new is not None:
        weak = after.integrity == "weak"
        words = "need not exist any more" if weak else "must exist now"
        yield Aspect(f"column {path}: what is referred to {words}", weak, not weak)
    pairs = (
        ("domain", before.tenant and before.tenant.lower(), after.tenant and after.tenant.lower()),
        ("type", before.aggregate_type, after.aggregate_type),
    )
    for what, was, now in pairs:
        if was != now:
            words = f"of {what} {now} only" if now else f"of any {what}"
            yield Aspect(f"column {path} takes references {words} now", not now, not was)
    if before.cascade != after.cascade and old is not None and new is not None:
        yield Aspect(
            f"column {path}: cascade is {after.cascade} now (no effect on events)", True, True
        )


def _property_aspects(old: Column, new: Column, path: str) -> Iterator[Aspect]:
    before, after = _enforced(old), _enforced(new)
    for name in sorted({*before, *after}):
        inner = f"{path}.{name}"
        if name not in before:
            free = accepts_all(after[name])
            yield Aspect(f"column {inner} is declared now ({after[name].type})", free, True)
        elif name not in after:
            free = accepts_all(before[name])
            yield Aspect(f"column {inner} is not declared any more", True, free)
        else:
            yield from (
                aspect._replace(about_presence=False)
                for aspect in column_aspects(before[name], after[name], inner)
            )


def _enforced(column: Column) -> Mapping[str, Column]:
    return column.properties if column.type.name == "object" else {}
