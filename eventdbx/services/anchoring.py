"""What the log of a domain is held against: the installation's key, its witnesses, the copy beside
the store. What becomes of it is in :mod:`eventdbx.application.integrity.anchors`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from eventdbx.application.checkpoint_keys import verify
from eventdbx.application.checkpointing import PARTITIONS, Checkpoints
from eventdbx.application.integrity.anchors import Anchors, Kept
from eventdbx.domain.checkpoints import Trust
from eventdbx.domain.notes import parse_vkey
from eventdbx.errors import ConfigError, EventDBXError
from eventdbx.formats import split_witness
from eventdbx.services.checkpoints import COPIES
from eventdbx.services.files import read_text
from eventdbx.settings import Integrity


def anchors_of(
    checkpoints: Checkpoints, folder: Path, settings: Callable[[], Integrity]
) -> Callable[[], Anchors]:
    """Return what reads the anchors of a domain whose store is in a folder, as they are then."""

    def anchors() -> Anchors:
        keys = (parse_vkey(split_witness(text)[0]) for text in settings().witnesses)
        # One witness under two addresses or names is one.
        witnesses = tuple({key.public: key for key in keys}.values())
        try:
            found = [(number, checkpoints.key(number)) for number in PARTITIONS]
        except ConfigError:
            found = []  # Nothing is signed here.
        trusts = {
            number: Trust(key.name, (key,), () if number else witnesses) for number, key in found
        }
        return Anchors(trusts, verify, _copies(folder) if trusts else ())

    return anchors


def _copies(folder: Path) -> tuple[Kept, ...]:
    found = []
    for name in COPIES.values():
        where = f"checkpoint in the file {name} beside the store"
        try:
            text = read_text(folder / name)
        except EventDBXError as error:
            text = error.detail
        if text is not None:
            found.append(Kept(where, text.encode()))
    return tuple(found)
