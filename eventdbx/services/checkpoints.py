"""When checkpoints are signed, and the copy of the newest one beside each store.

What they say and where they are kept is in :mod:`eventdbx.application.checkpointing`. Proofs and
receipts ask the domain itself, with or without a server: ``domain.checkpoints.cover(size)``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx.application.checkpoint_keys import signer_of
from eventdbx.application.checkpointing import PARTITIONS, Checkpoints, Signed
from eventdbx.application.domains import Domain
from eventdbx.errors import EventDBXError
from eventdbx.services.files import read_text, replace_text
from eventdbx.settings import Integrity
from eventdbx.storage.eventlog import AUDIT_PARTITION
from eventdbx.storage.store import Store

COPY_NAME = "checkpoint"
COPIES = {0: COPY_NAME, AUDIT_PARTITION: f"{COPY_NAME}.audit"}
"""The files beside a store, one for each log. A store that was put back to an older state does not
change them."""

log = Logger()


def checkpoints_of(
    name: str, store: Store, folder: Path, integrity: Integrity, *, keeps: bool
) -> Checkpoints:
    """Return the checkpoints of a domain whose store is in a folder; nothing is read yet."""

    def past(partition: int) -> bytes | None:
        text = read_text(folder / COPIES[partition])
        return None if text is None else text.encode()

    return Checkpoints(store, name, partial(signer_of, integrity), past=past, keeps=keeps)


def write_copies(checkpoints: Checkpoints, folder: Path) -> None:
    """From now on write each new checkpoint beside the store at once, as commands do."""

    def write(partition: int, signed: Signed) -> None:
        replace_text(folder / COPIES[partition], signed.note.encode().decode())

    checkpoints.on_signed.append(write)


class CheckpointService(Service):
    """Signs for every open domain: each group ``commit``, or once in an ``interval``.

    A clean stop signs what is left. What goes wrong is in the log, in ``problem`` of the domain's
    checkpoints, and tried again with the next commit.
    """

    def __init__(
        self,
        settings: Callable[[], Integrity],
        *,
        folder: Callable[[str], Path],
        run_slowly: Callable[[Callable[[], Any]], Deferred[Any]],
        clock: IReactorTime,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._now_ns = now_ns
        self._settings = settings
        self._folder = folder
        self._run_slowly = run_slowly
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    def startService(self) -> None:
        """Begin; domains are added as they are opened, even before."""
        super().startService()  # type: ignore[no-untyped-call]

    def add(self, domain: Domain) -> None:
        """Sign for a domain from now on, and at once what it has committed before."""
        kept = _Kept(
            domain.checkpoints,
            self._settings,
            self._folder(domain.name),
            self._run_slowly,
            self._clock,
            self._now_ns,
        )
        self._kept[domain.name] = kept
        domain.store.on_commit.append(kept.committed)
        try:
            domain.checkpoints.look_back()
        except EventDBXError as error:
            domain.checkpoints.trouble = error.detail
            log.error("{name}: {reason}", name=domain.name, reason=error.detail)
        kept.committed()

    def stopService(self) -> Deferred[None]:
        """Sign what has been committed; fires when that is durable, or has failed."""
        super().stopService()  # type: ignore[no-untyped-call]
        kept, self._kept = self._kept, {}
        return Deferred.fromCoroutine(self._stop(list(kept.values())))

    async def _stop(self, kept: list[_Kept]) -> None:
        for one in kept:
            await one.stop()


class _Kept:
    """The checkpoints of one domain: the pause between two of them, and copies of the newest."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        settings: Callable[[], Integrity],
        folder: Path,
        run_slowly: Callable[[Callable[[], Any]], Deferred[Any]],
        clock: IReactorTime,
        now_ns: Callable[[], int],
    ) -> None:
        self._now_ns = now_ns
        self._checkpoints = checkpoints
        self._settings = settings
        self._folder = folder
        self._run_slowly = run_slowly
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._copied: dict[int, Signed] = {}
        self._copying: Deferred[Any] | None = None
        self._copy_timer: IDelayedCall | None = None
        self._stopped = False
        checkpoints.on_signed.append(self._signed)
        with suppress(OSError):  # The copy is written soon after the signature.
            checkpoints.signed_ns = (folder / COPY_NAME).stat().st_mtime_ns

    def committed(self) -> None:
        """See to a checkpoint after a commit."""
        if self._stopped:
            return
        if self._settings().checkpoint == "commit":
            self._sign()
        elif self._timer is None:
            self._timer = self._clock.callLater(self._pause_s, self._due)

    async def stop(self) -> None:
        """Sign what is left, and write the copy."""
        self._stopped = True
        for timer in (self._timer, self._copy_timer):
            if timer is not None and timer.active():
                timer.cancel()
        await self._sign()
        if self._copying is not None:
            await self._copying
        if newest := self._uncopied():
            self._copy_here(newest)

    @property
    def _pause_s(self) -> float:
        return self._settings().checkpoint_interval_ms / 1000

    def _uncopied(self) -> dict[int, Signed]:
        """Return what is to be copied: nothing of a store that may be older than its copies."""
        checkpoints = self._checkpoints
        try:
            newest = {one: checkpoints.newest(one) for one in PARTITIONS if checkpoints.goes_on}
        except EventDBXError:
            return {}
        return {
            partition: signed
            for partition, signed in newest.items()
            if signed is not None and signed is not self._copied.get(partition)
        }

    def _due(self) -> None:
        self._timer = None
        self._sign()

    def _sign(self) -> Deferred[Any]:
        """Sign whichever log has grown; fires when that is over, and never fails."""
        checkpoints = self._checkpoints
        made: list[Deferred[Any]] = []
        for partition in PARTITIONS:
            try:
                if checkpoints.grown(partition):
                    made.append(checkpoints.renew(partition))
            except EventDBXError as error:
                checkpoints.trouble = error.detail
        if not made:
            return succeed(None)
        # What went wrong has been logged, once for each reason, by who tried.
        return DeferredList(made, consumeErrors=True)

    def _signed(self, partition: int, _signed: Signed) -> None:
        if partition == 0:
            self._checkpoints.signed_ns = self._now_ns()
        if not self._stopped and self._copy_timer is None and self._copying is None:
            self._copy()

    def _copy(self) -> None:
        """Write the newest ones beside the store, on a thread, not more often than wanted."""
        self._copy_timer = None
        newest = self._uncopied()
        if not newest:
            return

        def over(outcome: Any) -> None:
            self._copying = None
            self._tell_copied(newest, outcome if isinstance(outcome, Failure) else None)
            if not self._stopped:
                self._copy_timer = self._clock.callLater(self._pause_s, self._copy)

        self._copying = self._run_slowly(lambda: self._write(newest)).addBoth(over)

    def _write(self, newest: dict[int, Signed]) -> None:
        for partition, signed in newest.items():
            replace_text(self._folder / COPIES[partition], signed.note.encode().decode())

    def _copy_here(self, newest: dict[int, Signed]) -> None:
        try:
            self._write(newest)
        except EventDBXError:
            self._tell_copied(newest, Failure())
        else:
            self._tell_copied(newest, None)

    def _tell_copied(self, newest: dict[int, Signed], failure: Failure | None) -> None:
        if failure is None:
            self._copied.update(newest)
            self._checkpoints.copy_trouble = None
            return
        reason = failure.getErrorMessage()
        if reason != self._checkpoints.copy_trouble:
            self._checkpoints.copy_trouble = reason
            log.error("the copy of a checkpoint was not written: {reason}", reason=reason)
