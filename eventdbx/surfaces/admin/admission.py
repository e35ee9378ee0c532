"""Who may call: the token of a request, the rights of a route, and how often one may try."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from twisted.internet.address import UNIXAddress

from eventdbx.application.admission import Admission
from eventdbx.domain.grants import ROOT_ACTION, ROOT_RESOURCE, Grant, covers
from eventdbx.errors import AttemptsExceeded, EventDBXError
from eventdbx.surfaces.admin.problems import unauthorized
from eventdbx.surfaces.admin.rates import Buckets, Rate
from eventdbx.surfaces.admin.table import Problem

RATE_LIMITED = "rate_limited"
_PEER_CREDENTIALS = struct.Struct("3i")


class Peer(NamedTuple):
    """Where a request comes from; ``grant`` if that alone gives rights."""

    address: str
    grant: Grant | None


class Admitted(NamedTuple):
    """Whose request it is; ``token`` is empty for one that comes from the operator's account."""

    grant: Grant
    token: str
    rate: Rate


def peer_of(request: Any) -> Peer:
    """Return the peer of a request. On a Unix socket the account at the other end counts: the
    server's own, or root, may do everything."""
    address = request.getClientAddress()
    if not isinstance(address, UNIXAddress):
        return Peer(str(getattr(address, "host", "unknown")), None)
    handle = request.channel.transport.getHandle()
    size = _PEER_CREDENTIALS.size
    _pid, uid, _gid = _PEER_CREDENTIALS.unpack(
        handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    if uid not in (0, os.getuid()):
        return Peer("unix", None)
    subject = f"unix:{uid}"
    return Peer(
        "unix",
        Grant(
            jti=subject,
            subject=subject,
            group="unix",
            user=str(uid),
            actions=(ROOT_ACTION,),
            resources=(ROOT_RESOURCE,),
        ),
    )


def token_in(headers: Mapping[str, str]) -> str:
    """Return the token of a request, "" if there is none. ``X-Admin-Key`` wins, even a bad one."""
    key = headers.get("x-admin-key", "").strip()
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def may_call(grant: Grant, action: str) -> bool:
    """Tell whether a grant covers a route: the root pair, or its action everywhere.

    The right to read aggregates may be limited to some; which ones, their handlers check.
    """
    # Covered, not matched: to a pattern with a question mark a star is but a letter.
    everywhere = not grant.resources or covers(grant.resources, ROOT_RESOURCE)
    if everywhere and covers(grant.actions, ROOT_ACTION):
        return True
    return grant.allows(action) and (everywhere or action.startswith("aggregate."))


def _too_often(error: AttemptsExceeded) -> Problem:
    headers = {"Retry-After": str(error.retry_after_s)}
    return Problem(429, str(error), "rate_limited", headers=headers)


class Door:
    """Lets requests in. ``admission`` judges the token that an address shows; ``refused`` is told
    the reason for each that is not let in because of it."""

    def __init__(
        self,
        admission: Admission,
        buckets: Buckets,
        refused: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self._admission = admission
        self._buckets = buckets
        self._refused = refused

    def turns_away(self, token: str, address: str) -> Problem | None:
        """Return the answer to a token that is not even looked at, None for any other."""
        try:
            self._admission.check(token, address)
        except AttemptsExceeded as error:
            self._refused(RATE_LIMITED)
            return _too_often(error)
        except EventDBXError:
            return None  # Revocations that cannot be read, say: it is refused where all are.
        return None

    def stranger(self, peer: Peer) -> Rate:
        """Count a request without a token. Raises Problem 429."""
        return self._take(f"peer {peer.address}")

    def admit(self, peer: Peer, headers: Mapping[str, str]) -> Admitted:
        """Return whose request this is. Raises Problem 401 or 429.

        Requests with a good token count on that token, all others on their peer.
        """
        token = token_in(headers)
        if token:
            try:
                grant = self._admission.verify(token, peer.address)
            except AttemptsExceeded as error:
                self._refused(RATE_LIMITED)
                raise _too_often(error) from None
            except EventDBXError as error:
                self._refused(error.code)
                self.stranger(peer)
                raise unauthorized() from None
        elif peer.grant is not None:
            grant = peer.grant
        else:
            self._refused("missing")
            self.stranger(peer)
            raise unauthorized()
        return Admitted(grant, token, self._take(f"token {grant.jti}"))

    def _take(self, key: str) -> Rate:
        rate = self._buckets.take(key)
        if not rate.admitted:
            text = f"too many requests; try again in {max(rate.wait_s, 1)} s"
            raise Problem(429, text, "rate_limited", headers=rate.headers())
        return rate
