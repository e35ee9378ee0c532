"""Comparing what was recorded with what is answered now, where values differ from run to run.

A recording has placeholders for such values: ``<TIME>`` is any time, ``<ROOT_1>`` and ``<ROOT_2>``
are two Merkle roots that stay the same, and apart, through the whole recording.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

KINDS = {
    "EVENT_ID": r"[0-9]{1,20}",
    "HASH": r"[0-9a-f]{64}",
    "MILLIS": r"[0-9]{13}",
    "ROOT": r"[0-9a-f]{64}",
    "SNAPSHOT_ID": r"[0-9]{1,20}",
    "TIME": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?",
    "VERSION": r"v[0-9]{8}T[0-9]{9}Z(?:-[0-9]{2,3})?",
}
"""What a value of each kind looks like."""

_PLACEHOLDER = re.compile(r"<([A-Z]+(?:_[A-Z]+)*)(_[0-9]+)?>")


class Placeholders:
    """What the placeholders of one recording turned out to stand for so far."""

    def __init__(self, kinds: Mapping[str, str] = KINDS) -> None:
        self._kinds = kinds
        self._values: dict[str, str] = {}
        self._names: dict[tuple[str, str], str] = {}

    def match(self, recorded: str, actual: str) -> bool:
        """Tell whether the texts agree: the same letters, and a fitting value for each placeholder.

        A numbered one has one value in all texts matched so far, and no other number has it.
        What is between angle brackets and no kind of value stands for itself.
        """
        names: list[tuple[str, str]] = []

        def pattern(found: re.Match[str]) -> str:
            kind = found[1]
            if kind not in self._kinds:
                return re.escape(found[0])
            names.append((kind, found[0] if found[2] else ""))
            return f"({self._kinds[kind]})"

        fitting = re.fullmatch(_replaced(recorded, pattern), actual, re.DOTALL)
        if fitting is None:
            return False
        values, taken = dict(self._values), dict(self._names)
        for (kind, name), value in zip(names, fitting.groups(), strict=True):
            if not name:
                continue
            if values.setdefault(name, value) != value:
                return False
            if taken.setdefault((kind, value), name) != name:
                return False
        self._values, self._names = values, taken
        return True


def _replaced(recorded: str, pattern: Callable[[re.Match[str]], str]) -> str:
    """Return the expression for a text: placeholders as patterns, everything else as it is."""
    parts: list[str] = []
    end = 0
    for found in _PLACEHOLDER.finditer(recorded):
        parts += re.escape(recorded[end : found.start()]), pattern(found)
        end = found.end()
    return "".join([*parts, re.escape(recorded[end:])])
