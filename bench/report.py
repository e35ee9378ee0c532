"""The results as a table, as JSON and as Markdown, and what they say about the targets.

Nothing is measured here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.measure import Summary
from bench.plan import ROWS, Row
from bench.sides import Weight

PEERS = ("ours", "tx", "fn", "sqlite")
TITLES = {"ours": "EventDBX", "uma": "UmaDB", "postgres": "PostgreSQL", "sqlite": "SQLite"}


Table = tuple[list[str], list[list[str]]]
Section = tuple[str, Table]


class Best(NamedTuple):
    """The best style of one peer in one row, and the best that ordinary users write."""

    style: str
    summary: Summary
    usual_style: str
    usual: Summary | None


class Target(NamedTuple):
    """One promise with what was found, and the same against the other kind of clients.

    Against tx the clients that event-store libraries have count; against fn the best there are.
    """

    title: str
    wanted: str
    found: float
    met: bool
    against_usual: float | None = None
    against_best: float | None = None


class Results(NamedTuple):
    """Everything that one run found."""

    date: str
    size: str
    machine: Mapping[str, str]
    rows: Mapping[tuple[str, str], Best]
    weights: Mapping[str, Weight]
    pages: Mapping[tuple[str, int], Summary]
    stores: Mapping[int, Weight]


def rate(results: Results, key: str, peer: str, *, usual: bool = False) -> float:
    """Return the median events or calls per second, 0.0 where there is none."""
    best = results.rows.get((key, peer))
    if best is None:
        return 0.0
    summary = best.usual if usual else best.summary
    return (summary or best.summary).median


def targets(results: Results) -> list[Target]:
    """Return what was promised of the database and whether this run shows it."""
    found: list[Target] = []

    def least(title: str, factor: float, ours: float, usual: float, best: float) -> None:
        if ours and best:
            ratio = ours / (usual if "tx" in title.split() else best)
            found.append(Target(title, f">= {factor:g}", ratio, ratio >= factor,
                                ours / usual if usual else None, ours / best))  # fmt: skip

    for key, title, peer, factor in (
        ("append-1", "one waiting client against tx", "tx", 1.2),
        ("append-1", "one waiting client against fn", "fn", 0.7),
        ("append-64", "64 in flight against tx at 64 clients", "tx", 3.0),
        ("append-64", "64 in flight against fn at 64 clients", "fn", 1.3),
    ):
        least(title, factor, rate(results, key, "ours"), rate(results, key, peer, usual=True),
              rate(results, key, peer))  # fmt: skip
    singles = ("append-1", "append-16", "append-64", "pipelined")
    best = max(rate(results, key, "fn") for key in singles)
    usual = max(rate(results, key, "fn", usual=True) for key in singles[:3])
    batches = ("batch-1", "batch-4", "spread-1", "spread-4")
    least("pipelined against fn at its best", 2.0, rate(results, "pipelined", "ours"), usual, best)
    ours = max(rate(results, key, "ours") for key in batches)
    least("batches of 100 against single calls of fn at its best", 3.0, ours, usual, best)
    for clients in (1, 16):
        short, long = (rate(results, f"{kind}-{clients}", "ours") for kind in ("short", "long"))
        if short and long:
            cost = short / long
            found.append(Target(f"cost with a long history against a short one, {clients} clients",
                                "<= 1.1", cost, cost <= 1.1))  # fmt: skip
    sizes = sorted({size for _kind, size in results.pages})
    for kind in ("list", "events"):
        if len(sizes) > 1:
            cost = results.pages[kind, sizes[0]].median / results.pages[kind, sizes[-1]].median
            found.append(Target(f"cost of {kind} pages at {sizes[-1]:,} against {sizes[0]:,}",
                                "<= 1.2", cost, cost <= 1.2))  # fmt: skip
    gets = rate(results, "get-1", "ours"), rate(results, "get-16", "ours")
    if max(gets):
        found.append(Target("gets per second", ">= 5000", max(gets), max(gets) >= 5_000))
    return found


def cell(value: float) -> str:
    return f"{value:,.0f}" if value else "–"


def ratio_cell(ours: float, peer: float) -> str:
    return f"{ours / peer:.2f}" if ours and peer else "–"


def _main_rows(results: Results) -> Table:
    header = ["per second", "EventDBX", "p50 / p99 ms", "tx", "fn", "SQLite", "/tx", "/fn",
              "/SQLite"]  # fmt: skip
    lines = []
    for row in ROWS:
        values = [rate(results, row.key, peer) for peer in PEERS]
        if not any(values):
            continue
        ours = results.rows.get((row.key, "ours"))
        waits = f"{ours.summary.p50_ms:.2f} / {ours.summary.p99_ms:.2f}" if ours else "–"
        ratios = [ratio_cell(values[0], value) for value in values[1:]]
        lines.append(
            [_title(row), cell(values[0]), waits, *(cell(value) for value in values[1:]), *ratios]
        )
    return header, lines


def _title(row: Row) -> str:
    return row.title + (" (events)" if row.events_each > 1 else "")


def _style_rows(results: Results) -> Table:
    header = ["row", "peer", "best", "per second", "range", "best usual", "per second"]
    lines = []
    for (key, peer), best in results.rows.items():
        if peer not in ("tx", "fn", "ours"):
            continue
        spread = f"{best.summary.low:,.0f}–{best.summary.high:,.0f}"
        usual = cell(best.usual.median) if best.usual else "–"
        lines.append([key, peer, best.style, cell(best.summary.median), spread,
                      best.usual_style or "–", usual])  # fmt: skip
    return header, lines


def _target_rows(found: Sequence[Target]) -> Table:
    header = ["target", "wanted", "found", "met", "against usual clients", "against the best"]
    lines = []
    for one in found:
        number = f"{one.found:,.0f}" if one.found >= 100 else f"{one.found:.2f}"
        both = (f"{each:.2f}" if each else "–" for each in (one.against_usual, one.against_best))
        lines.append([one.title, one.wanted, number, "yes" if one.met else "NO", *both])
    return header, lines


def weight_rows(results: Results) -> Table:
    header = ["store", "events", "memory MB", "disk bytes/event", "restart s", "after kill -9 s"]
    lines = []
    named = [(TITLES.get(name, name), weight) for name, weight in results.weights.items()]
    named += [(f"EventDBX, {size:,} aggregates", weight) for size, weight in results.stores.items()]
    for name, weight in named:
        memory = f"{weight.memory_bytes / 1e6:,.0f}" if weight.memory_bytes else "–"
        recovery = f"{weight.recovery_s:.2f}" if weight.recovery_s is not None else "–"
        each = f"{weight.disk_bytes / max(weight.events, 1):,.0f}"
        lines.append(
            [name, f"{weight.events:,}", memory, each, f"{weight.restart_s:.2f}", recovery]
        )
    return header, lines


def _page_rows(results: Results) -> Table:
    sizes = sorted({size for _kind, size in results.pages})
    header = ["per second, one waiting client", *(f"{size:,} aggregates" for size in sizes)]
    kinds = dict.fromkeys(kind for kind, _size in results.pages)
    lines = [[kind, *(cell(results.pages[kind, size].median) for size in sizes)] for kind in kinds]
    return header, lines


def sections(results: Results) -> list[Section]:
    """Return the titles and tables of a report, without those that would be empty."""
    found = [
        ("Medians and ratios", _main_rows(results)),
        ("Targets", _target_rows(targets(results))),
        ("Which clients were best", _style_rows(results)),
        ("Pages by size of the store", _page_rows(results)),
        ("Memory, disk, restart", weight_rows(results)),
    ]
    return [(title, table) for title, table in found if table[1]]


def _aligned(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    table = [list(header), *map(list, lines)]
    widths = [max(len(line[column]) for line in table) for column in range(len(header))]
    return [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    ]


def as_text(results: Results, tables: Sequence[Section]) -> str:
    """Return the report for a terminal."""
    parts = [f"{results.date}, size {results.size}: " + ", ".join(results.machine.values())]
    for title, (header, lines) in tables:
        parts += ["", title, *_aligned(header, lines)]
    return "\n".join(parts)


def as_markdown(results: Results, tables: Sequence[Section]) -> str:
    """Return the report for ``docs/performance``."""
    parts = [f"# {results.date}, size {results.size}", ""]
    parts += [f"- {name}: {value}" for name, value in results.machine.items()]
    parts += [
        "- every append is synced to disk before it is acknowledged, on every side",
        "- tx: lock, insert, upsert, commit; fn: one function call an append; all prepared",
        "- each figure is the median of the rounds, for the best of the clients that were tried",
    ]
    for title, (header, lines) in tables:
        parts += ["", f"## {title}", "", "| " + " | ".join(header) + " |"]
        parts += ["|" + "---|" * len(header)]
        parts += ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join(parts) + "\n"


def as_json(results: Results, found: Sequence[Target]) -> str:
    """Return the report for programs."""
    document: dict[str, Any] = {
        "date": results.date,
        "size": results.size,
        "machine": dict(results.machine),
        "rows": [
            {
                "row": key,
                "peer": peer,
                "style": best.style,
                **best.summary._asdict(),
                "usual_style": best.usual_style or None,
                "usual": best.usual._asdict() if best.usual else None,
            }
            for (key, peer), best in results.rows.items()
        ],
        "targets": [one._asdict() for one in found],
        "weights": {name: weight._asdict() for name, weight in results.weights.items()},
        "pages": [
            {"kind": kind, "aggregates": size, **summary._asdict()}
            for (kind, size), summary in results.pages.items()
        ],
        "stores": {str(size): weight._asdict() for size, weight in results.stores.items()},
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
