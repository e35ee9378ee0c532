"""Lists that come in pages: how they are printed, and where the next page begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from eventdbx.surfaces.cli.output import (
    Seen,
    documents_wanted,
    format_wanted,
    note_on_terminal,
    print_envelope,
    print_listing,
    say_more,
)
from eventdbx.surfaces.cli.session import Pages

Document = dict[str, Any]


def page_size(given: dict[str, Any], take: int | None, default: int) -> int | None:
    """Return how many items are wanted, None for all: ``--all``, ``--take``, or a page."""
    return None if given["everything"] else take or default


def print_pages(
    pages: Pages,
    line: Callable[[Any], str],
    *,
    view: Callable[[Document], Document] | None = None,
    envelope: bool = False,
    sort: bool = False,
    empty: str | None = None,
    tell_more: bool = True,
) -> bool:
    """Print a list, and say where it goes on; return whether there was anything.

    ``envelope`` puts the items and the next cursor into one document, where the format has one:
    rows of CSV and tables stay rows. ``empty`` is the line of an empty list.
    """
    values: Iterable[Document] = pages if view is None else map(view, pages)
    if documents_wanted() and envelope and format_wanted() not in ("csv", "table"):
        seen = Seen(values)
        print_envelope(seen, lambda: {"next_cursor": pages.next_cursor}, sort=sort)
        return seen.count > 0
    found = Seen(values)
    print_listing(found, line, empty=empty, sort=sort)
    if tell_more:
        say_more(pages.next_cursor)
    if pages.skips_on is not None:
        note_on_terminal(f"perhaps more: --skip {pages.skips_on}, or --all")
    return found.count > 0
