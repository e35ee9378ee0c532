"""The document of an operation that comes as JSON, with what its members must be."""

from __future__ import annotations

from eventdbx.application.schema_work import Origin
from eventdbx.domain.canonical import JSON, parse
from eventdbx.errors import EventDBXError, InvalidSchema, SerializationError

_DEPTH_MAX = 128
"""Containers in containers of an operation: a payload or a column, and what is around it."""


class Asked:
    """A document, with what its members must be. Raises ``refusal`` for what they are not."""

    def __init__(
        self, document: dict[str, JSON], refusal: type[EventDBXError] = InvalidSchema
    ) -> None:
        self._document = document
        self._refusal = refusal

    def has(self, name: str) -> bool:
        """Say whether a member is there and not null."""
        return self._document.get(name) is not None

    def value(self, name: str) -> JSON:
        """Return a member of any kind, None where it is missing."""
        return self._document.get(name)

    def text(self, name: str) -> str | None:
        """Return a text, None where it is missing."""
        value = self._document.get(name)
        if value is not None and type(value) is not str:
            raise self._refusal(f"'{name}' must be a string")
        return value

    def required(self, name: str) -> str:
        """Return a text that must be there."""
        text = self.text(name)
        if text is None:
            raise self._refusal(f"'{name}' must be given")
        return text

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a boolean, the default where it is missing."""
        value = self._document.get(name)
        if value is not None and type(value) is not bool:
            raise self._refusal(f"'{name}' must be a boolean")
        return default if value is None else value

    def number(self, name: str) -> int | None:
        """Return a whole number that is not negative, None where it is missing."""
        value = self._document.get(name)
        if value is None:
            return None
        if type(value) is not int or not 0 <= value < 1 << 64:
            raise self._refusal(f"'{name}' must be a whole number, not negative")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, empty where it is missing."""
        value = self._document.get(name) or []
        if type(value) is not list or not all(type(one) is str for one in value):
            raise self._refusal(f"'{name}' must be an array of strings")
        return tuple(str(one) for one in value)

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return a list of whole numbers, empty where it is missing."""
        value = self._document.get(name) or []
        if type(value) is not list or not all(type(one) is int for one in value):
            raise self._refusal(f"'{name}' must be an array of whole numbers")
        return tuple(one for one in value if type(one) is int)

    def members(self, name: str) -> dict[str, JSON]:
        """Return an object, empty where it is missing."""
        value = self._document.get(name)
        if value is not None and type(value) is not dict:
            raise self._refusal(f"'{name}' must be an object")
        return value or {}

    def objects(self, name: str) -> list[dict[str, JSON]]:
        """Return a list of objects, one at least."""
        value = self._document.get(name)
        if type(value) is not list or not value or not all(type(one) is dict for one in value):
            raise self._refusal(f"'{name}' must be an array of objects, one at least")
        return value  # type: ignore[return-value]

    @property
    def origin(self) -> Origin:
        """Who asks for it and why, as the document says."""
        return Origin(self.text("actor"), self.text("reason"))


def read_asked(text: bytes, noun: str, refusal: type[EventDBXError] = InvalidSchema) -> Asked:
    """Return the document of an operation (``noun``). Raises SerializationError."""
    try:
        document = parse(text, depth_max=_DEPTH_MAX)
    except ValueError as error:
        raise SerializationError(str(error)) from None
    if type(document) is not dict:
        raise SerializationError(f"{noun} must be a JSON object")
    return Asked(document, refusal)
