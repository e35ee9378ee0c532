"""``dbx token``: generate, list, show; what ends and renews tokens is in ``token_changes``.

Tokens are a matter of files: whoever may read the signing key may issue them, server or not.
"""

from __future__ import annotations

import re
from typing import Any

import click

from eventdbx.domain.timestamps import NS_PER_S
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, DOCUMENT, Time, option
from eventdbx.surfaces.cli.output import note, print_json, print_line, print_listing, say_empty
from eventdbx.surfaces.cli.places import opened
from eventdbx.surfaces.cli.token.output import (
    GIVEN,
    chosen,
    desk,
    leave_word,
    print_record,
    record,
    show,
)
from eventdbx.surfaces.cli.ttl import TOKEN_TTL
from eventdbx.surfaces.cli.values import U64

# `aggregate:order*` was meant for one type, but covers `order_item`, too.
_OPEN_TYPE = re.compile(r"aggregate:[^:*?]+\*")

_HERE = "eventdbx.surfaces.cli."

MODULES: dict[str, tuple[str, str]] = {
    "revoke": (_HERE + "token.changes", "Revoke an active token"),
    "refresh": (_HERE + "token.changes", "Refresh an existing token (revokes the prior token)"),
    "rotate": (_HERE + "token.changes", "Sign tokens with a new key from now on"),
    "bootstrap": (_HERE + "token.changes", "Issue a CLI bootstrap token"),
}
"""The subcommands that other modules declare, which are imported for them."""


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "token",
        help="Manage access tokens",
        modules=MODULES,
        aliases={"issue": "generate", "rotate-key": "rotate"},
        examples=(
            "dbx token generate --group ops --user ann --action aggregate.read",
            "dbx token list --json",
            "dbx token revoke 3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab --reason 'left team'",
            "dbx token rotate --overlap 7d",
        ),
    )
    def token() -> None:
        """Manage access tokens"""

    _register_generate(token)
    _register_list(token)
    _register_show(token)


def _register_generate(group: click.Group) -> None:
    @group.command(
        "generate",
        examples=(
            "dbx token generate --group ops --user ann --action '*.*' --ttl 0",
            "dbx token generate -g ops -u x --action aggregate.read --resource 'aggregate:order:*'",
            "dbx token generate -g ops -u bob --action '*.read' --tenant acme --ttl 12h --json",
        ),
    )
    @option("-g", "--group", required=True, metavar="GROUP", help="Group of the holder")
    @option("-u", "--user", required=True, metavar="USER", help="User the token is for")
    @option(
        "--subject",
        default="",
        metavar="SUBJECT",
        help="Subject of the token (default: GROUP:USER)",
    )
    @option(
        "--action",
        "actions",
        multiple=True,
        metavar="ACTION",
        help="What the token may do, e.g. aggregate.read; '*' and '?' are wildcards; "
        "'*.*' for everything",
    )
    @option(
        "--resource",
        "resources",
        multiple=True,
        metavar="RESOURCE",
        help="What it may be done to, e.g. 'aggregate:order:*' (default: everything)",
    )
    @option(
        "--tenant",
        "tenants",
        multiple=True,
        metavar="TENANT",
        help="Tenant the token may be used for (default: any)",
    )
    @option(
        "--ttl",
        "--expiration",
        type=TOKEN_TTL,
        metavar="TTL",
        help="Lifetime: seconds, or a number with s, m, h, d or w; 0 for no end "
        "(default: auth.default_ttl_secs of the configuration)",
    )
    @option(
        "--not-before",
        type=Time(),
        metavar="TIME",
        help="Not accepted before this time (RFC 3339, e.g. 2026-05-04T08:00:00Z)",
    )
    @option("--issued-by", default="cli", metavar="ISSUED_BY", help="Who issues it (default: cli)")
    @option(
        "--write-limit",
        "--limit",
        type=U64,
        metavar="WRITE_LIMIT",
        help="How many writes the token is good for, in each domain (default: any number)",
    )
    @option("--keep-alive", is_flag=True, help="Kept in the token; has no effect")
    @AS_JSON
    @click.pass_context
    def generate(context: click.Context, /, as_json: bool, **asked: Any) -> None:
        """Generate a new token"""
        if not asked["actions"]:
            raise Failure(
                "at least one --action must be provided",
                hint="--action '*.*' allows everything, --action aggregate.read only reading",
            )
        for resource in asked["resources"]:
            if _OPEN_TYPE.fullmatch(resource):
                closed = f"{resource[:-1]}:*"
                note(
                    f"warning: {resource} also covers types whose names only begin like that; "
                    f"{closed} means the one type"
                )
        _generate(context, as_json, **asked)


def _generate(
    context: click.Context, as_json: bool, *, ttl: int | None, not_before: int | None, **asked: Any
) -> None:
    from eventdbx.application.issuing import TokenAsked

    start = None if not_before is None else not_before // NS_PER_S
    place = opened(context)
    document = desk(place).issue(TokenAsked(ttl_s=ttl, not_before=start, **asked))
    leave_word(place, "token_issued", document["jti"], "dbx token generate")
    show(document, as_json)


def _register_list(group: click.Group) -> None:
    @group.command(
        "list",
        examples=("dbx token list", "dbx token list --json"),
        columns=("jti", "subject", "status", "issued_at", "expires_at", "actions", "resources"),
    )
    @DOCUMENT
    @click.pass_context
    def list_tokens(context: click.Context) -> None:
        """List configured tokens

        Tokens that are both revoked and expired are not shown.
        """
        shown = desk(opened(context)).list()
        if not print_listing(shown, record, empty="no issued tokens"):
            say_empty("no tokens were issued", "dbx token generate --help")


def _register_show(group: click.Group) -> None:
    @group.command(
        "show",
        examples=(
            "dbx token show 3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab",
            "dbx token show --token-file ops.token --json",
        ),
    )
    @GIVEN
    @AS_JSON
    @click.pass_context
    def show_token(context: click.Context, /, as_json: bool, **given: Any) -> None:
        """Show what a token allows, and whether it counts

        STATE is active, waiting (for its first moment), expired or revoked.
        """
        document = desk(opened(context)).describe(chosen(**given))
        if as_json:
            print_json(document)
            return
        print_record(document)
        bounds = document["limits"]["write_events"]
        print_line(f"  not_before={document['not_before'] or 'none'}")
        print_line(f"  write_limit={'none' if bounds is None else bounds}")
        print_line(f"  state={document['state']}")
        print_line(f"  recorded={'yes' if document['recorded'] else 'no'}")
