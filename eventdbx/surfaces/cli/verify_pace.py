"""How fast a verification goes, and how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


class Pace:
    """Keeps a loop at so many KiB a second on average; None: as fast as it goes."""

    def __init__(
        self,
        kib_per_s: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._kib_per_s = kib_per_s
        self._clock = clock
        self._sleep = sleep
        self._due = clock()

    def page_kib(self, most: int) -> int:
        """Return how much to read at a time: a second's worth at most."""
        return most if self._kib_per_s is None else min(most, self._kib_per_s)

    def wait(self, read: int) -> None:
        """Wait until so many more bytes may have been read."""
        if self._kib_per_s is None:
            return
        self._due += read / (self._kib_per_s * 1024)
        pause = self._due - self._clock()
        if pause > 0:
            self._sleep(pause)


class Progress:
    """One line on stderr that is written over; each on its own where stderr is no terminal."""

    def __init__(self, *, always: bool) -> None:
        self._terminal = sys.stderr.isatty()
        self._shows = always or self._terminal
        self._shown = False

    def show(self, stage: list[int], aggregates: int, read: int, findings: int) -> None:
        """Show how far a verification is."""
        if not self._shows:
            return
        line = (
            f"verifying: stage {stage[0]} of {stage[1]}, {aggregates} aggregates, "
            f"{read >> 20} MiB, {findings} problem(s)"
        )
        sys.stderr.write(f"\r{line:<80}" if self._terminal else line + "\n")
        sys.stderr.flush()
        self._shown = True

    def end(self) -> None:
        """Leave the line as it is."""
        if self._shown and self._terminal:
            sys.stderr.write("\n")
