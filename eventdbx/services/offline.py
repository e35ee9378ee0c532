"""A domain without a server: the store opened by the command itself, everything at once.

The calls of a client are answered by the server's own routes, in this process, so that a command
prints the same whether a daemon runs or not. The reactor runs only where plugins are served.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from eventdbx.application.auditing import Action
from eventdbx.config import Config, decode_data_key
from eventdbx.domain.grants import Grant
from eventdbx.errors import StoreLocked
from eventdbx.services import spinning
from eventdbx.services.auditing import make_trail, take_over
from eventdbx.services.auditspool import Spool, operator
from eventdbx.services.checkpoints import write_copies
from eventdbx.services.domains import check_layout
from eventdbx.services.files import make_directory
from eventdbx.services.pidfile import read_record
from eventdbx.services.settled import settle
from eventdbx.services.stores import open_configured, open_domain
from eventdbx.services.tenantfiles import TenantFile
from eventdbx.services.tenants import put_quota
from eventdbx.services.workspace import Opened, Workspace
from eventdbx.storage import keys
from eventdbx.storage.hops import synchronous
from eventdbx.storage.interfaces import IOrderedStore
from eventdbx.storage.records import decode_tail
from eventdbx.surfaces.control.audits import offer_audit
from eventdbx.surfaces.control.calls import Call, result_of
from eventdbx.surfaces.control.routes import Routes, Session, Settings, failed
from eventdbx.wire.codec_client import EXTENSION_MEMBER, Reply
from eventdbx.wire.requests import PluginOperation
from eventdbx.wire.responses import Extension, layout

if TYPE_CHECKING:
    from eventdbx.plugins.drainer import Drainer

T = TypeVar("T")

PASS_MAX_S = 60.0
"""How long a command may deliver what it has written."""

REPLAY_TURN_S = 0.1
"""How long replays go on between two questions how far they are."""

_PAGE_MAX = 1 << 40
HEADS_MAX = 1_000
"""Aggregates that one command keeps at hand; a server, which answers many, keeps more."""

_OWNER = Grant("offline", "offline", actions=("*.*",), resources=("*",))


class OfflineStore:
    """One domain's store; with ``writes`` held exclusively until it is closed.

    Types and fields that schemas hide are left out unless ``include_hidden``.
    Without ``writes`` it is read as it is now, whoever else has it open, and a store that does
    not exist reads as empty. Raises StoreLocked when another process holds what is to be
    written, StorageError when the store cannot be read.
    """

    def __init__(
        self, place: Opened, domain: str, *, writes: bool = True, include_hidden: bool = False
    ) -> None:
        workspace, config = place
        path = workspace.store_path(domain)
        check_layout(workspace, domain)
        lean = replace(config, cache_threshold=min(config.cache_threshold, HEADS_MAX))
        backend = None if writes else _for_reading(path, lean)
        if writes:
            make_directory(path.parent)
        self._domain = open_domain(
            domain,
            path,
            lean,
            hop=synchronous(),
            backend=backend,
            plugins_path=workspace.plugins_path(domain),
        )
        self._reading = backend
        self._place = place
        self._drainer: Drainer | None = None
        try:
            self._begin(writes, include_hidden)
        except BaseException:
            # A shell goes on, and must not keep the store from its next line.
            if backend is not None:
                backend.close()
            else:
                _result(self._domain.store.close())
            raise

    def _begin(self, writes: bool, include_hidden: bool) -> None:
        workspace, config = self._place
        folder = workspace.domain_dir(self._domain.name)
        if writes:
            _check_alone(workspace)
            # A quota that held beside a server alone would be none.
            put_quota(self._domain, TenantFile.of(workspace, config).load().get(self._domain.name))
        if writes and config.data_encryption_key is not None:
            present = decode_data_key(config.data_encryption_key)
            while _result(Deferred.fromCoroutine(self._domain.data_keys.rewrap_some(present))):
                pass
        if writes:
            write_copies(self._domain.checkpoints, folder)
            # No reactor has to be spared: what derives from events follows the schemas at once.
            self._domain.folding.start(_run_now)
            self._domain.erasing.start(_run_now)
        self._session = Session(_OWNER, self._domain, owner=True, include_hidden=include_hidden)
        self._routes = Routes(
            admission=None,
            open_domain=lambda _name: self._domain,
            name_of=lambda _name: self._domain.name,
            settings=Settings(
                config.list_page_size,
                _PAGE_MAX,
                config.verbose_responses,
                False,
                config.reference_default_depth,
                config.reference_max_depth,
            ),
            run_slowly=_run_now,
            status=dict,
            trail=self if writes else None,
        )
        self._trail = make_trail(lambda: self._domain)
        offer_audit(self._routes.administration, lambda: self._domain, _run_now)
        if writes:
            spool = Spool(workspace.data_dir)
            if spool.holds_something:
                _result(Deferred.fromCoroutine(take_over(spool, self._trail)))
        self._end = self._tail()
        if writes:
            if self._domain.plugins.listed:
                self._attend_plugins()
            else:
                self._domain.plugins.on_change.append(self._attend_plugins)

    def call(self, call: Call[T]) -> T:
        """Carry out one call; raises the EventDBXError that a server would answer with."""
        if isinstance(call.request, PluginOperation):
            self._attend_plugins()
        response = self._routes.answer(self._session, call.request)
        if isinstance(response, Deferred):
            response = _result(response)
        if self._drainer is not None and self._reading is None:
            self._drainer.turn()
            # Replays go on only here: whoever asks how far they are gives them time.
            spinning.run_until(self._drainer.replays.at_rest, REPLAY_TURN_S)
        if isinstance(response, Extension):
            return result_of(call, Reply(0, EXTENSION_MEMBER, (0,), (response.json,)))
        member, words, texts = layout(response)
        return result_of(call, Reply(0, member, words, texts))

    def record(self, action: Action) -> Deferred[None]:
        """Record what was done on the store as the doing of who runs the command."""
        way = action.way.replace("control ", "offline ", 1)
        return self._trail.record(action._replace(actor=operator(os.environ), way=way))

    def seal_some(self) -> tuple[int, float] | None:
        """Seal some of what is plain; return how many values were and how far that is, None at
        the end."""
        keys = self._domain.data_keys
        more = _result(Deferred.fromCoroutine(keys.seal_some()))
        return keys.sealing() if more else None

    def close(self) -> None:
        """Give the store back."""
        if self._reading is not None:
            self._reading.close()  # Nothing was written, so there is nothing to commit.
            spinning.wind_up()
            return
        try:
            if self._drainer is not None:
                self._serve_plugins(self._drainer)
        finally:
            _result(self._domain.store.close())
            spinning.wind_up()

    def _attend_plugins(self) -> None:
        """Let plugins be asked for; keep their cursors from now on, unless only reading."""
        if self._drainer is None:
            from twisted.internet import reactor

            from eventdbx.services.draining import make_drainer

            workspace, config = self._place
            self._drainer = make_drainer(
                self._domain, config, workspace, reactor=reactor, run_slowly=_run_now
            )
            if self._reading is None:
                self._drainer.start()

    def _serve_plugins(self, drainer: Drainer) -> None:
        """Deliver what was written, once; what fails waits for the next command or the server."""
        if self._tail() > self._end:
            drainer.serve()
        if drainer.serving:
            spinning.run_until(drainer.at_rest, PASS_MAX_S)
        _result(drainer.stop())

    def _tail(self) -> int:
        return decode_tail(self._domain.store.view().get(keys.tail(0))).next_position


def _check_alone(workspace: Workspace) -> None:
    """Refuse to write if a server has begun, or what else needs it stopped, since we looked.

    Those hold the pid file before they ask for a store, and what replaces a store lets go of it
    for a moment: what is written then would be lost. Raises StoreLocked, ConfigError.
    """
    record = read_record(workspace.pid_path)
    if record is not None and record.alive and record.pid != os.getpid():
        doing = "a server" if record.doing is None else f"`{record.doing}`"
        raise StoreLocked(f"{doing} has begun just now (pid {record.pid}); try again")


def _for_reading(path: Path, config: Config) -> IOrderedStore:
    settle(path.parent)
    if (path / "CURRENT").is_file():
        return open_configured(path, config, read_only=True)
    from eventdbx.storage.memory import MemoryStore

    return MemoryStore()


def _run_now(work: Callable[[], Any]) -> Deferred[Any]:
    try:
        return succeed(work())
    except Exception as error:
        return fail(error)


def _result(deferred: Deferred[Any]) -> Any:
    """Return the result of a Deferred that has fired, an error as the answer it becomes."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    if not found:
        spinning.run_until(lambda: bool(found), None)
    return failed(found[0]) if isinstance(found[0], Failure) else found[0]
