"""Differences of schemas for people: unified, side by side, and in a few words.

All of it is text out of text; where the texts come from and whether colour is wanted is decided
by whoever prints them. The same difference as operations is in ``diff_patch``, what it means for
events in ``comparing``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from eventdbx.domain.schemas.comparing import same_upcasters
from eventdbx.domain.schemas.diff_lines import Piece, pieces
from eventdbx.domain.schemas.model import AggregateSchema, EventRule

CONTEXT_LINES = 3
COLUMN_CHARACTERS = 40
RULE_CHARACTERS = 88
NOTHING_TO_SHOW = "(no textual diff to display)"

_COLOURS = {"-": "\x1b[31m", "+": "\x1b[32m"}
_PLAIN = "\x1b[0m"
_NO_NEWLINE = "\\ No newline at end of file"


class _Hunk(NamedTuple):
    """Pieces that are shown together, lines counted from 0."""

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    pieces: list[Piece]


def pretty(document: Any) -> str:
    """Return a document as it is compared: indented by 2, keys sorted, no final newline."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()


def unified(old: Any, new: Any, *, old_name: str, new_name: str, colour: bool = False) -> str:
    """Return the unified difference of two documents, or :data:`NOTHING_TO_SHOW`."""
    before, after = pretty(old).split("\n"), pretty(new).split("\n")
    lines: list[str] = []
    for hunk in _hunks(before, after):
        lines.append(
            f"@@ -{_range(hunk.old_start, hunk.old_count)} "
            f"+{_range(hunk.new_start, hunk.new_count)} @@"
        )
        for piece in hunk.pieces:
            for tag, text, last in _tagged(piece, before, after):
                lines.append(_coloured(tag, f"{tag}{text}", colour))
                if last:
                    lines.append(_NO_NEWLINE)
    if not lines:
        return NOTHING_TO_SHOW
    return "\n".join((f"--- {old_name}", f"+++ {new_name}", *lines))


def split(old: Any, new: Any, *, old_name: str, new_name: str, colour: bool = False) -> str:
    """Return the difference in two columns, or :data:`NOTHING_TO_SHOW`."""
    before, after = pretty(old).split("\n"), pretty(new).split("\n")
    rows: list[str] = []
    for hunk in _hunks(before, after):
        head = f"@@ -{hunk.old_start + 1} +{hunk.new_start + 1} @@"
        rows.append(f"{head:=<{RULE_CHARACTERS}}\n")
        for piece in hunk.pieces:
            for tag, text, _last in _tagged(piece, before, after):
                left, right = ("", "") if tag == " " else (tag, tag)
                row = _row(
                    "" if tag == "+" else left,
                    "" if tag == "+" else text,
                    "" if tag == "-" else right,
                    "" if tag == "-" else text,
                )
                rows.append(_coloured(tag, row, colour))
    if not rows:
        return NOTHING_TO_SHOW
    return "".join((_row("", old_name, "", new_name), *rows)).removesuffix("\n")


def _row(left_tag: str, left: str, right_tag: str, right: str) -> str:
    return (
        f"{left_tag:<3} {_cut(left):<{COLUMN_CHARACTERS}} | "
        f"{right_tag:<3} {_cut(right):<{COLUMN_CHARACTERS}}\n"
    )


def _cut(text: str) -> str:
    if len(text) <= COLUMN_CHARACTERS:
        return text
    return text[: COLUMN_CHARACTERS - 3] + "..."


def _coloured(tag: str, text: str, colour: bool) -> str:
    start = _COLOURS.get(tag)
    return text if start is None or not colour else f"{start}{text}{_PLAIN}"


def _range(start: int, count: int) -> str:
    """Return a range of lines as unified differences write it: empty ones name the line before."""
    first = start + 1 if count else start
    return str(first) if count == 1 else f"{first},{count}"


def _hunks(before: Sequence[str], after: Sequence[str]) -> Iterator[_Hunk]:
    """Yield the changes, each with its context; those that touch are one."""
    group: list[Piece] = []
    for piece in pieces(before, after):
        if not piece.equal:
            group.append(piece)
            continue
        length = piece.old_stop - piece.old_start
        if group and length > 2 * CONTEXT_LINES:
            group.append(piece.part(0, CONTEXT_LINES))
            yield _hunk(group)
            group = []
        start = 0 if group else max(0, length - CONTEXT_LINES)
        group.append(piece.part(start, length))
    if group and group[-1].equal:
        group[-1] = group[-1].part(0, CONTEXT_LINES)
    if any(not piece.equal for piece in group):
        yield _hunk(group)


def _hunk(group: list[Piece]) -> _Hunk:
    first, last = group[0], group[-1]
    return _Hunk(
        first.old_start,
        last.old_stop - first.old_start,
        first.new_start,
        last.new_stop - first.new_start,
        group,
    )


def _tagged(
    piece: Piece, before: Sequence[str], after: Sequence[str]
) -> Iterator[tuple[str, str, bool]]:
    """Yield (tag, line, is it the last of its text) of a piece, what is removed first."""
    if piece.equal:
        for index in range(piece.old_start, piece.old_stop):
            yield " ", before[index], index == len(before) - 1
        return
    for index in range(piece.old_start, piece.old_stop):
        yield "-", before[index], index == len(before) - 1
    for index in range(piece.new_start, piece.new_stop):
        yield "+", after[index], index == len(after) - 1


def summary_lines(old: AggregateSchema, new: AggregateSchema) -> list[str]:
    """Return what differs between two schemas of a type, a line each, without indentation.

    Everything but the two times is compared; no line means that they say the same.
    """
    return [
        *_flag(
            "snapshot_threshold", _maybe(old.snapshot_threshold), _maybe(new.snapshot_threshold)
        ),
        *_flag("locked", _word(old.locked), _word(new.locked)),
        *_lists("field locks", old.field_locks, new.field_locks),
        *_flag("hidden", _word(old.hidden), _word(new.hidden)),
        *_lists("hidden fields", old.hidden_fields, new.hidden_fields),
        *_columns(old, new),
        *_events(old.events, new.events),
    ]


def _maybe(number: int | None) -> str:
    return "None" if number is None else f"Some({number})"


def _word(flag: bool) -> str:
    return "true" if flag else "false"


def _flag(name: str, old: str, new: str) -> Iterator[str]:
    if old != new:
        yield f"{name}: {old} -> {new}"


def _lists(name: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    added = sorted(set(new) - set(old))
    removed = sorted(set(old) - set(new))
    if added:
        yield f"{name} added: {', '.join(added)}"
    if removed:
        yield f"{name} removed: {', '.join(removed)}"


def _columns(old: AggregateSchema, new: AggregateSchema) -> Iterator[str]:
    before, after = old.column_types, new.column_types
    yield from _lists("columns", list(before), list(after))
    changed = sorted(name for name in before if name in after and before[name] != after[name])
    if changed:
        yield f"columns changed: {', '.join(changed)}"


def _events(old: Mapping[str, EventRule], new: Mapping[str, EventRule]) -> Iterator[str]:
    yield from (f"+ event {name}" for name in sorted(new) if name not in old)
    yield from (f"- event {name}" for name in sorted(old) if name not in new)
    for name in sorted(old):
        if name not in new:
            continue
        before, after = old[name], new[name]
        yield from _lists(f"event {name} fields", before.fields, after.fields)
        if before.notes != after.notes:
            yield f"event {name} note changed"
        if not same_upcasters(before.upcast, after.upcast):
            yield f"event {name} upcasters changed"
