"""How far a long command is, told on stderr: a bar on a terminal, one line at the end elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

import click

from eventdbx.surfaces.cli.output import note

BAR_CELLS = 24
EVERY_S = 0.1
"""How often a bar is drawn at most."""

LONG_S = 1.0
"""What is done sooner needs no line at the end."""


class Progress:
    """The progress of one long work, used as a context manager.

    ``doing`` ("exporting") names the work and ``unit`` ("aggregates") what is counted; without a
    ``total`` only the count and the rate are shown. ``--quiet`` silences it.
    """

    def __init__(
        self, context: click.Context, doing: str, *, unit: str, total: int | None = None
    ) -> None:
        self.doing = doing
        self.unit = unit
        self.total = total
        self.done = 0
        self._quiet = bool(context.find_root().params.get("quiet"))
        self._live = sys.stderr.isatty() and not self._quiet
        self._began = time.monotonic()
        self._drawn = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        if kind is None and not self._quiet and time.monotonic() - self._began >= LONG_S:
            note(self.summary())

    def advance(self, count: int = 1) -> None:
        """Count so many more as done."""
        self.done += count
        now = time.monotonic()
        if self._live and now - self._drawn >= EVERY_S:
            self._drawn = now
            sys.stderr.write(f"\r\x1b[K{self.line(now - self._began)}")
            sys.stderr.flush()

    def line(self, seconds: float) -> str:
        """Return the bar after so many seconds."""
        rate = self.done / seconds if seconds > 0 else 0.0
        count = f"{self.done:,} {self.unit}, {rate:,.0f}/s"
        if not self.total:
            return f"{self.doing} {count}"
        share = min(self.done / self.total, 1.0)
        bar = ("#" * round(share * BAR_CELLS)).ljust(BAR_CELLS, ".")
        left = (self.total - self.done) / rate if rate else 0.0
        return f"{self.doing} [{bar}] {share:4.0%} {count}, {left:,.0f} s left"

    def summary(self) -> str:
        """Return the line that stays."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        return (
            f"{self.doing}: {self.done:,} {self.unit} in {seconds:.1f} s "
            f"({self.done / seconds:,.0f}/s)"
        )
