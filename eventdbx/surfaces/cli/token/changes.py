"""``dbx token``: revoke, refresh, rotate, bootstrap."""

from __future__ import annotations

from typing import Any

import click

from eventdbx.domain.timestamps import format_offset
from eventdbx.services.bootstrap import ensure_cli_token, new_bootstrap_token
from eventdbx.services.files import read_text
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli.options import AS_JSON, DOCUMENT, option
from eventdbx.surfaces.cli.output import note, print_json, print_line, print_result
from eventdbx.surfaces.cli.places import opened
from eventdbx.surfaces.cli.token.output import (
    GIVEN,
    TOKEN_FILE,
    chosen,
    desk,
    leave_word,
    show,
    with_offset,
)
from eventdbx.surfaces.cli.ttl import TOKEN_TTL
from eventdbx.surfaces.cli.values import U64

BOOTSTRAP_TTL_S = 2 * 3600


def register(group: click.Group) -> None:
    """Add the commands to the group."""
    _register_revoke(group)
    _register_refresh(group)
    _register_rotate(group)
    _register_bootstrap(group)


def _register_revoke(group: click.Group) -> None:
    @group.command(
        "revoke",
        examples=(
            "dbx token revoke 3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab",
            "dbx token revoke --token-file old.token --reason 'left team' --json",
        ),
    )
    @GIVEN
    @option("--reason", metavar="REASON", help="Kept with the revocation")
    @AS_JSON
    @click.pass_context
    def revoke(
        context: click.Context,
        token: str | None,
        token_file: str | None,
        reason: str | None,
        as_json: bool,
    ) -> None:
        """Revoke an active token

        A running server refuses the token from its next request on.
        """
        place, text = opened(context), chosen(token, token_file)
        done, record = desk(place).revoked(text, reason=reason)
        leave_word(place, "token_revoked", done.jti, "dbx token revoke")
        if record is None:
            note(f"warning: no token with the id {done.jti} was issued here")
        if as_json:
            revoked_at = format_offset(done.revoked_at)
            shown = done.jti if token is None else token
            document = {"token": shown, "revoked": True, "reason": reason, "revoked_at": revoked_at}
            print_json(document, sort=True)
            return
        print_line(f"revoked {done.jti}")


def _register_refresh(group: click.Group) -> None:
    @group.command(
        "refresh",
        examples=(
            "dbx token refresh --token 3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab --ttl 1d",
            "dbx token refresh --token-file ops.token --json",
        ),
    )
    @option("--token", required=True, metavar="TOKEN", help="The token, or its id (jti)")
    @TOKEN_FILE
    @option(
        "--ttl",
        "--expiration",
        type=TOKEN_TTL,
        metavar="TTL",
        help="Lifetime: seconds, or a number with s, m, h, d or w; 0 for no end "
        "(default: that of the old token)",
    )
    @option(
        "--write-limit",
        "--limit",
        type=U64,
        metavar="WRITE_LIMIT",
        help="How many writes it is good for, in each domain (default: as the old token)",
    )
    @AS_JSON
    @click.pass_context
    def refresh(
        context: click.Context,
        /,
        ttl: int | None,
        as_json: bool,
        write_limit: int | None,
        **given: Any,
    ) -> None:
        """Refresh an existing token (revokes the prior token)

        Issues a token that grants the same and revokes the old one.
        """
        place = opened(context)
        document, replaced = desk(place).refresh(
            chosen(**given), ttl_s=ttl, write_limit=write_limit
        )
        details = {"replaces": replaced}
        leave_word(place, "token_refreshed", document["jti"], "dbx token refresh", details=details)
        if not as_json:
            print_line("issued replacement token:")
        show(document, as_json)


def _register_rotate(group: click.Group) -> None:
    @group.command(
        "rotate",
        examples=("dbx token rotate", "dbx token rotate --overlap 7d", "dbx token rotate --json"),
    )
    @option(
        "--overlap",
        type=TOKEN_TTL,
        metavar="TTL",
        help="How long tokens of the old key are still good: seconds, or a number with s, m, h, "
        "d or w (default: until the last of them ends)",
    )
    @AS_JSON
    @click.pass_context
    def rotate(context: click.Context, overlap: int | None, as_json: bool) -> None:
        """Sign tokens with a new key from now on

        Tokens that were issued before stay good. A running server takes the new key up by itself.
        """
        place = opened(context)
        document = desk(place).rotate_key(overlap_s=overlap)
        leave_word(place, "key_rotated", document["key_id"], "dbx token rotate", area="keys")
        if as_json:
            print_json(document)
            return
        print_line(f"signing with {document['key_id']}")
        for old in document["previous"]:
            ends = old["not_after"]
            until = "without end" if ends is None else f"until {with_offset(ends)}"
            print_line(f"  {old['key_id'] or 'a key without id'} verifies {until}")
        if document["previous"][-1]["not_after"] is None:
            note(
                "note: some tokens of the old key never end; once they are replaced, "
                "take it out of auth.previous_keys in the configuration file"
            )


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
    @DOCUMENT
    @click.pass_context
    def bootstrap(context: click.Context, stdout: bool, persist: bool, ttl: int | None) -> None:
        """Issue a CLI bootstrap token

        It may do everything. Without options it is kept in cli.token, where commands find it.
        """
        place = opened(context)
        if stdout and not persist:
            ttl_s = BOOTSTRAP_TTL_S if ttl is None else ttl
            token = new_bootstrap_token(place, ttl_s, note)
            _leave_word_of(place, token)
            print_result({"token": token, "stored_at": None}, token)
            return
        where = place.workspace.token_path
        before = (read_text(where) or "").strip()
        token = ensure_cli_token(place, ttl_s=ttl, fresh_ttl_s=BOOTSTRAP_TTL_S)
        if token != before:
            _leave_word_of(place, token)
        done = {"token": token if stdout else None, "stored_at": str(where)}
        print_result(done, token if stdout else f"Bootstrap token stored at {where}")


def _leave_word_of(place: Opened, token: str) -> None:
    """Note for the audit trail that a token was issued that may do everything."""
    jti = desk(place).describe(token)["jti"]
    leave_word(place, "token_issued", jti, "dbx token bootstrap")
