"""The soak: five plugins and a read model, kill -9 again and again, and nothing may be missing.

``python -m bench.soak --events 100000``. One plugin is fast, one slow (an event at a time, each
answered after 30 ms), one fails every third delivery, one is dead, one hangs; a process plugin
keeps a read model in SQLite. While writers write, and until everybody has everything, the daemon
or the child of the process plugin is killed every few seconds. Then must hold

- every event that was acknowledged is stored once, in a place of its own,
- every healthy plugin got every event, those of an aggregate in the order of their versions,
- a delivery that came again had the same id, and under one id came always the same events,
- the read model has every event once,
- nothing was given up but for the dead and the hanging one; and these get everything, in order,
  once they are brought to life.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any, TypeAlias

from bench import loading
from bench.daemon import Daemon, DaemonFailed
from bench.kill import Lost
from bench.machine import description, family
from bench.soak_targets import Broken, Hook, ReadModel, compare, healthy_hooks, sick_hooks
from bench.soak_writers import Writer, Written
from eventdbx.client import BlockingClient

CHILD_SHARE = 0.35
"""So many of the kills are for the child of the process plugin."""

LOOK_S = 0.25
QUIET_S_MAX = 600.0
"""How long everything may take once nobody is killed any more."""


Target: TypeAlias = Hook | ReadModel


class Soak:
    """One daemon, its plugins, its writers, and what is done to them."""

    def __init__(
        self,
        events: int,
        *,
        seed: int = 1,
        writers: int = 4,
        every: tuple[float, float] = (2.0, 5.0),
        kills_max: int | None = None,
        folder: Path | None = None,
        quiet: bool = False,
    ) -> None:
        self._events = events
        self._random = random.Random(seed)
        self._every = every
        self._kills_max = kills_max
        self._quiet = quiet
        self.healthy: list[Hook] = healthy_hooks()
        self.sick: list[Hook] = sick_hooks()
        self.daemon = Daemon(folder)
        self.model = ReadModel(self.daemon.folder)
        self._served: list[Target] = [*self.healthy, self.model]
        self.written = Written(events)
        self._writers = [Writer(self.daemon, self.written, seed * 100 + n) for n in range(writers)]
        self.kills = {"daemon": 0, "child": 0}
        self.figures: dict[str, Any] = {}

    def run(self) -> None:
        """Do all of it; raises Broken or Lost at the first broken promise."""
        for hook in (*self.healthy, *self.sick):
            hook.ready()
        self.model.install(self.daemon)
        self.daemon.start()
        with loading.connect(self.daemon) as client:
            for target in (*self._served, *self.sick):
                client.plugins({"do": "configure", "entry": target.entry()})
        began = time.perf_counter()
        for writer in self._writers:
            writer.start()
        self._kill_until_delivered()
        for writer in self._writers:
            writer.join()
        self._wait(self._served)
        self.figures["seconds"] = round(time.perf_counter() - began, 1)
        self._check_healthy()
        self._revive()
        self._finish()

    def close(self) -> None:
        """End everything and remove what was written."""
        for hook in (*self.healthy, *self.sick):
            hook.close()
        self.daemon.close()

    # What is done to them

    def _kill_until_delivered(self) -> None:
        next_kill = time.monotonic() + self._random.uniform(*self._every)
        told = time.monotonic()
        while self._kills_max is None or sum(self.kills.values()) < self._kills_max:
            if self.written.fault is not None:
                raise Lost(f"a writer failed: {self.written.fault}") from self.written.fault
            if self._delivered(self._served):
                return
            time.sleep(min(LOOK_S, max(next_kill - time.monotonic(), 0)))
            if time.monotonic() >= next_kill:
                self._kill()
                next_kill = time.monotonic() + self._random.uniform(*self._every)
            if time.monotonic() > told + 15:
                told = time.monotonic()
                self._tell()

    def _kill(self) -> None:
        children = family(self.daemon.pid)[1:]
        # The first two are one of each, so that a short run has both.
        child = sum(self.kills.values()) == 1 or self._random.random() < CHILD_SHARE
        if child and children:
            try:
                os.kill(self._random.choice(children), signal.SIGKILL)
            except ProcessLookupError:
                return
            self.kills["child"] += 1
            return
        self.daemon.kill()
        self.kills["daemon"] += 1
        self.daemon.start()

    def _delivered(self, targets: list[Target]) -> bool:
        return all(target.received() >= self._events for target in targets)

    def _wait(self, targets: list[Target]) -> None:
        until = time.monotonic() + QUIET_S_MAX
        while not self._delivered(targets):
            if time.monotonic() > until:
                got = {target.name: target.received() for target in targets}
                raise Broken(f"of {self._events} events came {got}: {self._lags()}")
            time.sleep(LOOK_S)

    def _tell(self) -> None:
        if not self._quiet:
            got = {target.name: target.received() for target in self._served}
            print(f"written {len(self.written)}, {self.kills}: {got}", flush=True)

    # What must hold

    def _check_healthy(self) -> None:
        if self.written.fault is not None:
            raise Lost(f"a writer failed: {self.written.fault}") from self.written.fault
        wanted = self.written.versions()
        stored = loading.count_events(self.daemon)
        if not len(self.written) == stored == self._events:
            raise Lost(f"{self._events} events: {len(self.written)} acknowledged, {stored} stored")
        with loading.connect(self.daemon) as client:
            compare("the store", heads(client), wanted)
            for target in self._served:
                target.check(wanted)
                given_up = client.plugins({"do": "lag", "name": target.name})["plugins"][0]
                if given_up["dead"]:
                    raise Broken(f"{target.name}: {given_up}")
        self.figures["received"] = {hook.name: hook.counts() for hook in self.healthy}

    def _revive(self) -> None:
        """Bring to life who was dead or hung: they too get everything, and in order."""
        for hook in self.sick:
            if hook.received():
                raise Broken(f"{hook.name} got {hook.counts()}")
            hook.revive()
        with loading.connect(self.daemon) as client:
            self.figures["given_up"] = sum(
                client.plugins({"do": "retry", "name": hook.name, "wait_ms": 0})["retried"]
                for hook in self.sick
            )
        # The breakers of a new process are closed; otherwise it is up to five minutes to a probe.
        self.daemon.stop()
        self.daemon.start()
        self._wait([*self.sick])
        for hook in self.sick:
            hook.check(self.written.versions())
        self.figures["revived"] = {hook.name: hook.counts() for hook in self.sick}

    def _finish(self) -> None:
        self.figures |= {
            "events": self._events, "kills": self.kills, "sent_again": self.written.sent_again,
        }  # fmt: skip
        self.daemon.stop()
        complaints = self.daemon.complaints()
        if complaints:
            raise Lost("the log complains: " + "\n".join(complaints[:20]))

    def _lags(self) -> Any:
        with loading.connect(self.daemon) as client:
            return client.plugins({"do": "lag"})["plugins"]


def heads(client: BlockingClient) -> dict[str, int]:
    """Return the newest version of each aggregate in the store."""
    found: dict[str, int] = {}
    cursor: str | None = None
    while True:
        page = client.scan_aggregates(cursor=cursor, take=500)
        for one in page.items:
            found[f"{one['aggregate_type']}/{one['aggregate_id']}"] = one["version"]
        cursor = page.next_cursor
        if cursor is None:
            return found


def main(arguments: list[str] | None = None) -> int:
    """Run the soak; exit status 1 when a promise was broken, with the workspace kept."""
    parser = argparse.ArgumentParser(description=__doc__, prog="soak")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, nargs=2, default=(2.0, 5.0), help="seconds")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    soak = Soak(
        options.events, seed=options.seed, writers=options.writers, every=tuple(options.every)
    )
    try:
        soak.run()
    except (Broken, Lost, DaemonFailed) as broken:
        print(f"BROKEN: {broken}\nworkspace kept at {soak.daemon.folder}", file=sys.stderr)
        soak.daemon.kill()
        for hook in (*soak.healthy, *soak.sick):
            hook.close()
        return 1
    soak.close()
    print(json.dumps(soak.figures), flush=True)
    if options.json is not None:
        document = {"machine": description(), **soak.figures}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
