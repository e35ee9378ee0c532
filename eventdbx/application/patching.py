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
    about, unknown = _about(reads, name, head, keys & head.state.keys(), fold_of)
    if draft.subject is not None:
        about.add(draft.subject)
    if len(about) > 1:
        raise InvalidSchema(
            "a patch keeps the whole value of each key, and what it changes a part of is about "
            f"another '{SUBJECT_KEY}': write the values instead"
        )
    if unknown and not about:
        raise InvalidSchema(
            f"it is too long ago that '{min(unknown)}' was written to tell whom it is about: give "
            f"the patch the metadata key '{SUBJECT_KEY}', or write the value instead"
        )
    if not about or draft.subject is not None:
        return draft
    subject = about.pop()
    extensions: dict[str, JSON] = {**(draft.extensions or {}), SUBJECT_KEY: subject}
    return draft._replace(subject=subject, extensions=extensions, extensions_json=dump(extensions))


def _about(
    reads: Reads, name: bytes, head: Head, keys: set[str], fold_of: Callable[[str], Fold]
) -> tuple[set[str], set[str]]:
    """Return whom the newest values of keys are about, and the keys of which it is not known."""
    about: set[str] = set()
    fold, wanted = fold_of(head.aggregate_type), set(keys)
    first = max(0, head.version - limits.PATCH_LOOKS_BACK)
    for version in range(head.version, first, -1):
        if not wanted:
            break
        event = eventlog.load_event(reads, name, version)
        payload = None if event is None else fold.lift(event)
        written = fold_state({}, payload).keys()
        if event is None or not wanted & written:
            continue
        wanted -= written
        subject = subject_of(event)
        if subject is not None:
            about.add(subject)
    return about, wanted
