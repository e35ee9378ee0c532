"""What verification says: what verified, what did not, and how much was read for it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from eventdbx.errors import StorageError


class Checked(NamedTuple):
    """One aggregate that verified."""

    aggregate_type: str
    aggregate_id: str
    version: int
    merkle_root: bytes


class Finding(NamedTuple):
    """One record, or the lack of one, that did not verify.

    ``record`` names it exactly: ``event order::o-1 v3``, ``position 17``, ``snapshot 4711 of
    order::o-1``. The names of the aggregate are empty where there is none, or none to be named.
    """

    aggregate_type: str
    aggregate_id: str
    version: int
    message: str
    record: str = ""


Found: TypeAlias = "Finding | int"
"""What checks yield as they go: a finding, or how many bytes were read since the last one."""

FINDINGS_OF_ONE_MAX = 100
"""Findings about one aggregate that are told: of one that is wrong altogether, the beginning."""


def about(
    aggregate_type: str, aggregate_id: str, version: int, why: str, record: str = ""
) -> Finding:
    """Return what is wrong with a version of an aggregate; 0 stands for its head."""
    name = f"{aggregate_type}::{aggregate_id}"
    text = f"integrity check failed for {name} at version {version}: {why}"
    if not record:
        record = f"event {name} v{version}" if version else f"head {name}"
    return Finding(aggregate_type, aggregate_id, version, StorageError.prefix + text, record)


def beside(aggregate_type: str, aggregate_id: str, record: str, why: str) -> Finding:
    """Return what is wrong with a record of an aggregate that is neither an event nor its head."""
    text = f"integrity check failed for {record}: {why}"
    return Finding(aggregate_type, aggregate_id, 0, StorageError.prefix + text, record)


def elsewhere(record: str, why: str) -> Finding:
    """Return what is wrong with a record that belongs to no aggregate."""
    return beside("", "", record, why)


def detail(finding: Finding) -> str:
    """Return the message of a finding as the detail of a StorageError."""
    return finding.message.removeprefix(StorageError.prefix)
