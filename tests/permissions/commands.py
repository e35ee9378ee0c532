"""Every command of the command line: what it asks of the token it has, beside a server.

A command that works on the installation's own files asks for no token: who may read and write the
files decides. ``{one}`` in the words of a command is the id of an aggregate.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.permissions.operations import APPEND, JOBS, READ_ONE, READ_SOME, STAGES
from tests.permissions.rules import Needs

NOT_ALLOWED = 6
"""The exit status of a command that was refused for its token, with ``fine`` exit codes."""


class Command(NamedTuple):
    """A command line as one text, its needs, and the exit status once it is let in.

    ``hides`` is the status for those who have the right, but not for the aggregate, where they get
    the same answer as if there were none. ``writes`` as with operations; ``before`` are commands of
    the operator, which may find that there is nothing to do.
    """

    line: str
    needs: Needs
    ends: int = 0
    hides: int = NOT_ALLOWED
    writes: bool = False
    before: tuple[str, ...] = ()


def _needs(*actions: str) -> Needs:
    return Needs(actions)


CREATE = Needs(("aggregate.create", "aggregate.append"), "aggregate", actor=True)
ARCHIVE = Needs(("aggregate.archive",), "aggregate", actor=True)
SNAPSHOT = Needs(("aggregate.append",), "aggregate")
LOOKS, CHANGES = _needs("schema.read"), _needs("schema.write")
RULES = _needs("tenant.manage")
SEES, MANAGES = _needs("plugin.read"), _needs("plugin.manage")
QUEUE, CLEARS = _needs("queue.read"), _needs("queue.manage")

AGGREGATES: dict[str, Command] = {
    "aggregate create": Command(
        "aggregate create order {one}-new --event order_created", CREATE, writes=True
    ),
    "aggregate apply": Command("aggregate apply order {one} order_paid", APPEND, writes=True),
    "aggregate patch": Command(
        "aggregate patch order {one} order_paid --patch '{patch}'", APPEND, writes=True
    ),
    "aggregate archive": Command("aggregate archive order {one}", ARCHIVE, writes=True),
    "aggregate restore": Command("aggregate restore order {one}", ARCHIVE, writes=True),
    "aggregate snapshot": Command("aggregate snapshot order {one}", SNAPSHOT, writes=True),
    "aggregate list": Command("aggregate list", READ_SOME),
    "aggregate get": Command("aggregate get order {one}", READ_ONE),
    "aggregate select": Command("aggregate select order {one} text", READ_ONE),
    "aggregate replay": Command("aggregate replay order {one}", READ_ONE),
    "aggregate verify": Command("aggregate verify order {one}", READ_ONE),
    "aggregate export": Command("aggregate export order --output -", READ_SOME),
    "aggregate commit": Command("aggregate commit", STAGES),
    "aggregate stage list": Command("aggregate stage list", STAGES),
    "aggregate stage show": Command("aggregate stage show 1", STAGES, ends=1),
    "aggregate stage drop": Command("aggregate stage drop --all --yes", STAGES),
    "aggregate referrers": Command("aggregate referrers order {one}", READ_ONE),
    "events": Command("events", READ_SOME),
    "import": Command("import {events}", APPEND, writes=True),
    "snapshots list": Command("snapshots list", READ_SOME),
    "snapshots create": Command("snapshots create order {one}", SNAPSHOT, writes=True),
    "snapshots get": Command("snapshots get {snapshot}", READ_ONE, hides=4),
    "verify": Command("verify", Needs(("aggregate.read",), "all")),
    "proof event": Command("proof event order {one} 1", READ_ONE),
    "proof aggregate": Command("proof aggregate order {one}", READ_ONE),
    "proof consistency": Command("proof consistency --from 0", _needs("aggregate.read"), ends=1),
    "backup": Command("backup --output {one}.tar.gz --force", _needs("config.write")),
    "keys status": Command("keys status", _needs("config.read")),
    "keys rotate": Command("keys rotate", _needs("config.read", "config.write")),
    "keys seal": Command("keys seal", _needs("config.read")),
    "scrub status": Command("scrub status", _needs("config.read")),
    "scrub start": Command("scrub start", _needs("config.read", "config.write")),
    "scrub stop": Command("scrub stop", _needs("config.read", "config.write")),
    "checkpoint": Command("checkpoint --key", _needs("aggregate.read")),
    "head-map": Command("head-map", _needs("config.read")),
    "erase aggregate": Command(
        "erase aggregate order {one} --reason r --yes",
        Needs(("aggregate.erase",), "aggregate", actor=True),
        writes=True,
    ),
    "erase subject": Command(
        "erase subject nobody --reason r --yes", Needs(("aggregate.erase",), "all", actor=True)
    ),
    "audit export": Command("audit export order {one} --out -", READ_ONE),
    "audit log": Command("audit log", _needs("audit.read")),
    "list": Command("list", _needs("config.read")),
    "domain list": Command("domain list", _needs("config.read")),
    "config --reload": Command("config --reload", _needs("config.write")),
    "audit verify": Command("audit verify", _needs("audit.read")),
}

MADE = ("schema delete case --yes", "schema create case -e case_made -e case_paid")
VERSIONS = ("schema publish --activate --force",)

SCHEMAS: dict[str, Command] = {
    "schema create": Command("schema create spare -e spare_made", CHANGES,
                             before=("schema delete spare --yes",)),
    "schema list": Command("schema list", LOOKS),
    "schema delete": Command("schema delete case --yes", CHANGES, before=MADE),
    "schema add": Command("schema add case case_kept", CHANGES, before=MADE),
    "schema remove": Command("schema remove case case_paid", CHANGES, before=MADE),
    "schema annotate": Command("schema annotate case case_paid --note n", CHANGES, before=MADE),
    "schema alter": Command("schema alter case case_paid --add a", CHANGES, before=MADE),
    "schema field": Command("schema field case a --type text", CHANGES, before=MADE),
    "schema hide": Command("schema hide --aggregate case --field a", CHANGES, before=MADE),
    "schema lock": Command("schema lock case", CHANGES, before=MADE),
    "schema unlock": Command("schema unlock case", CHANGES, before=MADE),
    "schema threshold": Command("schema threshold case 3", CHANGES, before=MADE),
    "schema upcast": Command("schema upcast case case_paid --clear", CHANGES, before=MADE),
    "schema export": Command("schema export case --json-schema", LOOKS, before=MADE),
    "schema import": Command(
        "schema import case --json-schema {folder}/columns.json --event case_made", CHANGES,
        before=MADE,
    ),
    "schema import --dry-run": Command(
        "schema import case --json-schema {folder}/columns.json --event case_made --dry-run",
        LOOKS, before=MADE,
    ),
    "schema validate": Command(
        "schema validate --aggregate case --event case_made --payload {{}}", LOOKS, before=MADE
    ),
    "schema show": Command("schema show", LOOKS),
    "schema apply": Command("schema apply --file {folder}/case.dbx", CHANGES, before=MADE),
    "schema publish": Command("schema publish --force", CHANGES),
    "schema history": Command("schema history", LOOKS),
    "schema diff": Command("schema diff", LOOKS, before=VERSIONS),
    "schema activate": Command("schema activate", CHANGES, before=VERSIONS),
    "schema rollback": Command("schema rollback", CHANGES, before=VERSIONS * 2),
    "schema reload": Command("schema reload", CHANGES),
    "schema compat": Command("schema compat", LOOKS),
    "schema rehearse": Command("schema rehearse", CHANGES),
    "schema": Command("schema case", LOOKS, before=MADE),
    "aggregate migrate": Command(
        "aggregate migrate case --event case_moved --field owner", LOOKS,
        before=(*MADE, "schema field case owner --type reference"),
    ),
}  # fmt: skip

TENANTS: dict[str, Command] = {
    "tenant assign": Command("tenant assign default --shard 3", RULES),
    "tenant unassign": Command("tenant unassign default", RULES),
    "tenant list": Command("tenant list", RULES),
    "tenant stats": Command("tenant stats", RULES),
    "tenant quota set": Command("tenant quota set default --max-mb 1000000", RULES),
    "tenant quota clear": Command("tenant quota clear default", RULES),
    "tenant quota recalc": Command("tenant quota recalc default", RULES),
    "tenant schema publish": Command("tenant schema publish --force", CHANGES),
    "tenant schema history": Command("tenant schema history", LOOKS),
    "tenant schema show": Command("tenant schema show", LOOKS, before=VERSIONS),
    "tenant schema diff": Command("tenant schema diff", LOOKS, before=VERSIONS),
    "tenant schema activate": Command("tenant schema activate", CHANGES, before=VERSIONS),
    "tenant schema rollback": Command("tenant schema rollback", CHANGES, before=VERSIONS * 2),
    "tenant schema reload": Command("tenant schema reload", CHANGES),
}

NOTED = ("plugin config log --name notes", "plugin enable notes")
WITH_SPARE = (*NOTED, "plugin config log --name spare")

PLUGINS: dict[str, Command] = {
    "plugin config log": Command("plugin config log --name notes", MANAGES),
    "plugin config tcp": Command(
        "plugin config tcp --name far --host 127.0.0.1 --port 9 --disable", MANAGES
    ),
    "plugin config capnp": Command(
        "plugin config capnp --name near --host 127.0.0.1 --port 9 --disable", MANAGES
    ),
    "plugin config http": Command(
        "plugin config http --name web --endpoint http://127.0.0.1:9/ --disable", MANAGES
    ),
    "plugin config process": Command("plugin config process worker --disable", MANAGES),
    "plugin set": Command("plugin set notes --payload all", MANAGES, before=NOTED),
    "plugin list": Command("plugin list", SEES),
    "plugin show": Command("plugin show notes", SEES, before=NOTED),
    "plugin enable": Command("plugin enable notes", MANAGES, before=NOTED),
    "plugin disable": Command("plugin disable notes", MANAGES, before=NOTED),
    "plugin pause": Command("plugin pause notes", MANAGES, before=NOTED),
    "plugin resume": Command("plugin resume notes", MANAGES, before=NOTED),
    "plugin remove": Command("plugin remove spare --disable", MANAGES, before=WITH_SPARE),
    "plugin rename": Command("plugin rename spare renamed", MANAGES,
                             before=(*WITH_SPARE, "plugin remove renamed --disable")),
    "plugin switch": Command("plugin switch notes --with spare", MANAGES, before=WITH_SPARE),
    "plugin start": Command("plugin start none", SEES, ends=4),
    "plugin stop": Command("plugin stop none", SEES, ends=4),
    "plugin status": Command("plugin status", SEES),
    "plugin logs": Command("plugin logs none", SEES, ends=4),
    "plugin test": Command("plugin test notes", MANAGES, before=NOTED),
    "plugin replay": Command("plugin replay notes order", MANAGES, before=NOTED),
    "plugin lag": Command("plugin lag", SEES),
    "plugin wait": Command(
        "plugin wait notes --position start",
        Needs(any_of=("plugin.read", "aggregate.append", "aggregate.read")), before=NOTED,
    ),
    "plugin seek": Command("plugin seek notes end --yes", MANAGES, before=NOTED),
    "plugin rebuild": Command("plugin rebuild notes --detach --yes", MANAGES, before=NOTED),
    "plugin stats": Command("plugin stats notes", SEES, before=NOTED),
    "plugin uninstall": Command("plugin uninstall none", SEES, ends=1),
    "queue": Command("queue", JOBS),
    "queue show": Command(
        "queue show {job}", Needs(("queue.read",), "aggregate"), hides=4
    ),
    "queue clear": Command("queue clear --yes", CLEARS),
    "queue clear-done": Command("queue clear-done --older-than-hours 99999 --yes", QUEUE),
    "queue drop": Command("queue drop {job} --yes", CLEARS),
    "queue export": Command("queue export {file}", QUEUE),
    "queue pause": Command("queue pause notes", MANAGES, before=NOTED),
    "queue resume": Command("queue resume notes", MANAGES, before=NOTED),
    "queue retry": Command("queue retry --event-id {job} --no-wait", CLEARS),
}  # fmt: skip
"""Some name what there is not, or find nothing old enough: they ask the server what there is, and
go no further."""

COMMANDS = AGGREGATES | SCHEMAS | TENANTS | PLUGINS

STANDING = (*WITH_SPARE, *MADE)
"""What there is for those who are refused: some commands look before they ask."""

OWN_FILES = frozenset(
    {
        "start", "stop", "status", "restart", "destroy", "serve start", "serve stop",
        "serve status", "serve restart", "serve destroy", "init", "config", "token generate",
        "token list", "token show", "token revoke", "token refresh", "token rotate",
        "token bootstrap", "plugin install", "proof check", "audit check", "audit verifier",
        "upgrade", "upgrade to", "upgrade use", "upgrade list", "upgrade installed",
        "context list", "context show", "context add", "context use", "context remove",
        "context rename", "shell", "completion bash", "completion zsh", "completion fish",
        "backup verify", "restore",
        "doctor", "keys backup", "keys restore", "remote add", "remote rm", "remote ls",
        "remote show", "checkout", "domain create", "merge",
    }
)  # fmt: skip
"""Commands that ask for no token: they work on the files of the installation and its processes."""

NOTHING = {
    "aggregate remove": "refused to everyone while there are events",
}
