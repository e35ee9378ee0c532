"""The domains of an installation: opened when first asked for, closed with the service.

Only administration creates a domain; a name in a hello opens one that exists or is refused.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from eventdbx import limits
from eventdbx.application.datakeys import DataKeys
from eventdbx.application.domains import Domain
from eventdbx.application.erasing import Erasing
from eventdbx.application.plugins import Plugins
from eventdbx.application.schemas import Catalogue
from eventdbx.application.writer import Writer, no_slot
from eventdbx.config import Config, decode_data_key
from eventdbx.domain.identifiers import check_domain_name
from eventdbx.errors import ConfigError, EventDBXError, UnknownName
from eventdbx.services.anchoring import anchors_of
from eventdbx.services.checkpoints import checkpoints_of
from eventdbx.services.pluginfiles import PluginFile
from eventdbx.services.schemafiles import SchemaFiles
from eventdbx.services.scrubbing import scrub_of
from eventdbx.services.settled import forget_unfinished, settle
from eventdbx.services.stagedfile import forget_taken_over, take_over_staged
from eventdbx.storage.erasures import finish_interrupted
from eventdbx.storage.interfaces import IHop, IOrderedStore
from eventdbx.storage.opening import open_store
from eventdbx.storage.sealed import SealedStore
from eventdbx.storage.store import Store

_POOL_BYTES = 4_096

log = Logger()

_CACHED_BYTES_EACH = 8_192
"""Of tables in memory for each aggregate that is kept at hand, as far as that is little."""


def open_domain(
    name: str,
    path: Path,
    config: Config,
    *,
    hop: IHop,
    clock: IReactorTime | None = None,
    on_failure: Callable[[Failure], None] | None = None,
    backend: IOrderedStore | None = None,
    export: Callable[[Callable[[], Any]], Deferred[Any]] | None = None,
    plugins_path: Path | None = None,
) -> Domain:
    """Open (or create) the store of a domain, and put catalogue and writer in front.

    ``backend`` is one opened already to be read, in place of that at ``path``; ``export`` runs
    on a thread what writes files, and what is slow about schemas; ``plugins_path`` is where the
    plugins are configured, by default beside the store. Raises StoreLocked when another
    process holds the store, StorageError when it cannot be read, SerializationError or
    InvalidSchema when ``schemas.json`` was edited into something that cannot be in force.
    """
    opened: IOrderedStore
    if backend is None:
        settle(path.parent)
        opened = _finished(open_configured(path, config))
        try:
            forget_unfinished(path.parent)
        except EventDBXError:
            opened.close()
            raise
    else:
        opened = backend
    store = Store(
        opened,
        hop=hop,
        durability=config.durability if clock is not None else "always",
        clock=clock,
        interval_s=config.interval_ms / 1000,
        on_failure=on_failure,
    )
    files = SchemaFiles(path.parent)
    run = export or _at_once
    schemas = Catalogue(
        store,
        clock_ns=time.time_ns,
        restrict=config.restrict,
        default_threshold=config.snapshot_threshold,
        export=lambda exported: run(partial(files.write, exported)),
        run_slowly=run,
        domain=name,
        none_blocks=config.reference_none_blocks,
    )
    try:
        warnings = files.adopt(schemas, writes=backend is None)
    except EventDBXError:
        opened.close()
        raise
    for warning in warnings:
        log.warn("schemas.json: {warning}", warning=warning)
    plugins = Plugins(PluginFile(plugins_path or path.parent / "plugins.json"), domain=name)
    plugins.shared = config.tenants.multi_tenant or (
        plugins_path is not None and plugins_path.parent != path.parent
    )
    writer = Writer(
        store,
        clock_ns=time.time_ns,
        entropy=pooled_entropy(),
        worker_id=config.snowflake_worker_id,
        rules=schemas.rules,
        cache_entries=max(config.cache_threshold, 1),
        check_targets=plugins.check_targets,
        before_targets=plugins.look,
        new_slot=opened.seals.new_slot if isinstance(opened, SealedStore) else no_slot,
    )
    domain = Domain(
        name,
        store,
        writer,
        schemas,
        partial(files.reload, schemas, run),
        plugins,
        checkpoints_of(name, store, path.parent, config.integrity, keeps=backend is None),
    )
    if isinstance(opened, SealedStore):
        domain.data_keys = DataKeys(store, writer, opened.seals)
        domain.erasing = Erasing(store, writer, opened.seals)
        domain.erasing.on_purge.append(domain.exports.clear)
        domain.erasing.on_purge.append(partial(forget_taken_over, path.parent))
        domain.data_keys.on_purge = domain.erasing.on_purge
    domain.anchors = anchors_of(domain.checkpoints, path.parent, lambda: config.integrity)
    domain.scrub = scrub_of(name, path.parent)
    if backend is None:
        take_over_staged(domain, path.parent)
    return domain


def _finished(opened: SealedStore) -> SealedStore:
    """Return a store without the content that an erasure was killed over."""
    try:
        count = finish_interrupted(opened, opened.seals.slots)
    except BaseException:
        opened.close()
        raise
    if count:
        opened.seals.forget()
        log.info("erasures that were interrupted have gone on: {count}", count=count)
    return opened


def open_configured(path: Path, config: Config, *, read_only: bool = False) -> SealedStore:
    """Open the store in a folder with the data keys of the configuration.

    Raises as :func:`open_domain` does.
    """
    texts = (config.data_encryption_key, *config.data_encryption_keys)
    data_keys = [decode_data_key(text) for text in texts if text]
    heads = max(config.cache_threshold, 1)
    return open_store(
        str(path),
        data_keys=data_keys,
        seal=config.encryption and bool(data_keys),
        read_only=read_only,
        ciphers_max=min(limits.CIPHERS_KEPT_MAX, 2 * heads),
        cache_bytes=min(limits.BLOCK_CACHE_BYTES, _CACHED_BYTES_EACH * heads),
    )


def _at_once(work: Callable[[], Any]) -> Deferred[Any]:
    return succeed(work())


def pooled_entropy(source: Callable[[int], bytes] = os.urandom) -> Callable[[int], bytes]:
    """Return a source of random bytes that asks the system for many at a time.

    Every event needs a salt of 16 bytes; a system call for each would cost more than hashing it.
    """
    pool = b""
    used = 0

    def take(count: int) -> bytes:
        nonlocal pool, used
        if used + count > len(pool):
            pool, used = source(max(_POOL_BYTES, count)), 0
        used += count
        return pool[used - count : used]

    return take


class StoreService(Service):
    """All open domains. Opens the active one first of all, closes everything last of all."""

    log = Logger()

    def __init__(
        self,
        config: Config,
        *,
        store_path: Callable[[str], Path],
        plugins_path: Callable[[str], Path],
        make_hop: Callable[[], IHop],
        clock: IReactorTime,
        on_failure: Callable[[Failure], None],
        export: Callable[[Callable[[], Any]], Deferred[Any]] | None = None,
        check_layout: Callable[[str], None] = lambda _name: None,
    ) -> None:
        self._config = config
        self._check_layout = check_layout
        self._export = export
        self._store_path = store_path
        self._plugins_path = plugins_path
        self._make_hop = make_hop
        self._clock = clock
        self._on_failure = on_failure
        self._domains: dict[str, Domain] = {}
        self.on_open: list[Callable[[Domain], None]] = []
        """Called with each domain that was opened."""

    def startService(self) -> None:
        """Open the active domain; raises what :func:`open_domain` raises."""
        super().startService()  # type: ignore[no-untyped-call]
        self._open(self._config.domain)

    def domain(self, name: str | None) -> Domain:
        """Return a domain by name, the active one for None.

        Raises ConfigError for a malformed or unknown name, and the errors of opening.
        """
        found = self.name_of(name)
        if name is None:
            return self._domains[found]
        return self._domains.get(found) or self._open(found)

    def name_of(self, name: str | None) -> str:
        """Return the name of a domain that exists, as :meth:`domain` finds it; open nothing.

        Raises ConfigError for a malformed or unknown name.
        """
        if name is None:
            if self._config.tenants.multi_tenant:
                raise ConfigError("tenantId is required when multi-tenant mode is enabled")
            return self._config.domain
        name = check_domain_name(name)
        if name not in self._domains and not self._store_path(name).parent.is_dir():
            raise UnknownName(f"domain '{name}' does not exist")
        return name

    def take_up(self, config: Config) -> None:
        """Go on under another configuration, in the domains that are open and in later ones."""
        self._config = config
        for domain in self._domains.values():
            domain.schemas.take_up(config.restrict, config.snapshot_threshold)

    def opened(self) -> list[Domain]:
        """Return the domains that are open now."""
        return list(self._domains.values())

    def _open(self, name: str) -> Domain:
        self._check_layout(name)
        domain = open_domain(
            name,
            self._store_path(name),
            self._config,
            hop=self._make_hop(),
            clock=self._clock,
            on_failure=self._on_failure,
            export=self._export,
            plugins_path=self._plugins_path(name),
        )
        folder = self._store_path(name).parent
        domain.anchors = anchors_of(domain.checkpoints, folder, lambda: self._config.integrity)
        self._domains[name] = domain
        if self._export is not None:
            domain.folding.start(self._export)
            domain.erasing.start(self._export)
        self.log.info("event store of domain {domain} is open", domain=name)
        for call in self.on_open:
            call(domain)
        return domain

    def stop_folding(self) -> Deferred[None]:
        """Stop what works on other threads; fires when it has."""
        domains = self._domains.values()
        stopping = [domain.folding.stop() for domain in domains]
        stopping += [domain.erasing.stop() for domain in domains]
        return gatherResults(stopping).addCallback(lambda _results: None)

    def stopService(self) -> Deferred[None]:
        """Commit what was accepted and close every store; fires when all are closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        domains, self._domains = self._domains, {}
        closing = gatherResults([domain.store.close() for domain in domains.values()])
        return closing.addCallback(lambda _results: None)
