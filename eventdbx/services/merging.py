"""Merging one domain into another, as files: all of it or, whatever happens, nothing.

The target's store is copied (hard links) into a folder beside it, and the merge works on the copy.
When that is whole and on the disk, one rename says so; from then on whoever opens the domain puts
the copy in place (:func:`settle`). A process that is killed before leaves a folder that counts for
nothing. What a step puts is in :mod:`eventdbx.application.merging`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from eventdbx.application import merging
from eventdbx.application.counting import count
from eventdbx.application.domains import Domain
from eventdbx.application.merging import MergeRefused, Merging
from eventdbx.application.schema_work import Origin
from eventdbx.errors import IoError
from eventdbx.services.files import make_directory, replace_text, sync_path
from eventdbx.services.settled import MERGED, MERGING, REPORT, forget_unfinished, settle
from eventdbx.services.stores import open_domain
from eventdbx.services.workspace import Opened
from eventdbx.storage import eventlog, keys
from eventdbx.storage.hops import synchronous
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.keyslots import FILE_NAME as KEYS_NAME
from eventdbx.storage.lock import ProcessLock
from eventdbx.storage.opening import COPY_NAME
from eventdbx.storage.rocks import LOCK_NAME

_COPIED = (KEYS_NAME, "schemas.json", "schemas")
"""What belongs to a store and lies beside it."""


class Merged(NamedTuple):
    """What a merge came to. ``staged`` events of the source were left where they are."""

    aggregates: int = 0
    events: int = 0
    archived: int = 0
    schemas_added: int = 0
    schemas_replaced: int = 0
    snapshots: int = 0
    same_ids: int = 0
    staged: int = 0


def merge(
    place: Opened,
    source: str,
    target: str,
    *,
    overwrite_schemas: bool = False,
    actor: str | None = None,
    advance: Callable[[int], None] = lambda _events: None,
) -> Merged:
    """Merge a domain into another one that no process has open; ``advance`` counts events.

    The source stays as it is. A domain without anything to merge changes nothing. Raises
    MergeRefused, StorageError, IoError; nothing is changed then.
    """
    if source == target:
        raise MergeRefused("source and target domains must be different")
    workspace = place.workspace
    for name in (source, target):
        settle(workspace.domain_dir(name))
    if not (workspace.store_path(source) / "CURRENT").is_file():
        return Merged()
    with _opened(place, source) as from_domain:
        earlier = _finished_before(workspace.domain_dir(target), source, from_domain)
        if earlier is not None:
            return earlier
        view = from_domain.store.view()
        if not (eventlog.end_position(view, 0) or from_domain.schemas.in_force.schemas):
            return Merged(staged=_staged(view))
        return _merge(place, from_domain, target, overwrite_schemas, actor, advance)


def _merge(
    place: Opened,
    source: Domain,
    target: str,
    overwrite: bool,
    actor: str | None,
    advance: Callable[[int], None],
) -> Merged:
    folder = place.workspace.domain_dir(target)
    made = not folder.is_dir()
    try:
        with ExitStack() as held:
            # Held until the end: nobody writes what would be lost.
            before = held.enter_context(_opened(place, target))
            _check(source, before)
            prepared = merging.merged_schemas(
                source.schemas.in_force, before.schemas.in_force, overwrite=overwrite
            )
            _copy(before, folder)
            config = replace(place.config, durability="never")  # One sync, at the end.
            copy = held.enter_context(_opened(Opened(place.workspace, config), target, MERGING))
            done = _put_all(source, copy, prepared, actor, advance)
        held_on = ProcessLock(str(folder / "event_store" / LOCK_NAME))
        try:
            _keep_report(folder, source, done)
            _sync_tree(folder / MERGING)
            os.replace(folder / MERGING, folder / MERGED)
            sync_path(folder)
            settle(folder)
        finally:
            held_on.release()
    except BaseException as error:
        if (folder / MERGED).is_dir():
            raise
        forget_unfinished(folder)
        if made and folder.is_dir():
            shutil.rmtree(folder)
        if isinstance(error, OSError):
            raise IoError(f"cannot write {error.filename}: {error.strerror}") from None
        raise
    (folder / REPORT).unlink(missing_ok=True)
    return done


@contextmanager
def _opened(place: Opened, name: str, beside: str = "") -> Iterator[Domain]:
    """Open a domain to write, its erasures finished; or the copy of it in a folder of its own."""
    workspace = place.workspace
    folder = workspace.domain_dir(name) / beside
    make_directory(folder)
    domain = open_domain(
        name,
        folder / "event_store",
        place.config,
        hop=synchronous(),
        clock=Clock() if place.config.durability == "never" else None,
        plugins_path=workspace.plugins_path(name),
    )
    try:
        domain.erasing.start(_run_now)
        yield domain
    finally:
        _done(domain.store.close())


def _check(source: Domain, target: Domain) -> None:
    found = merging.first_in_both(source.store.view(), target.store.view())
    if found is not None:
        raise MergeRefused(f"aggregate '{found}' already exists in target domain; aborting merge")


def _copy(domain: Domain, folder: Path) -> None:
    """Copy a store and what belongs to it into the folder that the merge works in."""
    beside = folder / MERGING
    make_directory(beside)
    domain.store.checkpoint(str(beside / "event_store"))
    os.chmod(beside / "event_store", 0o700)
    for name in _COPIED:
        path = folder / name
        if path.is_dir():
            shutil.copytree(path, beside / name)
        elif path.is_file():
            shutil.copy2(path, beside / name)
    identity = folder / "event_store" / COPY_NAME
    if identity.is_file():
        shutil.copy2(identity, beside / "event_store" / COPY_NAME)


def _put_all(
    source: Domain,
    copy: Domain,
    schemas: merging.SchemaMerge,
    actor: str | None,
    advance: Callable[[int], None],
) -> Merged:
    view, before = source.store.view(), copy.store.view()
    same_ids = merging.same_ids(view, before)
    if schemas.prepared is not None:
        origin = Origin(actor, f"merged from domain '{source.name}'")
        _done(copy.schemas.replace(schemas.prepared, origin=origin))
    work = Merging(view, before)
    del before  # A view remembers the keys of all that is written after it.
    events = 0
    for batch in merging.batches(view):
        _done(copy.writer.carry_out(partial(work.put_events, batch)))
        events += len(batch.entries)
        advance(len(batch.entries))
    aggregates, archived, snapshots = _put_heads(work, copy)
    rows = work.rows()
    while some := dict(islice(rows, merging.STEP_ROWS)):
        _done(copy.store.transact(partial(merging.put_rows, some)))
    copy.folding.start(_run_now)
    return Merged(
        aggregates,
        events,
        archived,
        schemas.added,
        schemas.replaced,
        snapshots,
        same_ids,
        _staged(view),
    )


def _put_heads(work: Merging, copy: Domain) -> tuple[int, int, int]:
    aggregates = archived = snapshots = 0
    heads = work.heads()
    while some := list(islice(heads, merging.STEP_HEADS)):
        snapshots += _done(copy.writer.carry_out(partial(work.put_heads, some)))
        aggregates += len(some)
        archived += sum(head.archived for head in some)
    return aggregates, archived, snapshots


def _staged(view: IReadView) -> int:
    return sum(1 for _row in view.scan(keys.STAGED, keys.after(keys.STAGED)))


def _keep_report(folder: Path, source: Domain, done: Merged) -> None:
    replace_text(folder / MERGING / REPORT, json.dumps([_state(source), list(done)]))


def _finished_before(folder: Path, source: str, domain: Domain) -> Merged | None:
    """Return what a merge came to that was killed between its end and its answer."""
    try:
        state, counts = json.loads((folder / REPORT).read_text())
    except (OSError, ValueError):
        return None
    (folder / REPORT).unlink()
    return Merged(*counts) if state == _state(domain) else None


def _state(domain: Domain) -> list[Any]:
    view = domain.store.view()
    newest = eventlog.greatest_id(view, 0, eventlog.end_position(view, 0))
    return [domain.name, *count(view), newest]


def _sync_tree(folder: Path) -> None:
    for path, _folders, names in os.walk(folder):
        for name in names:
            sync_path(Path(path) / name)
        sync_path(Path(path))


def _run_now(work: Callable[[], Any]) -> Deferred[Any]:
    return succeed(work())


def _done(deferred: Deferred[Any]) -> Any:
    """Return the result of a Deferred that has fired, or raise its error."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "the store works at once here"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]
