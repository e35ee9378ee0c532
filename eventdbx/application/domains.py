"""A domain: one isolated store with its one writer, and the readers that look at it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed

from eventdbx.application.checkpoint_keys import Signer
from eventdbx.application.checkpointing import Checkpoints
from eventdbx.application.datakeys import DataKeys
from eventdbx.application.delivering import Delivering
from eventdbx.application.erasing import Erasing
from eventdbx.application.evidence import Exports
from eventdbx.application.folding import Folding
from eventdbx.application.integrity.anchors import NO_ANCHORS, Anchors
from eventdbx.application.integrity.pages import Places
from eventdbx.application.mapping import HeadMap
from eventdbx.application.plugins import EntriesInMemory, Plugins
from eventdbx.application.reader import Reader
from eventdbx.application.schemas import Catalogue
from eventdbx.application.scrubbing import Scrub
from eventdbx.application.staging import Staging
from eventdbx.application.views import Seen
from eventdbx.application.writer import Writer
from eventdbx.errors import ConfigError
from eventdbx.storage.store import Store


def _nothing_to_reload() -> Deferred[list[str]]:
    return succeed([])


def _no_signer() -> Signer:
    raise ConfigError("no key signs checkpoints here")


class Domain:
    """What a session works on once its hello has been accepted.

    ``reload_schemas`` takes over what was edited in ``schemas.json``, and answers with warnings.
    Without ``plugins`` there are none, and those configured are in memory alone. Whoever delivers
    to them puts itself in ``delivering``; until then nothing is delivered. Without
    ``checkpoints`` none can be signed.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        writer: Writer,
        schemas: Catalogue,
        reload_schemas: Callable[[], Deferred[list[str]]] = _nothing_to_reload,
        plugins: Plugins | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.name = name
        self.store = store
        self.writer = writer
        self.schemas = schemas
        self.reload_schemas = reload_schemas
        if plugins is None:
            plugins = Plugins(EntriesInMemory(), domain=name)
        self.plugins: Plugins = plugins
        self.checkpoints: Checkpoints = checkpoints or Checkpoints(store, name, _no_signer)
        self.heads = HeadMap(store)
        self.checkpoints.extensions = self.heads.lines
        self.anchors: Callable[[], Anchors] = lambda: NO_ANCHORS
        """What its log is held against, as it is now; read before the view that is verified."""
        self.verifying = Places()
        self.scrub = Scrub(name, load=lambda: None, keep=lambda _text: None, now_ns=lambda: 0)
        self.exports = Exports()
        self.erasing = Erasing(store, writer)
        self.erasing.on_purge.append(self.exports.clear)
        self.data_keys = DataKeys(store, writer)
        self.staging = Staging(store, writer)
        self.delivering: Delivering | None = None
        self.folding = Folding(store, writer, lambda: schemas.in_force, schemas.indexing)
        schemas.on_change = self.folding.wake

    def reader(self, *, include_hidden: bool = False) -> Reader:
        """Return a reader of everything that is durable now, hidden types and fields left out."""
        return Reader(self.store.view(), self.schemas.in_force, include_hidden=include_hidden)

    def seen(self, *, include_hidden: bool = False) -> Seen:
        """Return what is seen of what was just written."""
        return self.schemas.in_force.views.seen(include_hidden=include_hidden)
