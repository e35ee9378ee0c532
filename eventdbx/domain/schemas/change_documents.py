"""Reading the members of a change document (see :mod:`eventdbx.domain.schemas.changes`).

What is missing, of the wrong kind or unknown is said by its name: documents also come from clients
that are not ours, and a misspelled member must not be taken for one that was left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from eventdbx.domain.canonical import JSON
from eventdbx.domain.identifiers import WHITE_SPACE
from eventdbx.errors import InvalidSchema, SerializationError


class ChangeDocument:
    """One change: ``do`` says which, the other members what to.

    Every reader raises SerializationError for a member of another kind.
    """

    def __init__(self, members: object) -> None:
        if not isinstance(members, dict):
            raise SerializationError("a schema change must be a JSON object")
        self._members: Mapping[str, JSON] = members
        self.do = self.text("do")

    def only(self, *known: str) -> None:
        """Raise SerializationError if there is a member besides these."""
        unknown = sorted(self._members.keys() - {"do", *known})
        if unknown:
            raise SerializationError(f"schema change '{self.do}' has no member '{unknown[0]}'")

    def __contains__(self, key: str) -> bool:
        """Say whether a member is there, null or not."""
        return key in self._members

    def value(self, key: str) -> JSON:
        """Return any member, None without it."""
        return self._members.get(key)

    def text(self, key: str) -> str:
        """Return a text that must be there."""
        found = self._members.get(key)
        if not isinstance(found, str):
            raise self._wrong(key, "text")
        return found

    def optional_text(self, key: str) -> str | None:
        """Return a text; None when it is null or left out."""
        return None if self._members.get(key) is None else self.text(key)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        found = self._members.get(key, default)
        if not isinstance(found, bool):
            raise self._wrong(key, "boolean")
        return found

    def count(self, key: str) -> int | None:
        """Return an unsigned number; None when it is null or left out."""
        found = self._members.get(key)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            raise self._wrong(key, "non-negative integer")
        return found

    def texts(self, key: str) -> list[str]:
        """Return a list of texts; empty when it is null or left out."""
        return texts_of(self._members.get(key), self._wrong(key, "list of texts"))

    def mapping(self, key: str) -> dict[str, JSON]:
        """Return an object; empty when it is null or left out."""
        found = self._members.get(key)
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise self._wrong(key, "object")
        return found

    def text_lists(self, key: str) -> dict[str, list[str]]:
        """Return an object of lists of texts."""
        wrong = self._wrong(key, "object of lists of texts")
        return {name: texts_of(found, wrong) for name, found in self.mapping(key).items()}

    def _wrong(self, key: str, kind: str) -> SerializationError:
        return SerializationError(f"schema change '{self._name}' needs '{key}' to be a {kind}")

    @property
    def _name(self) -> str:
        found = self._members.get("do")
        return found if isinstance(found, str) else "?"


def texts_of(value: JSON, wrong: SerializationError) -> list[str]:
    """Return a list of texts, empty for null; raise ``wrong`` for anything else."""
    texts: list[str] = []
    if value is None:
        return texts
    if not isinstance(value, list):
        raise wrong
    for one in value:
        if not isinstance(one, str):
            raise wrong
        texts.append(one)
    return texts


def trimmed(texts: Iterable[str], empty: str) -> list[str]:
    """Return the texts without white space around them, each once, in their order.

    Raises InvalidSchema with the message ``empty`` if nothing is left of one.
    """
    found = [text.strip(WHITE_SPACE) for text in texts]
    if not all(found):
        raise InvalidSchema(empty)
    return list(dict.fromkeys(found))
