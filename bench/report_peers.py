"""The tables of ``--plan peers``: us against every peer, and what an operation costs whom.

Formats (text, JSON, Markdown) are those of :mod:`bench.report`.
"""

from __future__ import annotations

from bench.plan import PEER_ROWS
from bench.report import (
    Results,
    Section,
    Table,
    Target,
    cell,
    rate,
    ratio_cell,
    weight_rows,
)

PEERS = {"uma": "UmaDB", "fn": "fn", "tx": "tx", "sqlite": "SQLite"}
NAMES = {"ours": "EventDBX", **PEERS}

WANTED = (
    ("append-1", "uma", 1.0),
    ("append-16", "uma", 0.85),
    ("append-64", "uma", 0.85),
    ("batch-1", "uma", 0.85),
    ("batch-4", "uma", 0.85),
    ("append-64", "fn", 1.3),
)


def targets(results: Results) -> list[Target]:
    """Return what was promised against the peers and whether this run shows it."""
    titles = {row.key: row.title for row in PEER_ROWS}
    found = []
    for key, peer, factor in WANTED:
        ours, theirs = rate(results, key, "ours"), rate(results, key, peer)
        if ours and theirs:
            ratio = ours / theirs
            title = f"{titles[key]}, against {PEERS[peer]}"
            found.append(Target(title, f">= {factor:g}", ratio, ratio >= factor))
    return found


def _rates(results: Results) -> Table:
    """Return medians and ratios; a peer that did not run has no column."""
    there = [peer for peer in PEERS if any(peer == found for _key, found in results.rows)]
    header = ["per second", "EventDBX", *(PEERS[peer] for peer in there)]
    header += [f"/{PEERS[peer]}" for peer in there]
    lines = []
    for row in PEER_ROWS:
        ours = rate(results, row.key, "ours")
        theirs = [rate(results, row.key, peer) for peer in there]
        if ours or any(theirs):
            events = " (events)" if row.events_each > 1 else ""
            lines.append([row.title + events, cell(ours), *map(cell, theirs),
                          *(ratio_cell(ours, value) for value in theirs)])  # fmt: skip
    return header, lines


def _details(results: Results) -> Table:
    header = ["row", "database", "per second", "range", "p50 ms", "p99 ms", "server µs",
              "client µs", "best client", "a connection each"]  # fmt: skip
    lines = []
    for row in PEER_ROWS:
        for peer, name in NAMES.items():
            best = results.rows.get((row.key, peer))
            if best is None:
                continue
            found = best.summary
            spread = f"{found.low:,.0f}–{found.high:,.0f}"
            apart = f"{cell(best.usual.median)} ({best.usual_style})" if best.usual else "–"
            if peer not in ("ours", "uma") or best.usual_style == best.style:
                apart = ""
            spent = (f"{each:,.1f}" if each else "–" for each in (found.server_us, found.client_us))
            lines.append([row.key, name, cell(found.median), spread, f"{found.p50_ms:.2f}",
                          f"{found.p99_ms:.2f}", *spent, best.style, apart])  # fmt: skip
    return header, lines


def _kept(results: Results) -> Table:
    header = ["target", "wanted", "found", "met"]
    lines = [
        [one.title, one.wanted, f"{one.found:.2f}", "yes" if one.met else "NO"]
        for one in targets(results)
    ]
    return header, lines


def sections(results: Results) -> list[Section]:
    """Return the titles and tables of a report, without those that would be empty."""
    found = [
        ("Medians and ratios", _rates(results)),
        ("Targets", _kept(results)),
        ("Each database; processor time for one event or one read", _details(results)),
        ("Memory, disk, restart", weight_rows(results)),
    ]
    return [(title, table) for title, table in found if table[1]]
