"""Names: what aggregates, events, metadata keys and domains may be called.

Every check passes what is right with one match of a compiled pattern; the words for what is wrong
are looked for only afterwards. Whether a named thing exists is not asked here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from eventdbx import limits
from eventdbx.errors import ConfigError, InvalidSchema

WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What counts as white space: the Unicode property, without the four ASCII separators that
``str.strip`` adds."""

AUDIT_TYPE = "dbx_admin"
"""The aggregate type of administrative actions: only the audit trail writes it."""

ERASED_TYPE = "dbx_erased"
"""The event type that records an erasure: only erasures write it, and no state has it in it."""

SUBJECT_KEY = "@subject"
"""The metadata key that names whom an event is about."""

_AGGREGATE_TYPE = re.compile(r"[a-z][a-z0-9_]*")
_EVENT_TYPE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*")
_AGGREGATE_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{limits.AGGREGATE_ID_BYTES_MAX - 1}}}")
_METADATA_KEY = re.compile(r"@[A-Za-z0-9][A-Za-z0-9_-]*")
_CAPITAL_INSIDE = re.compile(r"(?<=[^@_])(?=[A-Z])")
_DOMAIN = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{limits.DOMAIN_NAME_BYTES_MAX - 1}}}")


def _longer(text: str, bytes_max: int) -> bool:
    return len(text) > bytes_max or len(text.encode("utf-8", "surrogatepass")) > bytes_max


# Refusals are exceptions, which lru_cache does not keep: the caches hold short good names only.
@lru_cache(maxsize=4096)
def check_aggregate_type(aggregate_type: str) -> None:
    """Raise InvalidSchema unless the name is lowercase snake case of at most 128 bytes."""
    if _AGGREGATE_TYPE.fullmatch(aggregate_type) is None:
        raise InvalidSchema("aggregate_type must be lowercase snake_case")
    if len(aggregate_type) > limits.AGGREGATE_TYPE_BYTES_MAX:
        raise InvalidSchema(
            f"aggregate_type cannot exceed {limits.AGGREGATE_TYPE_BYTES_MAX} characters"
        )


@lru_cache(maxsize=4096)
def normalise_event_type(raw: str) -> str:
    """Return the event type with underscores for dots.

    Raises InvalidSchema unless the name is lowercase snake case, dots between its words allowed,
    of at most 128 bytes.
    """
    if _longer(raw, limits.EVENT_TYPE_BYTES_MAX):
        raise InvalidSchema(f"event_type cannot exceed {limits.EVENT_TYPE_BYTES_MAX} characters")
    if _EVENT_TYPE.fullmatch(raw) is None:
        raise InvalidSchema(
            "event_type must be lowercase snake_case; dots may be used as separators"
        )
    return raw.replace(".", "_")


def check_aggregate_id(aggregate_id: str) -> None:
    """Raise InvalidSchema unless the id is 1 to 128 letters, digits, ``_`` and ``-``.

    The first one is a letter or digit.
    """
    if _AGGREGATE_ID.fullmatch(aggregate_id) is not None:
        return
    if aggregate_id.strip(WHITE_SPACE) != aggregate_id:
        raise InvalidSchema("aggregate_id cannot include leading or trailing whitespace")
    if not aggregate_id:
        raise InvalidSchema("aggregate_id must not be empty")
    if _longer(aggregate_id, limits.AGGREGATE_ID_BYTES_MAX):
        raise InvalidSchema(
            f"aggregate_id cannot exceed {limits.AGGREGATE_ID_BYTES_MAX} characters"
        )
    raise InvalidSchema("aggregate_id may only contain letters, numbers, underscores, or hyphens")


def check_note(note: str) -> None:
    """Raise InvalidSchema when an event's note is longer than 128 characters."""
    if len(note) > limits.NOTE_CHARACTERS_MAX:
        raise InvalidSchema(f"event note cannot exceed {limits.NOTE_CHARACTERS_MAX} characters")


def check_metadata(metadata: Any) -> None:
    """Raise InvalidSchema unless metadata is an object whose keys are all ``@names``.

    The size of its text is checked where that text is made.
    """
    if type(metadata) is not dict:
        raise InvalidSchema("metadata must be a JSON object")
    for key in metadata:
        if _METADATA_KEY.fullmatch(key) is None:
            raise InvalidSchema(
                f"metadata key '{key}' must start with '@' followed by letters, numbers, "
                "underscores, or hyphens"
            )


def normalise_extension_key(key: str) -> str:
    """Return the key under which an aggregate keeps an extension: ``@createdBy``: ``@created_by``.

    Each capital is lowered, with an underscore before it unless ``@`` or ``_`` stands there.
    """
    if key == key.lower():
        return key
    return _CAPITAL_INSIDE.sub("_", key).lower()


def check_domain_name(name: str, *, noun: str = "tenant id") -> str:
    """Return the name of a domain, trimmed and in lower case.

    Raises ConfigError, with ``noun`` as its subject, unless it is 1 to 64 ASCII letters, digits,
    ``-`` and ``_`` of which the first is a letter or digit.
    """
    trimmed = name.strip(WHITE_SPACE)
    # Only ASCII is lowered: the Kelvin sign must not pass for a k.
    lowered = trimmed.lower() if trimmed.isascii() else trimmed
    if _DOMAIN.fullmatch(lowered) is not None:
        return lowered
    if not lowered:
        raise ConfigError(f"{noun} cannot be empty")
    if not (lowered[0].isascii() and lowered[0].isalnum()):
        raise ConfigError(f"{noun} must begin with an ASCII letter or digit")
    if _longer(lowered, limits.DOMAIN_NAME_BYTES_MAX):
        raise ConfigError(f"{noun} cannot exceed {limits.DOMAIN_NAME_BYTES_MAX} characters")
    raise ConfigError(f"{noun} may only contain letters, numbers, '-' or '_'")
