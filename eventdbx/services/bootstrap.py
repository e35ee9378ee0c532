"""The operator's own token: ``cli.token``, made where it is missing and no longer good.

Nothing here imports Twisted, and the cryptography package only when a token has to be made.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from eventdbx.errors import EventDBXError
from eventdbx.services.files import locked_directory, read_text, replace_text, sweep_leftovers
from eventdbx.services.workspace import Opened, exposed_secrets

if TYPE_CHECKING:
    from eventdbx.application.ledger import Ledger
    from eventdbx.domain.grants import Grant


SUBJECT = "cli:bootstrap"


def ensure_cli_token(
    opened: Opened, *, ttl_s: int | None = None, fresh_ttl_s: int | None = None
) -> str:
    """Return the operator's token from ``cli.token``, making a new one unless it is still good.

    ``ttl_s`` asks for a lifetime in seconds, 0 for none; None accepts any that the file has and
    gives a new one ``fresh_ttl_s``, by default the configured lifetime. The file is readable by
    its owner alone, the token is recorded in the ledger, and the one that it replaces is revoked,
    unless a rotated key signed it: that one goes on until the key ends. Raises ConfigError if the
    signing key is unusable, IoError if a file cannot be written, and what reading the ledger
    raises.
    """
    workspace, config = opened
    with locked_directory(workspace.data_dir):
        present = (read_text(workspace.token_path) or "").strip()
        grant = _verified(present, opened) if present else None
        if grant is not None and _suits(grant, ttl_s):
            if exposed_secrets(workspace.token_path):
                workspace.token_path.chmod(0o600)
            return present
        if ttl_s is None:
            ttl_s = config.auth.bootstrap_ttl_secs if fresh_ttl_s is None else fresh_ttl_s
        with workspace.token_files(_say_nothing).change_locked() as ledger:
            if grant is not None and grant.subject == SUBJECT:
                ledger.replace(grant.jti, time.time_ns())
            token = _bootstrap_token(opened, ledger, ttl_s)
        sweep_leftovers(workspace.token_path)
        replace_text(workspace.token_path, token + "\n")
        return token


def _say_nothing(_line: str) -> None:
    """Pass over a ledger that was moved aside: nothing in it counted any more."""


def new_bootstrap_token(opened: Opened, ttl_s: int, notice: Callable[[str], None]) -> str:
    """Return a new token that may do everything; it is recorded, but in no file of its own.

    ``ttl_s`` 0 never expires. Raises as :func:`ensure_cli_token` does.
    """
    with opened.workspace.token_files(notice).change() as ledger:
        return _bootstrap_token(opened, ledger, ttl_s)


def _bootstrap_token(opened: Opened, ledger: Ledger, ttl_s: int) -> str:
    from eventdbx.application.tokens import new_grant
    from eventdbx.services.keyring import token_terms

    now_ns = time.time_ns()
    for record in ledger.records:
        # Nobody asks for them by name, and commands would add one every few hours for ever.
        if record.subject == SUBJECT and not ledger.counts(record, now_ns):
            ledger.forget(record.jti)
    grant = new_grant(
        jti=str(uuid.uuid4()),
        now_s=now_ns // 10**9,
        ttl_s=ttl_s,
        subject=SUBJECT,
        group="cli",
        user="root",
        actions=["*.*"],
        resources=["*"],
        issued_by="cli-bootstrap",
    )
    return ledger.issue(token_terms(opened.config), grant, now_ns)[0]


def _verified(token: str, opened: Opened) -> Grant | None:
    """Return what a token grants that counts and that the present key has signed, None else."""
    from eventdbx.application.token_keys import verification_keys
    from eventdbx.application.tokens import Verifier

    workspace, config = opened
    auth = config.auth
    verifier = Verifier(
        verification_keys(config)[:1],
        auth.issuer,
        auth.audience,
        auth.clock_skew_secs,
        time.time,
        workspace.is_revoked,
    )
    try:
        return verifier.verify(token)
    except EventDBXError:
        return None  # Signed by an earlier key, expired or revoked: a new one takes its place.


def _suits(grant: Grant, ttl_s: int | None) -> bool:
    """Tell whether the token may do everything, for as long as is asked for."""
    if "*.*" not in grant.actions or "*" not in grant.resources:
        return False
    if ttl_s is None:
        return True
    lifetime = 0 if grant.expires_at is None else grant.expires_at - grant.issued_at
    return abs(lifetime - ttl_s) <= 1
