"""The history of schemas as ``dbx schema`` shows it: words for versions, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventdbx.domain.schemas.history import History, Version
from eventdbx.errors import ConfigError
from eventdbx.surfaces.cli.failures import Failure

Manifest = dict[str, Any]
Rows = list[tuple[str, ...]]


def version_of(manifest: Manifest, word: str) -> str:
    """Return the id that ``active``, ``latest``, a label or an id names. Raises Failure."""
    try:
        return _history(manifest).find(word).id
    except ConfigError as error:
        text = error.detail
        if text.endswith("was not found"):
            text += "; run `dbx tenant schema history <tenant>` to list versions"
        raise Failure(text, code=error.code) from None


def before_active(manifest: Manifest) -> str:
    """Return the id listed before the active one. Raises Failure."""
    try:
        return _history(manifest).before_active().id
    except ConfigError as error:
        raise Failure(error.detail, code=error.code) from None


def _history(manifest: Manifest) -> History:
    """Return as much of a history as names of versions need."""
    versions = (
        Version(one["id"], 0, None, None, None, "", tuple(one.get("labels", ())), "")
        for one in manifest["versions"]
    )
    return History(tuple(versions), active=manifest.get("active_version"))


def version_lines(manifest: Manifest) -> list[str]:
    """Return the table of versions, the active one marked."""
    rows: Rows = [(" ", "version", "created_at", "author", "labels", "reason")]
    for one in manifest["versions"]:
        rows.append(
            (
                "*" if one["id"] == manifest.get("active_version") else " ",
                one["id"],
                _seconds(one["created_at"]),
                one.get("author") or "-",
                ",".join(one.get("labels") or ()) or "-",
                one.get("reason") or "-",
            )
        )
    return _aligned(rows)


def audit_lines(manifest: Manifest) -> list[str]:
    """Return the table of what was done with versions."""
    if not manifest["audit_log"]:
        return ["no schema audit entries recorded"]
    names = ("actor", "reason", "details")
    rows: Rows = [("timestamp", "action", "version", *names)]
    for one in manifest["audit_log"]:
        others = (one.get(name) or "-" for name in names)
        rows.append((_seconds(one["timestamp"]), one["action"], one["version"], *others))
    return ["audit log:", *_aligned(rows)]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        " " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _seconds(time: str) -> str:
    """Return a time without its fraction."""
    return time.partition(".")[0].removesuffix("Z") + "Z"
