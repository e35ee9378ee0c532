"""The comparison: our daemon, PostgreSQL and SQLite doing the same work in one run.

``python bench/run.py --sizes small`` or ``make bench``; ``--plan peers`` is shorter and has UmaDB
as well. Rounds are interleaved: in each round
every row is done by every database in turn, so that what disturbs the machine disturbs them
alike. All styles of clients are tried first; the best go on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import machine, paging, report, report_peers
from bench.measure import Outcome, Summary, summary
from bench.plan import PEER_SIZES, PLANS, SIZES, Row, Sizes, Style, styles
from bench.sides import (
    OurSide,
    PeerMissing,
    PostgresSide,
    Side,
    SqliteSide,
    UmaSide,
    Weight,
)

Alive = dict[tuple[str, str], tuple[Style, ...]]
SCOUT_SECONDS_MIN = 0.2
NEAR = 0.92
"""Of the best rate: a second style that comes so near when it is tried goes on too."""

Found = dict[tuple[str, str], dict[Style, list[Outcome]]]
SIDE_OF = {"ours": "ours", "tx": "postgres", "fn": "postgres", "sqlite": "sqlite",
           "uma": "uma"}  # fmt: skip
SIDES = {"all": "ours,postgres,sqlite", "peers": "ours,uma,postgres,sqlite"}


def note(text: str) -> None:
    """Tell the operator how far the run is."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def start_sides(wanted: list[str], sizes: Sizes, plain: bool, stack: ExitStack) -> dict[str, Side]:
    """Start and fill the databases that are wanted and there."""
    sides: dict[str, Side] = {}
    for name in wanted:
        note(f"starting and filling {name}")
        try:
            if name == "ours":
                sides[name] = OurSide(sizes.long_events, plain=plain)
            elif name == "postgres":
                sides[name] = PostgresSide(sizes.long_events)
            elif name == "uma":
                sides[name] = UmaSide(sizes.long_events)
            else:
                sides[name] = SqliteSide(sizes.long_events)
        except PeerMissing as missing:
            note(f"without {name}: {missing}")
            continue
        stack.callback(sides[name].close)
    return sides


def run_rounds(sides: dict[str, Side], rows: list[Row], sizes: Sizes) -> Found:
    """Do every row in every round by every database in turn."""
    found: Found = {}
    alive = {
        (row.key, peer): styles(peer, row)
        for row in rows
        for peer in row.peers
        if SIDE_OF[peer] in sides
    }
    if sizes.scout_share:
        alive = scouted(sides, rows, sizes, alive)
    for number in range(sizes.rounds):
        note(f"round {number + 1} of {sizes.rounds}")
        for row in rows:
            first = number % len(row.peers)  # Nobody is always behind the same neighbour.
            for peer in row.peers[first:] + row.peers[:first]:
                key = (row.key, peer)
                for style in alive.get(key, ()):
                    side = sides[SIDE_OF[peer]]
                    outcome = side.measure(row, style, peer, sizes.seconds, number)
                    outcomes = found.setdefault(key, defaultdict(list))
                    outcomes[style].append(outcome.scaled(row.events_each))
        if not number and not sizes.scout_share:
            alive = {key: promising(found[key]) for key in alive}
    return found


def scouted(sides: dict[str, Side], rows: list[Row], sizes: Sizes, alive: Alive) -> Alive:
    """Try every style for a short while; return the best of each and what comes near it."""
    note("trying all clients")
    seconds = max(sizes.seconds * sizes.scout_share, SCOUT_SECONDS_MIN)
    chosen = {}
    for row in rows:
        for peer in row.peers:
            key = (row.key, peer)
            if len(alive.get(key, ())) < 2:
                continue
            side = sides[SIDE_OF[peer]]
            rates = {each: side.measure(row, each, peer, seconds, 0).rate for each in alive[key]}
            chosen[key] = near_the_top(rates, peer)
    return alive | chosen


def near_the_top(rates: dict[Style, float], peer: str) -> tuple[Style, ...]:
    """Return the best style, and one more: the best usual one, else the second if it comes near.

    Of the usual clients of PostgreSQL nothing is told in this plan, nor has tx a target in it.
    """
    ordered = sorted(rates, key=lambda style: -rates[style])
    best = ordered[0]
    if peer == "tx":
        return (best,)
    if peer in ("ours", "uma") and not best.usual:
        return best, next(style for style in ordered if style.usual)
    return (best, *(each for each in ordered[1:2] if rates[each] >= NEAR * rates[best]))


def promising(outcomes: dict[Style, list[Outcome]]) -> tuple[Style, ...]:
    """Return the styles worth another round: the two best and the best of the usual ones."""
    ordered = sorted(outcomes, key=lambda style: -outcomes[style][0].rate)
    usual = [style for style in ordered if style.usual]
    return tuple(dict.fromkeys([*ordered[:2], *usual[:1]]))


def best_of(outcomes: dict[Style, list[Outcome]]) -> report.Best:
    """Return the style with the best median among those that went through all rounds."""
    rounds = max(len(each) for each in outcomes.values())
    medians = {style: summary(each) for style, each in outcomes.items() if len(each) == rounds}

    def top(chosen: dict[Style, Summary]) -> tuple[str, Summary | None]:
        if not chosen:
            return "", None
        style = max(chosen, key=lambda each: chosen[each].median)
        return style.name, chosen[style]

    name, found = top(medians)
    assert found is not None
    return report.Best(name, found, *top({s: m for s, m in medians.items() if s.usual}))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, prog="bench")
    parser.add_argument(
        "--sizes",
        choices=sorted(SIZES),
        default="small",
        help="small takes under two minutes, full fills a million aggregates",
    )
    parser.add_argument(
        "--plan",
        choices=sorted(PLANS),
        default="all",
        help="peers: few rows, against UmaDB as well, in three minutes; has a size of its own",
    )
    parser.add_argument("--sides", default="", help="which databases to run, comma-separated")
    parser.add_argument("--rows", default="", help="only rows whose key begins so, comma-separated")
    parser.add_argument("--seconds", type=float, help="length of one measurement")
    parser.add_argument("--rounds", type=int, help="how often each is repeated")
    parser.add_argument("--plain", action="store_true", help="our side without encryption")
    parser.add_argument("--no-pages", action="store_true", help="leave the paging stores out")
    parser.add_argument("--json", type=Path, help="write the results there as JSON")
    parser.add_argument("--markdown", type=Path, help="and there as Markdown")
    return parser.parse_args(arguments)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison and print it."""
    options = parse(arguments)
    peers = options.plan == "peers"
    chosen = PEER_SIZES if peers else SIZES[options.sizes]
    sizes = replace(chosen, seconds=options.seconds or chosen.seconds,
                    rounds=options.rounds or chosen.rounds)  # fmt: skip
    prefixes = tuple(filter(None, options.rows.split(",")))
    rows = [row for row in PLANS[options.plan] if not prefixes or row.key.startswith(prefixes)]
    wanted = (options.sides or SIDES[options.plan]).split(",")
    machine.pin_to_cores()
    pages: dict[tuple[str, int], Summary] = {}
    stores: dict[int, Weight] = {}
    with ExitStack() as stack:
        sides = start_sides(wanted, sizes, options.plain, stack)
        found = run_rounds(sides, rows, sizes)
        note("weighing")
        weights = {name: side.weigh() for name, side in sides.items()}
    if "ours" in wanted and sizes.pages and not options.no_pages and not prefixes:
        note(f"pages at {', '.join(f'{size:,}' for size in sizes.pages)} aggregates")
        pages, stores = paging.compare(sizes, plain=options.plain)
    results = report.Results(
        date=time.strftime("%Y-%m-%d"), size="peers" if peers else options.sizes,
        machine=machine.description(),
        rows={key: best_of(outcomes) for key, outcomes in found.items()},
        weights=weights, pages=pages, stores=stores,
    )  # fmt: skip
    told = report_peers if peers else report
    found_targets, tables = told.targets(results), told.sections(results)
    print(report.as_text(results, tables))
    if options.json:
        options.json.write_text(report.as_json(results, found_targets), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(report.as_markdown(results, tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
