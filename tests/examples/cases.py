"""What the examples of a command need besides the world, and how they end where not with 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

SHOWN_ID = "133859581091672069"
SHOWN_JTI = "3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab"


class Case(NamedTuple):
    """How the examples of one command are run.

    ``before`` are lines that must succeed first, ``each`` such before every example; ``filled``
    False begins with an empty store; ``server`` runs them beside a server. ``stdin`` is what each
    reads. ``ends`` has the exit status by example. ``stands_for`` says what a word in an example
    stands for: another word, or a command line and the path in its answer, where no path is the
    first word of that.
    """

    before: tuple[str, ...] = ()
    each: tuple[str, ...] = ()
    filled: bool = True
    server: bool = False
    stdin: str = ""
    ends: dict[str, int] = {}
    stands_for: Mapping[str, str | tuple[str, tuple[str | int, ...]]] = {}


EVENT_ID = {SHOWN_ID: ("events order o-1 --json", (0, "metadata", "event_id"))}
JOB_ID = {SHOWN_ID: ("queue --json", ("jobs", "dead", 0, "id"))}
KEYS = {
    "'example.org/default+f00f+AQ…'": ("checkpoint --key --json", ("log",)),
    "KEY": ("checkpoint --key --json", ("log",)),
}

HOOK = ("plugin config log --name hook",)
HOOKS = (*HOOK, "plugin config log --name search", "plugin config log --name search-new")
INSTALLED = ("plugin install orders-view 1.0.0 --source ./orders-view.zip",)
VIEW = (*INSTALLED, "plugin config process orders-view --name view")
VERSION = ("schema publish --activate",)
VERSIONS = (
    "schema publish --activate",
    "schema add order order_kept",
    "schema publish --activate",
)
DEAD = (
    "config --plugin-max-attempts 1",
    "plugin config http --name hook --endpoint http://127.0.0.1:9/",
    "aggregate apply order o-2 order_paid",
)
SIGNED = ("dbx checkpoint --sign > newest.note",)
SIZE = {"1000": ("checkpoint --json", ("size",))}
STAGED = ("aggregate apply order o-1 order_paid --stage",)
SHOWN = ("dbx aggregate replay order o-1 --skip 2 > event.json",)
BACKUP = ("backup --output backup.tar.gz",)
INVOICES = ("checkout --create invoices", "checkout default")
STAGING = ("context add staging --server 127.0.0.1:6363",)
REFERENCES = ("schema field order customer --type reference --reference-aggregate customer",)
MANY = tuple(f"aggregate apply order o-1 order_changed --field n:={one}" for one in range(40))

CASES: dict[str, Case] = {
    "": Case(),
    "destroy": Case(ends={"dbx destroy": 0}),
    "serve destroy": Case(before=("init",)),
    "serve status": Case(server=True),
    "status": Case(server=True),
    "config": Case(
        server=True, stands_for={"0.0.0.0:6363": ("config socket.bind_addr", ())}
    ),
    "token": Case(stands_for={SHOWN_JTI: ("token list --json", (0, "jti"))}),
    "token show": Case(stands_for={SHOWN_JTI: ("token list --json", (0, "jti"))}),
    "token revoke": Case(stands_for={SHOWN_JTI: ("token list --json", (0, "jti"))}),
    "token refresh": Case(stands_for={SHOWN_JTI: ("token list --json", (-1, "jti"))}),
    "schema": Case(filled=False),
    "schema create": Case(filled=False),
    "schema hide": Case(before=("schema create audit -e audit_made",)),
    "schema validate": Case(stdin='{"amount":1}'),
    "schema activate": Case(before=VERSIONS),
    "schema diff": Case(before=VERSIONS),
    "schema rollback": Case(before=VERSIONS),
    "schema show": Case(before=VERSION),
    "schema compat": Case(before=VERSION),
    "schema rehearse": Case(before=VERSION, server=True),
    "tenant schema activate": Case(before=VERSIONS),
    "tenant schema diff": Case(before=VERSIONS),
    "tenant schema rollback": Case(before=VERSIONS),
    "tenant schema show": Case(before=VERSION),
    "aggregate create": Case(filled=False),
    "aggregate apply": Case(stdin='{"amount":1}'),
    "aggregate remove": Case(ends={"dbx aggregate remove order o-1": 1}),
    "aggregate migrate": Case(
        before=(
            *REFERENCES,
            "schema create farm -e farm_moved,farm_made",
            "schema field farm site --type object "
            """--properties '{"address":{"type":"text","format":"reference"}}'""",
            "aggregate create farm f-1 --event farm_made",
        )
    ),
    "aggregate stage show": Case(
        before=STAGED, stands_for={SHOWN_ID: ("aggregate stage list --json", (0, "id"))}
    ),
    "aggregate stage drop": Case(
        before=STAGED, stands_for={SHOWN_ID: ("aggregate stage list --json", (0, "id"))}
    ),
    "aggregate commit": Case(before=STAGED),
    "events": Case(stands_for=EVENT_ID),
    "plugin": Case(ends={"dbx plugin test hook": 1}),
    "plugin config process": Case(before=INSTALLED),
    "plugin uninstall": Case(before=INSTALLED),
    "plugin set": Case(before=(*VIEW, "plugin config http --name hook --endpoint http://127.0.0.1:9/")),
    "plugin show": Case(before=HOOK),
    "plugin enable": Case(before=HOOK),
    "plugin disable": Case(before=HOOK),
    "plugin pause": Case(before=HOOK),
    "plugin resume": Case(before=HOOK),
    "plugin remove": Case(each=HOOK),
    "plugin rename": Case(before=HOOK),
    "plugin switch": Case(before=HOOKS),
    "plugin start": Case(before=VIEW, server=True),
    "plugin stop": Case(before=VIEW, server=True),
    "plugin status": Case(before=VIEW, server=True),
    "plugin logs": Case(before=VIEW, server=True),
    "plugin test": Case(before=HOOK),
    "plugin replay": Case(before=HOOK),
    "plugin lag": Case(before=HOOK),
    "plugin wait": Case(before=("plugin config log --name view",), stands_for=EVENT_ID),
    "plugin seek": Case(before=HOOK),
    "plugin rebuild": Case(
        before=("plugin config log --name view", "plugin config log --name view-new"), server=True
    ),
    "queue": Case(before=HOOK),
    "queue show": Case(before=DEAD, stands_for=JOB_ID),
    "queue drop": Case(before=DEAD, stands_for=JOB_ID),
    "queue clear": Case(before=DEAD),
    "queue retry": Case(before=HOOK),
    "queue pause": Case(before=HOOK),
    "queue resume": Case(before=HOOK),
    "snapshots get": Case(
        before=("snapshots create order o-1",),
        stands_for={SHOWN_ID: ("snapshots list --json", (0, "snapshot_id"))},
    ),
    "checkout": Case(before=INVOICES),
    "merge": Case(before=(*INVOICES, "checkout --create archive", "checkout default")),
    "remote": Case(before=("remote add standby 10.0.0.2 --token-env STANDBY_TOKEN",)),
    "remote show": Case(before=("remote add standby 10.0.0.2 --token-env STANDBY_TOKEN",)),
    "remote rm": Case(before=("remote add standby 10.0.0.2 --token-env STANDBY_TOKEN",)),
    "proof event": Case(stands_for=EVENT_ID),
    "proof consistency": Case(
        before=("dbx checkpoint --sign > january.checkpoint", *MANY, "checkpoint --sign"),
        stands_for={"1000": "6", "52000": ("checkpoint --json", ("size",))},
    ),
    "proof check": Case(
        before=("proof event order o-1 3 --out o-1-3.tlog-proof", *SHOWN), stands_for=KEYS
    ),
    "checkpoint": Case(before=SIGNED, stands_for=SIZE),
    "keys restore": Case(before=("keys backup --out keys.tar",)),
    "erase": Case(stdin="c-1\n"),
    "erase aggregate": Case(stdin="c-1\n"),
    "erase subject": Case(stdin="anna@example.org\n"),
    "scrub": Case(server=True),
    "scrub start": Case(server=True),
    "scrub stop": Case(server=True),
    "audit check": Case(
        before=("audit export order o-1 --out o-1.dbx-audit", *SHOWN), stands_for=KEYS
    ),
    "context": Case(),
    "context use": Case(before=STAGING),
    "context remove": Case(before=STAGING),
    "context rename": Case(before=STAGING),
    "backup verify": Case(before=BACKUP),
    "restore": Case(before=BACKUP),
    "verify": Case(before=SIGNED),
}  # fmt: skip

STAYS = "it goes on until it is interrupted"
AWAY = "it needs the internet"

NOT_RUN: dict[str, str] = {
    "dbx start --foreground --restrict strict": STAYS,
    "dbx serve start --foreground --restrict strict": STAYS,
    "dbx events order --follow --from start --json": STAYS,
    "dbx plugin logs view --follow": STAYS,
    "dbx plugin install orders-view 1.0.0 --source https://example.org/view.tar.gz "
    "--checksum 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08": AWAY,
    "dbx upgrade list --limit 5": AWAY,
    "dbx upgrade list --json": AWAY,
}
"""Examples that are not run, each with its reason."""
