"""What the commands on tokens share: the desk, tokens given by file, and how records look."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventdbx.domain.canonical import JSON
from eventdbx.errors import EventDBXError
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import all_of, argument, option
from eventdbx.surfaces.cli.output import note, print_json, print_line, warn_of_visible

if TYPE_CHECKING:
    from eventdbx.services.issuing import TokenDesk

TOKEN_FILE = option(
    "--token-file",
    conflicts=("token",),
    replaces=("token",),
    metavar="PATH",
    help="Read the token from a file, '-' for stdin: others see what is on a command line",
)

GIVEN = all_of(
    argument(
        "token",
        spelled="--token",
        metavar="TOKEN",
        help="The token, or its id (jti)",
    ),
    TOKEN_FILE,
)


def chosen(token: str | None, token_file: str | None) -> str:
    """Return the token that was given, in one of the two ways."""
    if token_file is None:
        assert token is not None
        if token.count(".") == 2:
            warn_of_visible("--token-file")
        return token.strip()
    try:
        text = sys.stdin.read() if token_file == "-" else Path(token_file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Failure(f"cannot read {token_file}: {reason}") from None
    if not text.strip():
        raise Failure(f"there is no token in {token_file}")
    return text.strip()


def desk(place: Opened) -> TokenDesk:
    """Return the desk that issues the tokens of a workspace."""
    from eventdbx.services.issuing import TokenDesk  # Heavy; help does not need it.

    return TokenDesk(place.workspace, lambda: place.config, notice=note)


def leave_word(
    place: Opened,
    event: str,
    resource: str,
    way: str,
    area: str = "tokens",
    details: Mapping[str, JSON] | None = None,
) -> None:
    """Note for the audit trail what was done to tokens or keys."""
    from eventdbx.services.auditspool import spool_action

    try:
        spool_action(place.workspace.data_dir, area, event, resource, way, details=details)
    except EventDBXError as error:
        note(f"warning: not in the audit trail: {error}")


def show(document: Mapping[str, Any], as_json: bool) -> None:
    """Print the record of a token that was just issued, with the token."""
    if as_json:
        print_json(document)
    else:
        print_record(document)


def print_record(document: Mapping[str, Any]) -> None:
    """Print a record as lines; a token that is not there is hidden."""
    print_line(record(document))


def record(document: Mapping[str, Any]) -> str:
    """Return the lines of a record; a token that is not there is hidden."""
    ends = document["expires_at"]
    lines = [f"token={document.get('token') or '<hidden>'}"]
    for name, shown in (
        ("jti", document["jti"]),
        ("subject", document["subject"]),
        ("group", document["group"]),
        ("user", document["user"]),
        ("status", document["status"].capitalize()),
        ("issued_by", document["issued_by"]),
        ("issued_at", with_offset(document["issued_at"])),
        ("expires_at", "never" if ends is None else with_offset(ends)),
        ("actions", _listed(document["actions"], "none")),
        ("resources", _listed(document["resources"], "none")),
        ("tenants", _listed(document["tenants"], "any")),
    ):
        lines.append(f"  {name}={shown}")
    return "\n".join(lines)


def with_offset(time: str) -> str:
    """Return a time as lines show it: with an offset instead of ``Z``."""
    return time.removesuffix("Z") + "+00:00"


def _listed(words: list[str], empty: str) -> str:
    return f"[{','.join(words) if words else empty}]"
