"""``dbx audit``: what was administered, by whom, and the proof that nothing of it was changed.

Evidence of events for third parties is in :mod:`eventdbx.surfaces.cli.proof.evidence`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from eventdbx.errors import StorageError
from eventdbx.services.auditspool import Spool
from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, DOCUMENT, TOKEN, Time, option
from eventdbx.surfaces.cli.output import print_json, print_line, print_listing, say_empty, say_more
from eventdbx.surfaces.cli.session import database, opened, server_address
from eventdbx.surfaces.cli.values import U32, U64

Document = dict[str, Any]

PAGE = 1_000
SHOWN = 50

_HERE = "eventdbx.surfaces.cli."

MODULES: dict[str, tuple[str, str]] = {
    "export": (_HERE + "proof.evidence", "Write evidence that a third party can verify"),
    "check": (
        _HERE + "proof.evidence",
        "Check a bundle with the key of the log and nothing else",
    ),
    "verifier": (
        _HERE + "proof.evidence",
        "Print the program that verifies bundles and proofs without us",
    ),
}
"""The subcommands that other modules declare, which are imported for them."""


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "audit",
        cls=DbxGroup,
        modules=MODULES,
        examples=("dbx audit log", "dbx audit export order o-1 --out o-1.dbx-audit"),
    )
    def audit() -> None:
        """Show who administered what, and export evidence of events"""

    _register_log(audit)
    _register_verify(audit)


def _register_log(group: click.Group) -> None:
    @group.command(
        "log",
        examples=(
            "dbx audit log",
            "dbx audit log --area tokens --take 200",
            "dbx audit log --actor ops/alice --since 2026-01-01T00:00:00Z --json",
        ),
        columns=(
            "time",
            "area",
            "event",
            "resource",
            "actor.group",
            "actor.user",
            "subject",
            "way",
            "peer",
            "event_id",
        ),
    )
    @option("--area", metavar="AREA", help="Only these: config, erasures, keys, plugins, queue, "
            "remotes, schemas, tenants or tokens")  # fmt: skip
    @option("--actor", metavar="WHO", help="Only of a user, group/user, subject or token id")
    @option("--resource", metavar="NAME", help="Only what was done to this token, plugin, …")
    @option("--since", type=Time(), metavar="TIME", help="Only since then")
    @option("--before", type=U64, metavar="EVENT_ID", help="Only what was before this one")
    @option("--take", type=U32, metavar="TAKE", help=f"So many at most [default: {SHOWN}]")
    @option("--all", "everything", is_flag=True, conflicts=("take",), help="All of them")
    @TOKEN
    @DOCUMENT
    @click.pass_context
    def log(
        context: click.Context,
        area: str | None,
        actor: str | None,
        resource: str | None,
        since: int | None,
        before: int | None,
        take: int | None,
        everything: bool,
        token: str | None,
    ) -> None:
        """Show administrative actions, newest first

        Each is an event of the aggregate type dbx_admin in the store: who (group/user of the
        token), through what, to what. Nothing secret is in it.
        """
        since = None if since is None else max(0, since)
        asked = {"area": area, "actor": actor, "resource": resource, "since_ns": since}
        trail = _Trail(
            {name: value for name, value in asked.items() if value is not None},
            before,
            None if everything else SHOWN if take is None else take,
        )
        with _trail(context, token) as (way, calls):
            if not print_listing(trail.actions(way, calls), action_line):
                say_empty("no administrative action like that is in the trail", "dbx audit log")
        say_more(trail.before, "--before")


class _Trail:
    """Actions page by page; ``before`` says afterwards where older ones begin, if there are any."""

    def __init__(self, asked: Document, before: int | None, take: int | None) -> None:
        self._asked = asked
        self._left = take
        self.before = before

    def actions(self, way: Any, calls: Any) -> Iterator[Document]:
        """Yield the actions, newest first."""
        while self._left is None or self._left > 0:
            size = PAGE if self._left is None else min(self._left, PAGE)
            wanted = {"do": "audit", **self._asked, "take": size}
            if self.before is not None:
                wanted["before"] = self.before
            page = way.call(calls.administer(wanted))
            yield from page["items"]
            self.before = None if page["next"] is None else int(page["next"])
            if self.before is None:
                return
            if self._left is not None:
                self._left -= len(page["items"])


def _trail(context: click.Context, token: str | None) -> Any:
    """Open the way to the trail; without a server what waits in the spool goes into it first."""
    place = opened(context)
    alone = server_address(context, place) is None
    if alone:
        return database(context, writes=Spool(place.workspace.data_dir).holds_something)
    return database(context, token=token, doing="read the audit trail")


def action_line(item: Document) -> str:
    """Return the line of one action."""
    actor = item["actor"]
    who = item["subject"] or "-" if actor is None else f"{actor['group']}/{actor['user']}"
    parts = [item["time"], item["area"], item["event"], item["resource"], f"by={who}"]
    parts.append(f'way="{item["way"]}"')
    if item["peer"]:
        parts.append(f"from={item['peer']}")
    return "  ".join(str(part).replace("\n", " ") for part in parts)


def _register_verify(group: click.Group) -> None:
    @group.command("verify", examples=("dbx audit verify", "dbx audit verify --json"))
    @TOKEN
    @AS_JSON
    @click.pass_context
    def verify(context: click.Context, token: str | None, as_json: bool) -> None:
        """Recompute every hash of the audit trail

        Fails when an action was changed, taken away or put in between.
        """
        begun = time.monotonic()
        with _trail(context, token) as (way, calls):
            report = way.call(calls.administer({"do": "audit_verify"}))
        if as_json:
            print_json(report)
        if report["findings"]:
            message = report["findings"][0]["message"]
            raise Failure(StorageError(message).detail, code=StorageError.code)
        if not as_json:
            for one in report["areas"]:
                print_line(
                    f"{one['area']}: {one['actions']} actions, merkle_root={one['merkle_root']}"
                )
            count = sum(one["actions"] for one in report["areas"])
            print_line(f"{count} actions verified in {time.monotonic() - begun:.1f}s")
