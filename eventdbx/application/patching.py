"""Whom a patch is about: an event keeps the whole new value of each key that a patch touches.

So a patch of a part of what was said about somebody is about them, too, or their erasure would
leave the rest of the value in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventdbx import limits
from eventdbx.application.drafting import subject_of
from eventdbx.domain.aggregate import Draft, Fold, Head, fold_state
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.identifiers import SUBJECT_KEY
from eventdbx.errors import InvalidSchema
from eventdbx.storage import eventlog
from eventdbx.storage.eventlog import Reads


def about_same(
    reads: Reads,
    name: bytes,
    head: Head,
    draft: Draft,
    operations: Any,
    fold_of: Callable[[str], Fold],
) -> Draft:
    """Return the draft of a patch as one about whom the values are about that it changes in part.

    ``operations`` are those of the patch, which were carried out already. Raises InvalidSchema when
    it would be about more than one, or that cannot be told.
    """
    # The metadata of an aggregate has the key as long as anything in its state is about somebody.
    if SUBJECT_KEY not in head.extensions:
        return draft
    paths = [operation["path"][1:].partition("/") for operation in operations]
    keys = {key.replace("~1", "/").replace("~0", "~") for key, slash, _rest in paths if slash}
    wanted = keys & head.state.keys()
    found = _about(reads, name, head, wanted, fold_of, limits.PATCH_LOOKS_BACK)
    about = {draft.subject, *found.values()} - {None}
    if len(about) > 1:
        raise InvalidSchema(
            "a patch keeps the whole value of each key, and what it changes a part of is about "
            f"another '{SUBJECT_KEY}': write the values instead"
        )
    if not about and (unknown := wanted - found.keys()):
        raise InvalidSchema(
            f"it is too long ago that '{min(unknown)}' was written to tell whom it is about: give "
            f"the patch the metadata key '{SUBJECT_KEY}', or write the value instead"
        )
    return draft if draft.subject is not None else _about_one(draft, *about)


def split_by_subject(
    reads: Reads, name: bytes, head: Head, draft: Draft, fold_of: Callable[[str], Fold]
) -> list[Draft]:
    """Return what sets parts of values to null as drafts of which each is about one alone."""
    payload = draft.payload
    if SUBJECT_KEY not in head.extensions or type(payload) is not dict:
        return [draft]
    kept = {key for key, value in payload.items() if value is not None}
    found = _about(reads, name, head, kept, fold_of, head.version)
    groups: dict[str | None, dict[str, JSON]] = {}
    for key, value in payload.items():
        groups.setdefault(found.get(key), {})[key] = value
    return [
        _about_one(draft._replace(payload=part, payload_json=dump(part)), subject)
        for subject, part in groups.items()
    ]


def _about_one(draft: Draft, subject: str | None = None) -> Draft:
    if subject is None:
        return draft
    extensions: dict[str, JSON] = {**(draft.extensions or {}), SUBJECT_KEY: subject}
    return draft._replace(subject=subject, extensions=extensions, extensions_json=dump(extensions))


def _about(
    reads: Reads,
    name: bytes,
    head: Head,
    keys: set[str],
    fold_of: Callable[[str], Fold],
    most: int,
) -> dict[str, str | None]:
    """Return whom the newest values of keys are about; not all if they are ``most`` events back."""
    found: dict[str, str | None] = {}
    fold, wanted = fold_of(head.aggregate_type), set(keys)
    for version in range(head.version, max(0, head.version - most), -1):
        if not wanted:
            break
        event = eventlog.load_event(reads, name, version)
        written = () if event is None else fold_state({}, fold.lift(event)).keys() & wanted
        if event is not None and written:
            found.update(dict.fromkeys(written, subject_of(event)))
            wanted -= written
    return found
