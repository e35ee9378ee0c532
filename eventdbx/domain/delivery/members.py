"""Taking typed members out of a JSON object, one by one, with the words for what is wrong.

What was not taken is left over: members that we do not know are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from eventdbx.domain.canonical import JSON

C = TypeVar("C", bound=str)


class Members:
    """The members of one object. A null counts as absent.

    Each method raises ValueError naming the member, with ``path`` before its name.
    """

    def __init__(self, document: dict[str, JSON], path: str = "") -> None:
        self._rest = dict(document)
        self._path = path

    @property
    def rest(self) -> dict[str, JSON]:
        """What was not taken."""
        return self._rest

    def wrong(self, name: str, reason: str) -> ValueError:
        """Return the error to raise about a member."""
        return ValueError(f"{self._path}{name} {reason}")

    def take(self, name: str) -> JSON:
        """Return a member of any type, None when absent."""
        return self._rest.pop(name, None)

    def need(self, name: str, *, keep: bool = False) -> JSON:
        """Return a member that has to be there; ``keep`` only looks."""
        if self._rest.get(name) is None:
            raise ValueError(f"missing field '{self._path}{name}'")
        return self._rest[name] if keep else self._rest.pop(name)

    def inner(self, name: str) -> Members | None:
        """Return the members of an object inside, None when absent."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(name, "must be an object")
        return Members(value, f"{self._path}{name}.")

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self.take(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "must be true or false")
        return value

    def text(self, name: str) -> str | None:
        """Return a text, None when absent."""
        value = self.take(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "must be text")
        return value

    def needed_text(self, name: str) -> str:
        """Return a text that has to be there."""
        value = self.need(name)
        if not isinstance(value, str):
            raise self.wrong(name, "must be text")
        return value

    def choice(self, name: str, words: Sequence[C], default: C) -> C:
        """Return one of some words."""
        value = self.take(name)
        if value is None:
            return default
        for word in words:
            if word == value:
                return word
        raise self.wrong(name, f"must be one of {', '.join(words)} (got {_shown(value)})")

    def number(self, name: str, low: float, high: float) -> float | None:
        """Return a number within bounds, None when absent."""
        value = self.take(name)
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:  # type: ignore[operator]
            raise self.wrong(
                name, f"must be a number from {low:g} to {high:g} (got {_shown(value)})"
            )
        return float(value)  # type: ignore[arg-type]

    def integer(self, name: str, low: int, high: int) -> int | None:
        """Return an integer within bounds, None when absent."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(name, f"must be an integer from {low} to {high} (got {_shown(value)})")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, an empty one when absent."""
        value = self.take(name)
        if value is None:
            return ()
        if isinstance(value, list):
            found = tuple([one for one in value if isinstance(one, str)])
            if len(found) == len(value):
                return found
        raise self.wrong(name, "must be a list of texts")

    def text_map(self, name: str) -> dict[str, str]:
        """Return an object of texts, an empty one when absent."""
        value = self.take(name)
        if value is None:
            return {}
        if isinstance(value, dict):
            found = {key: one for key, one in value.items() if isinstance(one, str)}
            if len(found) == len(value):
                return found
        raise self.wrong(name, "must be an object of texts")


def _shown(value: JSON) -> str:
    return f"'{value[:64]}'" if isinstance(value, str) else str(value)[:64]
