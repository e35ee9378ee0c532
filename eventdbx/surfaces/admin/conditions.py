"""``ETag``, ``If-Match``, ``If-None-Match``: changes of what one has seen, and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from eventdbx.domain.canonical import JSON, dump
from eventdbx.surfaces.admin.table import Problem


def digest_of(document: JSON) -> str:
    """Return the SHA-256 of a document's canonical text in hex, as the audit trail names it."""
    return hashlib.sha256(dump(document)).hexdigest()


def etag_of(document: JSON) -> str:
    """Return a strong entity tag of a document, with its quotes."""
    return f'"{digest_of(document)[:32]}"'


def check_match(headers: Mapping[str, str], current: str | None, *, required: bool) -> None:
    """Raise Problem 412 unless the conditions of a change fit what is there.

    ``current`` is the entity tag, None if there is nothing. ``required`` refuses (428) to change
    what is there without a condition.
    """
    match, none_match = headers.get("if-match"), headers.get("if-none-match")
    if match is None and none_match is None:
        if required and current is not None:
            raise Problem(428, "If-Match is required", "precondition_required")
        return
    if match is not None and not _names(match, current):
        raise Problem(412, "If-Match does not name the present version", "precondition_failed")
    if none_match is not None and _names(none_match, current):
        raise Problem(412, "If-None-Match names what is there already", "precondition_failed")


def is_unchanged(headers: Mapping[str, str], current: str | None) -> bool:
    """Tell whether a client that reads has the present version already (304)."""
    none_match = headers.get("if-none-match")
    return none_match is not None and _names(none_match, current, weak=True)


def _names(header: str, current: str | None, *, weak: bool = False) -> bool:
    if current is None:
        return False
    named = [tag.strip() for tag in header.split(",")]
    if weak:
        named = [tag.removeprefix("W/") for tag in named]
    return "*" in named or current in named
