"""Tokens for places in the commit log: what followers keep, and hand back.

Opaque to clients. A token names, for each partition, the position of the last event that was
seen; the embedded store has one partition, so there is one pair: ``0-41``.
"""

from __future__ import annotations

import re

from eventdbx.errors import InvalidCursor

_TOKEN = re.compile(r"0-(0|[1-9][0-9]{0,18})\Z")


def position_token(position: int) -> str:
    """Return the token of a position."""
    return f"0-{position}"


def parse_position_token(text: str) -> int:
    """Return the position that a token names; raises InvalidCursor."""
    match = _TOKEN.match(text)
    if match is None or int(match[1]) >= 1 << 63:
        raise InvalidCursor(f"'{text[:64]}' is not a position token")
    return int(match[1])
