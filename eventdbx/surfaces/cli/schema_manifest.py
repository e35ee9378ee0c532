"""The history of schemas as ``dbx schema`` shows it: words for versions, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventdbx.surfaces.cli.failures import Failure

Manifest = dict[str, Any]
Rows = list[tuple[str, ...]]


def version_of(manifest: Manifest, word: str) -> str:
    """Return the id that ``active``, ``latest``, a label or an id names. Raises Failure."""
    versions = [one["id"] for one in manifest["versions"]]
    lowered = word.strip().lower()
    if lowered == "active":
        active: str | None = manifest.get("active_version")
        if active is None:
            raise Failure("no active schema version available")
        return active
    if lowered == "latest":
        if not versions:
            raise Failure("no schema versions recorded")
        latest: str = versions[-1]
        return latest
    if word not in versions:
        labelled = [one["id"] for one in manifest["versions"] if word in one.get("labels", ())]
        if labelled:
            newest: str = labelled[-1]
            return newest
        raise Failure(
            f"schema version '{word}' was not found; "
            "run `dbx tenant schema history <tenant>` to list versions"
        )
    return word


def before_active(manifest: Manifest) -> str:
    """Return the id listed before the active one. Raises Failure."""
    active = version_of(manifest, "active")
    versions: list[str] = [one["id"] for one in manifest["versions"]]
    place = versions.index(active) if active in versions else 0
    if place == 0:
        raise Failure("no earlier schema version to roll back to")
    return versions[place - 1]


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
