"""What the routes below ``/tlog`` are made of in a server: the file of the witness, the logs of
its domains, and the keys that the configuration names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from eventdbx.application.attempts import Attempts
from eventdbx.application.checkpoint_keys import signer_of
from eventdbx.application.checkpointing import Checkpoints, Signed, read_signed
from eventdbx.application.witnessing import Witness
from eventdbx.domain.checkpoints import Checkpoint
from eventdbx.domain.notes import NoteError, NoteKey, from_base64, parse_vkey, to_base64
from eventdbx.errors import ConfigError, StorageError
from eventdbx.formats import split_witness
from eventdbx.services.checkpoints import COPY_NAME
from eventdbx.services.files import read_text, replace_text
from eventdbx.services.stores import StoreService
from eventdbx.settings import Config
from eventdbx.surfaces.http.tlog import Tlog

WITNESS_NAME = "witness.json"
_FORMAT = 1


class WitnessFile:
    """Keeps what the witness cosigned last for each log. Without the file it has seen nothing;
    a file that cannot be read is never taken for none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mapping[str, Checkpoint]:
        """Return the last checkpoint of each log, by origin. Raises IoError, StorageError."""
        text = read_text(self._path)
        if text is None:
            return {}
        try:
            found = json.loads(text)
            if found["format"] != _FORMAT:
                raise StorageError(f"{self._path} has another format")
            return {
                origin: Checkpoint(origin, int(one["size"]), from_base64(one["root"], "the root"))
                for origin, one in found["logs"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError, NoteError) as error:
            raise StorageError(f"{self._path} is damaged: {error}") from None

    def keep(self, seen: Mapping[str, Checkpoint]) -> None:
        """Make them durable in one step. Raises IoError."""
        logs = {
            origin: {"size": one.size, "root": to_base64(one.root)}
            for origin, one in sorted(seen.items())
        }
        text = json.dumps({"format": _FORMAT, "logs": logs}, indent=1, ensure_ascii=False)
        replace_text(self._path, text + "\n")


class DomainLogs:
    """The logs of the domains of a server."""

    def __init__(self, stores: StoreService, folder: Callable[[str], Path]) -> None:
        self._stores = stores
        self._folder = folder

    def newest(self, domain: str) -> Signed | None:
        """Return the newest checkpoint, of a domain that is not open the copy beside its store."""
        for one in self._stores.opened():
            if one.name == domain:
                return one.checkpoints.newest()
        text = read_text(self._folder(domain) / COPY_NAME)
        return None if text is None else read_signed(text.encode())

    def checkpoints(self, domain: str) -> Checkpoints:
        """Open a domain, if it is not open."""
        return self._stores.domain(domain).checkpoints


def note_keys(texts: Iterable[str]) -> list[NoteKey]:
    """Return the keys of ``integrity.witnessed_logs``, or of ``integrity.witnesses``."""
    found = []
    for text in texts:
        try:
            found.append(parse_vkey(split_witness(text)[0]))
        except NoteError as error:
            raise ConfigError(f"'{text}' is not a key: {error}") from None
    return found


def make_tlog(
    config: Callable[[], Config],
    stores: StoreService,
    data_dir: Path,
    *,
    folder: Callable[[str], Path],
    run_slowly: Callable[[Callable[[], Any]], Deferred[Any]],
    clock: IReactorTime,
    seconds: Callable[[], float],
) -> Tlog:
    """Return the routes below ``/tlog`` of a server; ``seconds`` is the time of the calendar."""
    witness = Witness(
        lambda: note_keys(config().integrity.witnessed_logs),
        lambda: signer_of(config().integrity),
        WitnessFile(data_dir / WITNESS_NAME),
        run_slowly=run_slowly,
        seconds=seconds,
    )
    return Tlog(
        DomainLogs(stores, folder),
        witness,
        witnesses=lambda: note_keys(config().integrity.witnesses),
        publishes=lambda: config().integrity.publish,
        attempts=Attempts(clock.seconds, config().auth.failures_per_minute),
        run_slowly=run_slowly,
    )
