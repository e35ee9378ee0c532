"""docs/permissions.md, printed from the tables: ``python -m tests.permissions.document``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tests.permissions.admin_routes import OPEN, ROUTES, refusal
from tests.permissions.commands import COMMANDS, NOTHING, OWN_FILES
from tests.permissions.operations import everything
from tests.permissions.rules import HOLDERS, OWN, YES, Holder, Needs, expected

HEAD = """\
# Who may do what

The matrix of permissions. It is printed from the tables that the tests of `tests/permissions`
work through, operation by operation, holder by holder, against a running server; a test holds this
page equal to them, and another fails for an operation that is not in them. After a change of a
table: `python -m tests.permissions.document > docs/permissions.md`.

## Who asks

| column | token |
|---|---|
"""

READING = """
Read the cells so: **yes** let in; **own** let in, and a list leaves out what the token may not
read; **no** refused as `unauthorized`; **bad** refused as `invalid_token`; **old** refused as
`token_expired`. What is refused changes nothing, and its answer is the same whether or not the
aggregate asked for exists.

What an operation asks of a token: an action, which one of the token's action patterns must match,
and, if it is about an aggregate, the resource `aggregate:<type>:<id>`, which one of its resource
patterns must match. Three things follow from it:

- an operation that is about no aggregate looks at the action alone. A token with `*.*` on one
  aggregate (the column *all, elsewhere*) may therefore change schemas and plugins on the control
  protocol. Give `aggregate.*` to whoever shall only work on aggregates;
- `plugin.manage` is nearly as good as all rights: plugins get every event of the domain, and the
  server reads and writes files for them. Give it to administrators alone;
- the Admin API asks more: its actions count only with the resource `*`, except for those
  on aggregates.

"""

WIRE = """\
## Control protocol

A session is opened by a good token of its domain, whatever that allows; then each request is judged
by the token that it carries itself. `verifyAggregate` carries none: it is judged by that of the
session, so that to the first four and to another tenant's the session is refused already.

"""

CLI = """
## Command line

Beside a server a command sends its token (`--token`, `EVENTDBX_TOKEN`, else the operator's own in
`cli.token`) and asks what the operations need that it uses. A refusal is exit status 6 with
`EVENTDBX_EXIT_CODES=fine`. Without a server commands open the store itself: then who may read and
write its files decides, and nothing else.

"""

CLI_FILES = """
These ask for no token, for they work on the installation's files and processes:
{own}.

{nothing}
"""

ADMIN = """
## Admin API

Whoever lacks the right gets the same 401 as whoever has no token. Who has the right, but not for
the domain or the aggregate asked for, gets 403. The pair `*.*` on `*` opens everything.

"""

_WORDS = {
    YES: "yes",
    OWN: "own",
    "unauthorized": "no",
    "invalid_token": "bad",
    "token_expired": "old",
}


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _asks(needs: Needs) -> str:
    words = " and ".join(f"`{action}`" for action in needs.actions)
    if needs.any_of:
        words = " or ".join(f"`{action}`" for action in needs.any_of)
    about = {
        "aggregate": "the aggregate",
        "items": "each item",
        "jobs": "each item",
        "all": "all aggregates",
    }
    where = about.get(needs.on, "")
    actor = "an actor" if needs.actor else ""
    return ", ".join(part for part in (words or "a good token", where, actor) if part)


def _cell(needs: Needs, holder: Holder) -> str:
    return _WORDS[expected(needs, holder)]


def _answer(needs: Needs, holder: Holder) -> str:
    return str(refusal(needs, holder) or _cell(needs, holder))


def _table(
    title: str, rows: Mapping[str, Needs], cell: Callable[[Needs, Holder], str] = _cell
) -> str:
    lines = [
        _row((title, "asks for", *(holder.name for holder in HOLDERS))),
        "|" + "---|" * (len(HOLDERS) + 2),
    ]
    for name, needs in rows.items():
        cells = (cell(needs, holder) for holder in HOLDERS)
        lines.append(_row((f"`{name}`", _asks(needs), *cells)))
    return "\n".join(lines) + "\n"


def document() -> str:
    """Return the whole page."""
    holders = "".join(f"| {holder.name} | {holder.about} |\n" for holder in HOLDERS)
    nothing = "\n".join(f"- `{name}`: {why}" for name, why in NOTHING.items())
    own = ", ".join(f"`{name}`" for name in sorted(OWN_FILES))
    opened = ", ".join(f"`{name}`" for name, route in ROUTES.items() if route.needs == OPEN)
    closed = {name: route.needs for name, route in ROUTES.items() if route.needs != OPEN}
    return (
        HEAD
        + holders
        + READING
        + WIRE
        + _table("request", {name: one.needs for name, one in everything().items()})
        + CLI
        + _table("command", {name: one.needs for name, one in COMMANDS.items()})
        + CLI_FILES.format(own=own, nothing=nothing)
        + ADMIN
        + _table("operation", closed, _answer)
        + f"\nOpen to all: {opened}.\n"
    )


if __name__ == "__main__":
    print(document(), end="")
