"""Bundles of evidence: the lines of a `*.dbx-audit` file (docs/integrity.md, "Evidence bundles").

Which events are put into a bundle, and where their proofs come from, is in
:mod:`eventdbx.application.evidence`. Who checks a bundle is `verify.py`, which knows nothing of us.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from eventdbx.domain.events import Event
from eventdbx.domain.headmap import HeadProof
from eventdbx.domain.notes import to_base64

FORMAT = "eventdbx-audit/1"
ALL, SOME = "all", "some"
"""What a bundle may be said to be of, instead of a list: every aggregate of the log, which is
proven, or some that nobody has named."""

ERASED, WITHHELD = "erased", "withheld"
"""Why the content of an event is not in a bundle: gone for good, or hidden from who exports."""

Scope = Sequence[tuple[str, str | None]] | str


def header_line(origin: str, vkey: str, scope: Scope, checkpoint: str) -> bytes:
    """Return the first line: which log, whose key, what is in the bundle, under which checkpoint.

    ``scope`` names aggregates, or whole types, for which the id is None.
    """
    return _line(
        {
            "format": FORMAT,
            "origin": origin,
            "vkey": vkey,
            "scope": scope if isinstance(scope, str) else [list(one) for one in scope],
            "checkpoint": checkpoint,
        }
    )


def aggregate_line(
    aggregate_type: str, aggregate_id: str, size: int, root: bytes, proof: HeadProof | None
) -> bytes:
    """Return the line before the events of an aggregate; without a proof it may have more."""
    return _line(
        {
            "aggregate_type": aggregate_type,
            "aggregate_id": aggregate_id,
            "size": size,
            "root": to_base64(root),
            "heads": None if proof is None else [to_base64(one) for one in proof.siblings[::-1]],
        }
    )


def event_line(
    event: Event, index: int, path: Sequence[bytes], *, bare: str | None = None
) -> bytes:
    """Return the line of an event at an index of the log, with the proof that it is there.

    ``bare`` says why its content is not in the line: ERASED or WITHHELD.
    """
    found: dict[str, Any] = {
        "leaf": to_base64(event.leaf),
        "index": index,
        "path": [to_base64(one) for one in path],
    }
    if bare is not None:
        found[bare] = True
        return _line(found)
    found["salt"] = to_base64(event.salt)
    found["payload"] = to_base64(event.payload)
    found["extensions"] = None if event.extensions is None else to_base64(event.extensions)
    found["note"] = None if event.note is None else to_base64(event.note.encode())
    return _line(found)


def last_line(aggregates: int, events: int) -> bytes:
    """Return the last line: how much the bundle holds."""
    return _line({"aggregates": aggregates, "events": events})


def _line(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document) + b"\n"
