"""Running the reactor for a while, inside a command that is otherwise plain code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

_LOOK_EVERY_S = 0.01

_ran = False


def run_until(done: Callable[[], bool], within_s: float | None) -> bool:
    """Run the reactor until ``done`` says so; False when the time is over before.

    May be called again and again; raises what ``done`` raises. An interrupt from the terminal
    raises KeyboardInterrupt.
    """
    global _ran
    if done():
        return True
    from twisted.internet import reactor as installed
    from twisted.internet.task import LoopingCall

    reactor: Any = installed
    until = None if within_s is None else reactor.seconds() + within_s

    def look() -> None:
        try:
            over = done() or (until is not None and reactor.seconds() >= until)
        except Exception:
            failed.append(Failure())
            over = True
        if over:
            looking.stop()
            reactor.crash()  # Ends the run, and unlike stopping allows another one.

    failed: list[Failure] = []

    looking = LoopingCall(look)
    reactor.callWhenRunning(looking.start, _LOOK_EVERY_S)
    _ran = True
    reactor.run()
    if looking.running:  # The reactor was stopped by a signal.
        _ran = False
        raise KeyboardInterrupt
    if failed:
        failed[0].raiseException()
    return done()


def wind_up() -> None:
    """Give back what running the reactor has taken; nothing may run after this."""
    global _ran
    if _ran:
        from twisted.internet import reactor as installed

        reactor: Any = installed
        _ran = False
        reactor.fireSystemEvent("shutdown")
