"""A domain: one isolated store with its one writer, and the readers that look at it."""

from __future__ import annotations

from eventdbx.application.reader import Reader
from eventdbx.application.writer import Writer
from eventdbx.storage.store import Store


class Domain:
    """What a session works on once its hello has been accepted."""

    def __init__(self, name: str, store: Store, writer: Writer) -> None:
        self.name = name
        self.store = store
        self.writer = writer

    def reader(self) -> Reader:
        """Return a reader of everything that is durable now."""
        return Reader(self.store.view())
