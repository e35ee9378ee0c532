"""``dbx token``: generate, list, revoke, refresh, bootstrap.

Tokens are a matter of files: whoever may read the signing key may issue them, server or not.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING, Any

import click

from eventdbx.domain.timestamps import NS_PER_S, format_offset
from eventdbx.services.bootstrap import ensure_cli_token, new_bootstrap_token
from eventdbx.services.keyring import token_terms
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, argument, option
from eventdbx.surfaces.cli.output import note, print_json, print_line
from eventdbx.surfaces.cli.places import opened
from eventdbx.surfaces.cli.ttl import TOKEN_TTL
from eventdbx.surfaces.cli.values import U64

if TYPE_CHECKING:
    from eventdbx.application.token_records import TokenRecord
    from eventdbx.services.tokenfiles import TokenFiles

BOOTSTRAP_TTL_S = 2 * 3600
DEFAULT_TTL_S_MIN = 60

# `aggregate:order*` was meant for one type, but covers `order_item`, too.
_OPEN_TYPE = re.compile(r"aggregate:[^:*?]+\*")


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "token",
        help="Manage access tokens",
        aliases={"issue": "generate"},
        examples=(
            "dbx token generate --group ops --user ann --action aggregate.read",
            "dbx token list --json",
            "dbx token revoke 3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab --reason 'left team'",
        ),
    )
    def token() -> None:
        """Manage access tokens"""

    _register_generate(token)
    _register_list(token)
    _register_revoke(token)
    _register_refresh(token)
    _register_bootstrap(token)


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
    @option("--issued-by", default="cli", metavar="ISSUED_BY", help="Who issues it (default: cli)")
    @option(
        "--write-limit",
        "--limit",
        type=U64,
        metavar="WRITE_LIMIT",
        help="Number of writes, kept in the token; this version does not enforce it",
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
        _generate(opened(context), as_json, **asked)


def _generate(place: Opened, as_json: bool, *, ttl: int | None, **asked: Any) -> None:
    from eventdbx.application.tokens import new_grant

    if ttl is None:
        ttl = max(place.config.auth.default_ttl_secs, DEFAULT_TTL_S_MIN)
    now_ns = time.time_ns()
    grant = new_grant(jti=str(uuid.uuid4()), now_s=now_ns // NS_PER_S, ttl_s=ttl, **asked)
    terms = token_terms(place.config)
    with _files(place).change() as ledger:
        token, record = ledger.issue(terms, grant, now_ns)
    _show(record, token, as_json)


def _register_list(group: click.Group) -> None:
    @group.command("list", examples=("dbx token list", "dbx token list --json"))
    @AS_JSON
    @click.pass_context
    def list_tokens(context: click.Context, as_json: bool) -> None:
        """List configured tokens

        Tokens that are both revoked and expired are not shown.
        """
        ledger = _files(opened(context)).read()
        shown = ledger.shown(time.time_ns())
        if as_json:
            print_json([ledger.document(record) for record in shown])
            return
        if not shown:
            print_line("no issued tokens")
        for record in shown:
            _print_record(record, None, ledger.document(record)["status"])


def _register_revoke(group: click.Group) -> None:
    @group.command(
        "revoke",
        examples=(
            "dbx token revoke 3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab",
            "dbx token revoke eyJ0eXAi…JPBCA --reason 'left team' --json",
        ),
    )
    @argument("token", spelled="--token", metavar="TOKEN", help="The token, or its id (jti)")
    @option("--reason", metavar="REASON", help="Kept with the revocation")
    @AS_JSON
    @click.pass_context
    def revoke(context: click.Context, token: str, reason: str | None, as_json: bool) -> None:
        """Revoke an active token

        A running server refuses the token from its next request on.
        """
        place = opened(context)
        terms = token_terms(place.config)
        with _files(place).change() as ledger:
            done, known = ledger.revoke(terms, token.strip(), reason=reason, now_ns=time.time_ns())
        if not known:
            note(f"warning: no token with the id {done.jti} was issued here")
        if as_json:
            revoked_at = format_offset(done.revoked_at)
            document = {"token": token, "revoked": True, "reason": reason, "revoked_at": revoked_at}
            print_json(document, sort=True)
            return
        print_line(f"revoked {done.jti}")


def _register_refresh(group: click.Group) -> None:
    @group.command(
        "refresh",
        examples=("dbx token refresh --token 3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab --ttl 1d",),
    )
    @option("--token", required=True, metavar="TOKEN", help="The token, or its id (jti)")
    @option(
        "--ttl",
        "--expiration",
        type=TOKEN_TTL,
        metavar="TTL",
        help="Lifetime: seconds, or a number with s, m, h, d or w; 0 for no end "
        "(default: that of the old token)",
    )
    @AS_JSON
    @click.pass_context
    def refresh(context: click.Context, token: str, ttl: int | None, as_json: bool) -> None:
        """Refresh an existing token (revokes the prior token)

        Issues a token that grants the same and revokes the old one.
        """
        from eventdbx.application.tokens import check_ttl

        if ttl is not None:
            check_ttl(ttl)
        place = opened(context)
        terms = token_terms(place.config)
        with _files(place).change() as ledger:
            replacement, record = ledger.refresh(
                terms, token.strip(), jti=str(uuid.uuid4()), ttl_s=ttl, now_ns=time.time_ns()
            )
        if not as_json:
            print_line("issued replacement token:")
        _show(record, replacement, as_json)


def _register_bootstrap(group: click.Group) -> None:
    @group.command(
        "bootstrap",
        examples=("dbx token bootstrap", "dbx token bootstrap --stdout --ttl 10m"),
    )
    @option("--stdout", is_flag=True, help="Print a new token instead of keeping it in a file")
    @option("--persist", is_flag=True, requires=("stdout",), help="Keep it in cli.token as well")
    @option(
        "--ttl",
        type=TOKEN_TTL,
        metavar="TTL",
        help="Lifetime: seconds, or a number with s, m, h, d or w; 0 for no end "
        "(default: 2h; a token in cli.token that is still good is kept)",
    )
    @click.pass_context
    def bootstrap(context: click.Context, stdout: bool, persist: bool, ttl: int | None) -> None:
        """Issue a CLI bootstrap token

        It may do everything. Without options it is kept in cli.token, where commands find it.
        """
        place = opened(context)
        if stdout and not persist:
            ttl_s = BOOTSTRAP_TTL_S if ttl is None else ttl
            print_line(new_bootstrap_token(place, ttl_s, note))
            return
        token = ensure_cli_token(place, ttl_s=ttl, fresh_ttl_s=BOOTSTRAP_TTL_S)
        where = place.workspace.token_path
        print_line(token if stdout else f"Bootstrap token stored at {where}")


def _files(place: Opened) -> TokenFiles:
    return place.workspace.token_files(note)


def _show(record: TokenRecord, token: str, as_json: bool) -> None:
    if as_json:
        print_json(record.document(revoked=False, token=token))
    else:
        _print_record(record, token, "active")


def _print_record(record: TokenRecord, token: str | None, status: str) -> None:
    expires_at = "never" if record.expires_at is None else format_offset(record.expires_at)
    print_line(f"token={token or '<hidden>'}")
    for name, shown in (
        ("jti", record.jti),
        ("subject", record.subject),
        ("group", record.group),
        ("user", record.user),
        ("status", status.capitalize()),
        ("issued_by", record.issued_by),
        ("issued_at", format_offset(record.issued_at)),
        ("expires_at", expires_at),
        ("actions", _listed(record.actions, "none")),
        ("resources", _listed(record.resources, "none")),
        ("tenants", _listed(record.tenants, "any")),
    ):
        print_line(f"  {name}={shown}")


def _listed(words: tuple[str, ...], empty: str) -> str:
    return f"[{','.join(words) if words else empty}]"
