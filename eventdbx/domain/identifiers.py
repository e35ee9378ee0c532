"""Names and what they may look like; each check raises InvalidSchema in the protocol's words."""

from __future__ import annotations

import re
from functools import lru_cache

from eventdbx import limits
from eventdbx.domain.canonical import JSON
from eventdbx.errors import ConfigError, InvalidSchema

_TYPE = re.compile(r"[a-z][a-z0-9_]*")
_EVENT_TYPE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_EXTENSION = re.compile(r"@[A-Za-z0-9][A-Za-z0-9_-]*")
_DOMAIN = re.compile(r"[a-z0-9_-]*")


@lru_cache(maxsize=4096)
def check_aggregate_type(name: str) -> None:
    """Raise InvalidSchema unless this is lowercase snake_case of at most 128 bytes."""
    if _TYPE.fullmatch(name) is None:
        raise InvalidSchema("aggregate_type must be lowercase snake_case")
    if len(name) > limits.AGGREGATE_TYPE_BYTES_MAX:
        raise InvalidSchema(
            f"aggregate_type cannot exceed {limits.AGGREGATE_TYPE_BYTES_MAX} characters"
        )


def check_aggregate_id(name: str) -> None:
    """Raise InvalidSchema unless this may be an aggregate's id (at most 128 bytes)."""
    if _ID.fullmatch(name) is not None and len(name) <= limits.AGGREGATE_ID_BYTES_MAX:
        return
    if name != name.strip():
        raise InvalidSchema("aggregate_id cannot include leading or trailing whitespace")
    if not name:
        raise InvalidSchema("aggregate_id must not be empty")
    if len(name.encode("utf-8", "surrogatepass")) > limits.AGGREGATE_ID_BYTES_MAX:
        raise InvalidSchema("aggregate_id cannot exceed 128 characters")
    raise InvalidSchema("aggregate_id may only contain letters, numbers, underscores, or hyphens")


@lru_cache(maxsize=4096)
def normalise_event_type(raw: str) -> str:
    """Return the event type that is stored for a name as received: dots become underscores."""
    if len(raw.encode("utf-8", "surrogatepass")) > limits.EVENT_TYPE_BYTES_MAX:
        raise InvalidSchema("event_type cannot exceed 128 characters")
    if _EVENT_TYPE.fullmatch(raw) is None:
        raise InvalidSchema(
            "event_type must be lowercase snake_case; dots may be used as separators"
        )
    return raw.replace(".", "_")


def check_note(note: str) -> None:
    """Raise InvalidSchema when a note is longer than 128 characters."""
    if len(note) > limits.NOTE_CHARACTERS_MAX:
        raise InvalidSchema("event note cannot exceed 128 characters")


def check_metadata(value: JSON) -> None:
    """Raise InvalidSchema unless this is an object whose keys all are ``@`` names."""
    if not isinstance(value, dict):
        raise InvalidSchema("metadata must be a JSON object")
    for key in value:
        if _EXTENSION.fullmatch(key) is None:
            raise InvalidSchema(
                f"metadata key '{key}' must start with '@' followed by letters, numbers, "
                "underscores, or hyphens"
            )


@lru_cache(maxsize=4096)
def normalise_extension_key(key: str) -> str:
    """Return a metadata key as aggregates keep it: ``@createdBy`` becomes ``@created_by``."""
    parts: list[str] = []
    previous = ""
    for letter in key:
        if letter.isupper() and previous and previous not in "@_":
            parts.append("_")
        parts.append(letter.lower())
        previous = letter
    return "".join(parts)


def check_domain_name(name: str, *, noun: str = "tenant id") -> str:
    """Return a domain's name trimmed and lower-cased; raise ConfigError when it is none."""
    name = name.strip().lower()
    if not name:
        raise ConfigError(f"{noun} cannot be empty")
    if not (name[0].isascii() and name[0].isalnum()):
        raise ConfigError(f"{noun} must begin with an ASCII letter or digit")
    if _DOMAIN.fullmatch(name) is None:
        raise ConfigError(f"{noun} may only contain letters, numbers, '-' or '_'")
    if len(name) > limits.DOMAIN_NAME_BYTES_MAX:
        raise ConfigError(f"{noun} cannot exceed {limits.DOMAIN_NAME_BYTES_MAX} characters")
    return name
