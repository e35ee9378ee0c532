"""The comparison: our daemon, PostgreSQL and SQLite doing the same work in one run.

``python bench/run.py --sizes small`` or ``make bench``. Rounds are interleaved: in each round
every row is done by every database in turn, so that what disturbs the machine disturbs them
alike. The first round tries all styles of clients; the best go on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import machine, paging, report
from bench.measure import Outcome, Summary, summary
from bench.plan import ROWS, SIZES, Row, Sizes, Style, styles
from bench.sides import OurSide, PostgresMissing, PostgresSide, Side, SqliteSide, Weight

Found = dict[tuple[str, str], dict[Style, list[Outcome]]]
SIDE_OF = {"ours": "ours", "tx": "postgres", "fn": "postgres", "sqlite": "sqlite"}


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
            else:
                sides[name] = SqliteSide(sizes.long_events)
        except PostgresMissing as missing:
            note(f"without PostgreSQL: {missing}")
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
    for number in range(sizes.rounds):
        note(f"round {number + 1} of {sizes.rounds}")
        for row in rows:
            for peer in row.peers:
                key = (row.key, peer)
                for style in alive.get(key, ()):
                    side = sides[SIDE_OF[peer]]
                    outcome = side.measure(row, style, peer, sizes.seconds, number)
                    outcomes = found.setdefault(key, defaultdict(list))
                    outcomes[style].append(outcome.scaled(row.events_each))
        if not number:
            alive = {key: promising(found[key]) for key in alive}
    return found


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
    parser.add_argument("--sides", default="ours,postgres,sqlite", help="which databases to run")
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
    chosen = SIZES[options.sizes]
    sizes = Sizes(options.seconds or chosen.seconds, options.rounds or chosen.rounds,
                  chosen.long_events, chosen.pages)  # fmt: skip
    prefixes = tuple(filter(None, options.rows.split(",")))
    rows = [row for row in ROWS if not prefixes or row.key.startswith(prefixes)]
    wanted = options.sides.split(",")
    machine.pin_to_cores()
    pages: dict[tuple[str, int], Summary] = {}
    stores: dict[int, Weight] = {}
    with ExitStack() as stack:
        sides = start_sides(wanted, sizes, options.plain, stack)
        found = run_rounds(sides, rows, sizes)
        note("weighing")
        weights = {name: side.weigh() for name, side in sides.items()}
    if "ours" in wanted and not options.no_pages and not prefixes:
        note(f"pages at {', '.join(f'{size:,}' for size in sizes.pages)} aggregates")
        pages, stores = paging.compare(sizes, plain=options.plain)
    results = report.Results(
        date=time.strftime("%Y-%m-%d"), size=options.sizes, machine=machine.description(),
        rows={key: best_of(outcomes) for key, outcomes in found.items()},
        weights=weights, pages=pages, stores=stores,
    )  # fmt: skip
    print(report.as_text(results))
    if options.json:
        options.json.write_text(report.as_json(results), encoding="utf-8")
    if options.markdown:
        options.markdown.write_text(report.as_markdown(results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
