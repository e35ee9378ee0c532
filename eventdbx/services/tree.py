"""The service tree: the only place where the parts of the server meet.

Order is stated here and nowhere else. Start: store, then plugins, then listener. Stop: listener and
requests in flight, then plugins, then store. ``MultiService`` would stop all children at once,
which is why the root is a service of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from eventdbx import __version__
from eventdbx.application.rehearsal import Rehearsals
from eventdbx.config import Config
from eventdbx.domain.schemas import json_schema_check
from eventdbx.errors import EventDBXError
from eventdbx.services.administering import make_installation, make_web
from eventdbx.services.auditing import AuditService, make_trail
from eventdbx.services.auditspool import Spool
from eventdbx.services.backing_up import BackupService
from eventdbx.services.checkpoints import CheckpointService
from eventdbx.services.cosigning import CosigningService
from eventdbx.services.domains import Listing, check_layout
from eventdbx.services.draining import THREADS, DrainService, make_drainer
from eventdbx.services.issuing import TokenDesk
from eventdbx.services.knowntokens import make_admission
from eventdbx.services.listening import ControlService, addresses, listener_on
from eventdbx.services.mapping import MappingService
from eventdbx.services.observing import Observing
from eventdbx.services.rekeying import RekeyingService
from eventdbx.services.reloading import LiveConfiguration, at_once, judging
from eventdbx.services.reporting import report_on
from eventdbx.services.scrubbing import ScrubService
from eventdbx.services.settling import SettlingService
from eventdbx.services.stores import StoreService
from eventdbx.services.tenantfiles import TenantFile
from eventdbx.services.tenants import TenantDesk
from eventdbx.services.web import WebService
from eventdbx.services.workspace import Workspace
from eventdbx.storage.hops import threaded
from eventdbx.surfaces.control.audits import offer_audit
from eventdbx.surfaces.control.backing_up import offer_backups
from eventdbx.surfaces.control.factory import ControlFactory
from eventdbx.surfaces.control.routes import Routes, Settings

SLOW_READ_THREADS = 2
"""Scans wait for the disk more than they compute; more threads would only contend."""

FILE_THREADS = 2
"""Tokens and the configuration wait for whoever holds the lock on their folder. That may be a
command that stands still: scans must not wait with them."""

LOADED_BEFORE_LISTENING = (json_schema_check,)
"""Modules that others import late, at the first refused event: a server must not wait then."""

REVOCATION_LOOK_S = 0.005
"""A revocation counts this much later at most; a look costs as much as parsing a payload."""


class Server(Service):
    """The whole server.

    ``ready`` fires when the listeners answer, or fails with the EventDBXError that prevents it.
    ``failed`` fires with a Failure if the store fails later: the process must end then.
    """

    log = Logger()

    def __init__(
        self,
        stores: StoreService,
        control: ControlService,
        pools: tuple[ThreadPool, ...],
        rehearsals: Rehearsals,
        draining: DrainService,
        live: LiveConfiguration,
        web: WebService,
        auditing: AuditService,
        observing: Observing,
        settling: SettlingService,
        checkpoints: CheckpointService,
        cosigning: CosigningService,
        mapping: MappingService,
        scrubbing: ScrubService,
        rekeying: RekeyingService,
        backups: BackupService,
    ) -> None:
        self.setName("eventdbx")  # type: ignore[no-untyped-call]
        self.stores = stores
        self.control = control
        self.web = web
        self.live = live
        self._pools = pools
        self._rehearsals = rehearsals
        self._draining = draining
        self._auditing = auditing
        self._settling = settling
        self._checkpoints = checkpoints
        self._cosigning = cosigning
        self._mapping = mapping
        self._scrubbing = scrubbing
        self._rekeying = rekeying
        self._backups = backups
        self.observing = observing
        self.ready: Deferred[None] = Deferred()
        self.failed: Deferred[Failure] = Deferred()

    def startService(self) -> None:
        """Open the store, then listen. What goes wrong is told by ``ready``."""
        super().startService()  # type: ignore[no-untyped-call]
        try:
            self.stores.startService()
        except EventDBXError as error:
            self.ready.errback(error)
            return
        for pool in self._pools:
            pool.start()
        self._draining.startService()
        self._auditing.startService()
        self._settling.startService()
        self._checkpoints.startService()
        self._cosigning.startService()
        self._mapping.startService()
        self._scrubbing.startService()
        self._rekeying.startService()
        self._backups.startService()
        self.observing.startService()
        both: list[Deferred[Any]] = [self.control.listening, self.web.listening]
        gatherResults(both, consumeErrors=True).addCallbacks(
            self._serves,
            lambda failure: self.ready.errback(failure.value.subFailure),
        )
        self.control.startService()
        self.web.startService()

    def _serves(self, _ports: Any) -> None:
        self.observing.phase = "serving"
        self.ready.callback(None)

    def stopService(self) -> Deferred[None]:
        """Stop in order; fires when the store is closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        self.observing.phase = "stopping"
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        rehearsed = self._rehearsals.stop()
        if self.web.running:
            await self.web.stopService()
        if self.control.running:
            await self.control.stopService()
        await rehearsed
        if self._settling.running:
            self._settling.stopService()
        if self._auditing.running:
            await self._auditing.stopService()
        if self._draining.running:
            await self._draining.stopService()
        if self.observing.running:
            self.observing.stopService()
        await self.stores.stop_folding()
        if self._backups.running:
            await self._backups.stopService()
        if self._rekeying.running:
            await self._rekeying.stopService()
        if self._scrubbing.running:
            await self._scrubbing.stopService()
        if self._mapping.running:
            await self._mapping.stopService()
        if self._checkpoints.running:
            await self._checkpoints.stopService()
        if self._cosigning.running:
            await self._cosigning.stopService()
        for pool in self._pools:
            if pool.started:
                pool.stop()
        if self.stores.running:
            await self.stores.stopService()
        self.log.info("EventDBX server stopped")

    def store_failed(self, failure: Failure) -> None:
        """Tell the process that the store has failed; only the first time counts."""
        self.log.critical(
            "the event store failed, nothing more is acknowledged: {reason}",
            reason=failure.getErrorMessage(),
        )
        if not self.failed.called:
            self.failed.callback(failure)


def run_on_pool(reactor: Any, pool: ThreadPool, work: Callable[[], Any]) -> Deferred[Any]:
    """Run a plain function on a thread of the pool; fire with what it returns.

    Cancelling stops the waiting, and work that has not begun by then is never done: peers that
    ask for much and hang up must not keep the others waiting.
    """
    wanted = True

    def forget(_deferred: Deferred[Any]) -> None:
        nonlocal wanted
        wanted = False

    def work_if_wanted() -> Any:
        return work() if wanted else None

    result: Deferred[Any] = Deferred(forget)

    def deliver(outcome: Any) -> None:
        if wanted:
            result.callback(outcome)

    deferToThreadPool(reactor, pool, work_if_wanted).addBoth(deliver)
    return result


def make_tree(config: Config, *, reactor: Any, workspace: Workspace) -> Server:
    """Return the server for a configuration, ready to be started."""
    workspace.token_files(lambda line: Server.log.warn("{line}", line=line)).adopt()
    workspace.revocations.look_at_most_every(REVOCATION_LOOK_S)
    slow_reads = ThreadPool(0, SLOW_READ_THREADS, name="slow-reads")
    files = ThreadPool(0, FILE_THREADS, name="files")
    started = time.time()

    def run_slowly(work: Callable[[], Any]) -> Deferred[Any]:
        return run_on_pool(reactor, slow_reads, work)

    def run_on_files(work: Callable[[], Any]) -> Deferred[Any]:
        return run_on_pool(reactor, files, work)

    def status() -> Mapping[str, Any]:
        return {
            "version": __version__,
            "restrict": live.config.restrict,
            "durability": config.durability,
            "uptime_s": round(time.time() - started, 3),
            "connections": factory.connection_count,
        }

    live = LiveConfiguration(
        config,
        workspace,
        run_slowly=run_on_files,
        report=lambda: report_on(status(), live, stores),
    )
    stores = StoreService(
        config,
        store_path=workspace.store_path,
        plugins_path=workspace.plugins_path,
        check_layout=lambda name: check_layout(workspace, name),
        make_hop=lambda: threaded(reactor),
        clock=reactor,
        on_failure=lambda failure: server.store_failed(failure),
        export=run_slowly,
    )
    live.listing = Listing(
        workspace, live.current, opened=stores.opened, run_slowly=run_slowly
    ).documents
    observing = Observing(
        workspace,
        stores,
        config=live.current,
        connections=lambda: {"control": factory.connection_count, **web.connections},
        # Not behind the scans: a scrape that waits for them tells nothing of them.
        run_slowly=lambda work: run_on_pool(reactor, reactor.getThreadPool(), work),
        clock=reactor,
    )
    loading = ThreadPool(0, THREADS, name="outbox")
    draining = DrainService(
        lambda domain: make_drainer(
            domain,
            live.config,
            workspace,
            reactor=reactor,
            run_slowly=lambda work: run_on_pool(reactor, loading, work),
            watch=observing.deliveries,
        ),
        clock=reactor,
        pool=loading,
    )
    checkpoints = CheckpointService(
        lambda: live.config.integrity,
        folder=lambda name: workspace.store_path(name).parent,
        run_slowly=run_on_files,
        clock=reactor,
    )
    mapping = MappingService(
        config.integrity.heads_interval_secs, run_slowly=run_slowly, clock=reactor
    )
    rekeying = RekeyingService(
        workspace, live, run_slowly=run_slowly, run_on_files=run_on_files, clock=reactor
    )
    live.keys = rekeying
    cosigning = CosigningService(lambda: live.config.integrity, reactor)
    tenants = TenantDesk(
        TenantFile.of(workspace, config),
        shard_count=config.tenants.shard_count,
        opened=stores.opened,
        open_domain=stores.domain,
        run_on_files=run_on_files,
    )
    stores.on_open.append(tenants.watch)
    stores.on_open += [observing.watch_domain, draining.add, checkpoints.add, cosigning.add]
    stores.on_open.append(mapping.add)
    scrubbing = ScrubService(lambda: live.config.integrity, run_slowly=run_slowly, clock=reactor)
    stores.on_open += [scrubbing.add, rekeying.add]
    # Neither behind the scans nor behind who waits for a lock: strangers wait for it.
    admission = make_admission(
        config,
        workspace,
        reactor,
        lambda work: run_on_pool(reactor, reactor.getThreadPool(), work),
    )
    trail = make_trail(lambda: stores.domain(live.config.domain))
    live.trail = trail
    routes = Routes(
        admission=admission,
        open_domain=stores.domain,
        name_of=stores.name_of,
        settings=answer_settings(config),
        run_slowly=run_slowly,
        status=status,
        clock=reactor,
        opened=stores.opened,
        trail=trail,
    )
    factory = ControlFactory(routes, reactor, config.limits, observing.control)
    control = ControlService(
        [listener_on(reactor, text) for text in addresses(config.socket)],
        factory,
        clock=reactor,
        drain_s=config.limits.drain_timeout_secs,
    )
    desk = TokenDesk(workspace, live.current)
    # Packing takes as long as reading everything: neither scans nor files may wait for it.
    backups = BackupService(
        workspace,
        stores,
        config=live.current,
        run_slowly=lambda work: run_on_pool(reactor, reactor.getThreadPool(), work),
        clock=reactor,
    )
    installation = make_installation(
        live,
        desk,
        stores=stores,
        routes=routes,
        trail=trail,
        run_slowly=run_slowly,
        run_on_files=run_on_files,
        backups=backups,
    )
    web = make_web(
        reactor,
        installation,
        admission,
        main=observing.api.resource,
        measure=observing.count_request,
        refused=observing.count_refusal,
    )
    settling = SettlingService(
        desk.unsettled,
        desk.settle,
        admission.verifier.look_for_keys,
        run_slowly=run_on_files,
        clock=reactor,
    )
    auditing = AuditService(Spool(workspace.data_dir), trail, reactor)
    server = Server(
        stores,
        control,
        (slow_reads, files),
        routes.rehearsals,
        draining,
        live,
        web,
        auditing,
        observing,
        settling,
        checkpoints,
        cosigning,
        mapping,
        scrubbing,
        rekeying,
        backups,
    )

    def take_up(new: Config) -> None:
        stores.take_up(new)
        draining.take_up(new)
        mapping.take_up(new.integrity.heads_interval_secs)
        scrubbing.look()
        routes.settings = answer_settings(new)
        factory.bounds = new.limits
        control.drain_s = new.limits.drain_timeout_secs

    live.parts += [rekeying.take_up, at_once(take_up), judging(admission), web.take_up]
    routes.administration.offer_installation(live, lambda: live.config.domain)
    routes.tenants.offer(tenants, routes.administration)
    offer_backups(routes, backups)
    offer_audit(routes.administration, lambda: stores.domain(live.config.domain), run_slowly)
    return server


def answer_settings(config: Config) -> Settings:
    """Return what a configuration says about answers."""
    return Settings(
        config.list_page_size,
        config.page_limit,
        config.verbose_responses,
        config.no_noise,
        config.reference_default_depth,
        config.reference_max_depth,
    )
