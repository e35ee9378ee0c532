"""How a command connects to a server: which token it shows, and how it proves it.

Whether there is a server, and what is said when it refuses, is in
:mod:`eventdbx.surfaces.cli.session`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from eventdbx.config import split_address
from eventdbx.errors import ConfigError, EventDBXError, IoError
from eventdbx.services.bootstrap import ensure_cli_token
from eventdbx.services.files import read_text
from eventdbx.services.workspace import Opened
from eventdbx.surfaces.cli.contexts import ContextFile, ServerContext, token_in
from eventdbx.surfaces.cli.failures import UNREACHABLE, Failure, UsageFailure
from eventdbx.surfaces.cli.output import note, warn_of_visible

if TYPE_CHECKING:
    from ssl import SSLContext

    from eventdbx.surfaces.control.blocking import BlockingClient

FALLBACK_TTL_S = 120
TIMEOUT_S = 30.0
"""How long the connection and each answer are waited for."""

_OF_STDIN: list[str] = []
"""The token that was read from stdin: a shell shows it again with each of its lines."""

_TLS = "tls://"
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Shown(NamedTuple):
    """The token for the server; ``issued`` is false for one that no ledger has."""

    token: str
    issued: bool = True


def connect(
    options: Mapping[str, Any],
    place: Opened,
    address: str,
    given: str | None,
    *,
    chosen: ServerContext | None = None,
    tenant: str | None,
    failing: str,
    timeout_s: float = TIMEOUT_S,
) -> tuple[BlockingClient, str]:
    """Return a session with the server at an address, and the token that opened it.

    ``options`` are those of the root, ``given`` is the token to show, if it is known, ``chosen``
    the named server that the address is of. Raises Failure, which begins with ``failing``, and
    ConfigError for what is no address.
    """
    ca_file = options.get("tls_ca") or (None if chosen is None else chosen.tls_ca)
    no_noise = bool(options.get("no_noise")) or chosen is not None and chosen.no_noise
    host, port, tls = _target(address, ca_file)
    shown = _Shown(given) if given else _token(options, place, chosen)
    if not shown.issued and host not in _LOOPBACK and tls is None:
        raise Failure(failing, "a token that is not recorded is not sent to another machine")
    dial = _Dial(host, port, shown.token, tenant, no_noise, tls, timeout_s)
    send = True if options.get("send_token") or not shown.issued else None
    try:
        return dial(send, place), shown.token
    except IoError as error:
        raise Failure(
            failing,
            f"failed to connect to CLI proxy at {address}",
            error.detail,
            hint="see `dbx status`; after `dbx stop` commands work on the store directly",
            code=UNREACHABLE,
        ) from None
    except EventDBXError as error:
        code = "invalid_token" if "token" in error.detail else error.code
        raise Failure(failing, error.detail, code=code) from None


class _Dial(NamedTuple):
    """Everything that a connection needs but the way to show the token."""

    host: str
    port: int
    token: str
    tenant: str | None
    no_noise: bool
    tls: SSLContext | None
    timeout_s: float = TIMEOUT_S

    def __call__(self, send_token: bool | None, place: Opened) -> BlockingClient:
        """Return a session; a token that the ledger has without its proof gets that first."""
        from eventdbx.wire.codec_hello import UNKNOWN_ID

        try:
            return self._open(send_token)
        except ConfigError as error:
            if UNKNOWN_ID not in error.detail or not _recognised(place, self.token):
                raise
        return self._open(send_token)

    def _open(self, send_token: bool | None) -> BlockingClient:
        from eventdbx.surfaces.control.blocking import BlockingClient

        return BlockingClient(
            self.host,
            self.port,
            self.token,
            tenant=self.tenant,
            no_noise=self.no_noise,
            send_token=send_token,
            tls=self.tls,
            timeout_s=self.timeout_s,
        )


def _recognised(place: Opened, token: str) -> bool:
    """Add the proof of a token to the ledger of this installation, if an older program recorded
    it without; whoever may write the ledger needs not send the token for that."""
    from eventdbx.services.keyring import token_terms

    try:
        with place.workspace.token_files(lambda _line: None).change() as ledger:
            return ledger.recognise(token_terms(place.config), token)
    except EventDBXError:
        return False


def _target(address: str, ca_file: str | None) -> tuple[str, int, SSLContext | None]:
    tls = None
    text = address
    if address.startswith(_TLS):
        text = address.removeprefix(_TLS)
        tls = _context(ca_file)
    elif ca_file:
        raise ConfigError("--tls-ca is for an address that begins with tls://")
    try:
        host, port = split_address(text)
    except ValueError:
        raise ConfigError(f"'{address}' is no address to connect to") from None
    return _ANYWHERE.get(host, host), port, tls


def _context(ca_file: str | None) -> SSLContext:
    """Return what checks the server's certificate, by our own file or by the system's."""
    import ssl

    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"cannot use the certificates in {ca_file}: {reason}") from None


def token_of_environment() -> str | None:
    """Return the token in EVENTDBX_TOKEN, or in the file that EVENTDBX_TOKEN_FILE names."""
    text = os.environ.get("EVENTDBX_TOKEN", "").strip()
    name = os.environ.get("EVENTDBX_TOKEN_FILE", "").strip()
    if text or not name:
        return text or None
    found = (read_text(Path(name)) or "").strip()
    if not found:
        raise ConfigError(f"EVENTDBX_TOKEN_FILE names {name}, which has no token")
    return found


def token_of_line(options: Mapping[str, Any], token: str | None) -> str | None:
    """Return the token that the command line gives: itself, in a file, or on stdin."""
    given = (token or "").strip() or None
    ways = [given, options.get("token_file"), options.get("token_stdin") or None]
    if len([one for one in ways if one is not None]) > 1:
        raise UsageFailure("only one of --token, --token-file and --token-stdin can be given")
    if given:
        warn_of_visible("--token-file or --token-stdin")
        return given
    if options.get("token_file") is not None:
        return token_in(Path(options["token_file"]))
    return options.get("token_stdin")


def token_of_stdin() -> str:
    """Return the token in the first line of stdin, which is read once. Raises Failure."""
    if not _OF_STDIN:
        line = sys.stdin.readline().strip()
        if not line:
            raise Failure("there is no token on stdin")
        _OF_STDIN.append(line)
    return _OF_STDIN[0]


def _token(options: Mapping[str, Any], place: Opened, chosen: ServerContext | None) -> _Shown:
    """Return the token for the server: that of the command line, of the named server, of the
    environment, else the operator's own."""
    text = token_of_line(options, None)
    if text is None and chosen is not None:
        text = ContextFile(os.environ).token_of(chosen)
    if text is None:
        text = token_of_environment()
    if text is not None:
        return _Shown(text)
    try:
        return _Shown(ensure_cli_token(place))
    except IoError as error:
        note(
            f"warning: {error.detail}; sending a token for {FALLBACK_TTL_S} seconds, "
            "which is recorded nowhere"
        )
        return _Shown(_fresh_token(place), issued=False)


def _fresh_token(place: Opened) -> str:
    import time
    import uuid

    from eventdbx.application.token_keys import signing_key
    from eventdbx.application.tokens import issue

    auth = place.config.auth
    user = os.environ.get("USER") or os.environ.get("USERNAME") or "local"
    return issue(
        signing_key(auth),
        issuer=auth.issuer,
        audience=auth.audience,
        jti=str(uuid.uuid4()),
        now_s=int(time.time()),
        ttl_s=FALLBACK_TTL_S,
        subject=f"cli:{user}",
        group="cli",
        user=user,
        actions=["*.*"],
        resources=["*"],
        issued_by="cli",
    )
