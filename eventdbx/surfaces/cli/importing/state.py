"""How far an import is, kept beside its file, so that one that was killed goes on where it was.

A batch is sent under a key that the store remembers with the batch. What the state says was
written surely was; what was sent after that is sent again under its old key, and the store
returns what it came to the first time. That holds however far the state is behind, for the
batches of a file are cut at the same lines each time.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

import orjson

from eventdbx import limits
from eventdbx.errors import ConfigError, IoError
from eventdbx.services.files import read_text, replace_text, sweep_leftovers
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.importing.lines import Lines

SUFFIX = ".import-state"
_FORMAT = 1
_DAY_S = 24 * 3600
_KEYS_SURE_S = limits.IDEMPOTENCY_RETENTION_S - _DAY_S
"""As long the store surely remembers a key; a day is for clocks that differ."""


class State:
    """The state of one import.

    ``number`` batches are written, with ``events`` events; they end at ``offset``, behind
    ``line``, and ``digest`` is that of everything before. The next batch has ``size`` lines, the
    usual number if that is None. ``skipped`` lines are in the file of ``errors``, which was
    ``errors_bytes`` long then. ``place`` is a place in the log before everything that was written,
    ``last`` what was written last: the id of the event, and whose it is.
    """

    def __init__(self, path: Path | None, begun: dict[str, Any]) -> None:
        self.path = path
        self._begun = begun
        """What must be the same when it goes on: domain, format, options."""
        self.run = secrets.token_hex(8)
        self.place: str | None = None
        self.batch_size = limits.BATCH_WRITES_MAX
        self.number = self.events = self.skipped = 0
        self.offset = self.line = 0
        self.digest = ""
        self.size: int | None = None
        self.errors: str | None = None
        self.errors_bytes = 0
        self.last: tuple[str, str, str] | None = None
        self.age_s = 0.0
        self.resumed = False
        self._key_since: tuple[str, int] = ("", 0)
        """The key of the next batch, and when it was kept first."""

    _KEPT = ("run", "place", "batch_size", "number", "events", "skipped", "offset", "line",
             "digest", "size", "errors", "errors_bytes", "last")  # fmt: skip

    @property
    def key(self) -> str:
        """The key of the next batch."""
        return f"import:{self.run}:{self.number + 1}"

    @property
    def keys_are_sure(self) -> bool:
        """Say whether the store has not forgotten the key of the next batch, going by the clock."""
        return -_DAY_S < self.age_s < _KEYS_SURE_S

    def save(self) -> None:
        """Keep the state where a crash does not reach it. Raises Failure."""
        if self.path is None:
            return
        members = {name: getattr(self, name) for name in self._KEPT}
        if self._key_since[0] != self.key:
            # The store forgets the key so long after its first use, however often it is kept.
            self._key_since = self.key, int(time.time())
        document = {"format": _FORMAT, "saved_at": self._key_since[1], "begun": self._begun}
        text = orjson.dumps({**document, **members}, option=orjson.OPT_INDENT_2).decode()
        try:
            replace_text(self.path, text + "\n")
        except IoError as error:
            raise Failure(
                f"how far the import is cannot be kept: {error.detail}",
                hint="--state FILE keeps it elsewhere",
                code=error.code,
            ) from None

    def load(self) -> None:
        """Take up what was kept. Raises Failure when that is of another import."""
        assert self.path is not None
        document = _document(self.path)
        for name, now in self._begun.items():
            then = document["begun"].get(name)
            if then != now:
                raise Failure(
                    f"the interrupted import was begun with {name} {_shown(then)}, "
                    f"not {_shown(now)}",
                    hint="go on with the same, or begin again with --restart",
                )
        for name in self._KEPT:
            setattr(self, name, document[name])
        self._key_since = self.key, document["saved_at"]
        self.age_s = time.time() - document["saved_at"]
        self.resumed = True

    def find(self, lines: Lines) -> None:
        """Go behind what was written. Raises Failure if the file is another one up to there."""
        if not self.offset:
            return  # Nothing was noted. The header of CSV is behind by now, and stays so.
        lines.skip(self.offset, self.line)
        if lines.offset != self.offset or lines.digest() != self.digest:
            raise Failure(
                "the file has changed before the place where its import was interrupted "
                f"(line {self.line})",
                hint="--restart begins again, and writes what was written once more",
            )

    def clear(self) -> None:
        """Forget the import: it is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def beside(file: str) -> Path:
    """Return where the state of an import of a file is: at the file itself, not at a link to it."""
    return Path(os.path.realpath(file) + SUFFIX)


def begin(state: State, *, resume: bool, restart: bool) -> None:
    """Go on with an interrupted import, or begin; raise Failure if it is not said which."""
    path = state.path
    if path is None:
        return
    if path.parent.is_dir():
        sweep_leftovers(path)
    if not path.exists():
        if resume:
            raise Failure(
                f"there is no interrupted import: {path} does not exist",
                hint="begin it without --resume",
            )
        return
    if resume:
        state.load()
        return
    known = _document(path)  # It is to be replaced: whatever else lies there stays.
    if not restart:
        raise Failure(
            f"an import of this file was interrupted: {known['events']:,} events up to line "
            f"{known['line']:,} are written",
            "--resume goes on behind them, --restart begins again and writes them once more",
            code="schema_violation",
        )


def _document(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = orjson.loads(read_text(path) or "")
        if document["format"] == _FORMAT:
            return document
        raise ConfigError(f"{path} was written by another version of this program")
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} is not the state of an import") from None


def _shown(value: Any) -> str:
    return "none" if value is None else f"'{value}'"
