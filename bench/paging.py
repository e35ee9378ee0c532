"""Whether pages cost the same in stores of different sizes; our daemon only.

One daemon per size, all running at once and measured in turn.
"""

from __future__ import annotations

from contextlib import ExitStack

from bench import loading
from bench.client import ClientProcess
from bench.daemon import Daemon
from bench.measure import Outcome, Summary, summary
from bench.plan import Row, Sizes, Style
from bench.sides import Weight, job_of

ROWS = tuple(Row(kind, kind, kind) for kind in ("list", "events", "get", "append"))
STYLE = Style("blocking client", "blocking")


def compare(
    sizes: Sizes, *, plain: bool
) -> tuple[dict[tuple[str, int], Summary], dict[int, Weight]]:
    """Return the rates of pages by size, and what each store occupies."""
    outcomes: dict[tuple[str, int], list[Outcome]] = {}
    weights: dict[int, Weight] = {}
    with ExitStack() as stack:
        daemons: dict[int, Daemon] = {}
        clients: dict[int, ClientProcess] = {}
        for size in sizes.pages:
            daemons[size] = daemon = Daemon(settings=("--no-noise",) if plain else ())
            stack.callback(daemon.close)
            daemon.start()
            loading.load_pages(daemon, size)
            settings = {"port": daemon.port, "token": daemon.token, "plain": plain}
            clients[size] = ClientProcess("ours", settings)
            stack.callback(clients[size].close)
        for number in range(sizes.rounds):
            for row in ROWS:
                for size in sizes.pages:
                    job = job_of(row, STYLE, "ours", sizes.seconds, number)
                    job["options"]["aggregates"] = size
                    clients[size].send(job)
                    outcomes.setdefault((row.key, size), []).append(clients[size].receive())
        for size, daemon in daemons.items():
            memory, events = daemon.memory_bytes(), loading.count_events(daemon)
            daemon.stop()
            disk = daemon.disk_bytes()
            restart = daemon.start()
            daemon.kill()
            weights[size] = Weight(memory, disk, events, restart, daemon.start())
    return {key: summary(each) for key, each in outcomes.items()}, weights
