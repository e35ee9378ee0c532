"""Pages of lists: ``limit`` and ``cursor``; without either the whole list, as it always was."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from eventdbx.errors import InvalidCursor
from eventdbx.surfaces.admin.table import Parameter

LIMIT = Parameter(
    "limit",
    {"type": "integer", "minimum": 1},
    "At most this many items; the configured page_limit bounds it.",
)
CURSOR = Parameter(
    "cursor",
    {"type": "string", "maxLength": 4096},
    "Where to go on: the X-Next-Cursor of the page before.",
)


class Page(NamedTuple):
    """Some items of a list, and the cursor of what follows, None at the end."""

    items: list[Any]
    next_cursor: str | None


def page_size(query: Mapping[str, str], page_limit: int) -> int:
    """Return how many items a page holds: what is asked for, within the configured bound."""
    asked = query.get("limit")
    return page_limit if asked is None else min(int(asked), page_limit)


def page_of(items: list[Any], query: Mapping[str, str], page_limit: int) -> Page:
    """Return the page that a query asks for. Raises InvalidCursor."""
    if "limit" not in query and "cursor" not in query:
        return Page(items, None)
    size = page_size(query, page_limit)
    start = _position(query["cursor"]) if "cursor" in query else 0
    end = start + size
    return Page(items[start:end], _cursor(end) if end < len(items) else None)


def next_headers(path: str, query: Mapping[str, str], cursor: str) -> dict[str, str]:
    """Return the headers that lead to the page after this one."""
    target = f"{quote(path, safe='/%')}?{urlencode({**query, 'cursor': cursor})}"
    return {"Link": f'<{target}>; rel="next"', "X-Next-Cursor": cursor}


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(b"p%d" % position).decode().rstrip("=")


def _position(cursor: str) -> int:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        raise InvalidCursor("it is none of ours") from None
    if not text.startswith("p") or not text[1:].isdecimal() or len(text) > 19:
        raise InvalidCursor("it is none of ours")
    return int(text[1:])
