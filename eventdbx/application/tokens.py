"""Tokens: issuing, and verification with a cache.

What a verified token allows is in :mod:`eventdbx.domain.grants`. Which tokens were issued and
revoked is kept elsewhere; here revocation is one callable.
"""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from eventdbx import limits
from eventdbx.application.claims import grant_of, object_of
from eventdbx.application.token_keys import PublicKey, SigningKey
from eventdbx.domain.grants import Grant
from eventdbx.errors import ConfigError, InvalidToken, TokenExpired, Unauthorized

SKEW_S_MAX = 300
TTL_S_MAX = 100 * 365 * 24 * 3600
_NEVER = float("inf")


def issue(key: SigningKey, *, issuer: str, audience: str, **asked: Any) -> str:
    """Return a signed token; what it grants and what is raised is as with :func:`new_grant`."""
    return sign_grant(key, new_grant(**asked), issuer=issuer, audience=audience)


def new_grant(
    *,
    jti: str,
    now_s: int,
    ttl_s: int | None,
    group: str,
    user: str,
    actions: Sequence[str],
    resources: Sequence[str] = (),
    tenants: Sequence[str] = (),
    subject: str = "",
    issued_by: str = "",
    not_before: int | None = None,
    write_limit: int | None = None,
    keep_alive: bool = False,
) -> Grant:
    """Return the grant of a new token. ``ttl_s`` None or 0 never expires; ``jti`` is a UUID text.

    A blank subject becomes ``group:user``, no resources become all of them; tenants are trimmed,
    lower-cased, sorted and deduplicated. Raises ConfigError if no action is named or the lifetime
    is out of range.
    """
    if not actions:
        raise ConfigError("token actions must contain at least one entry")
    if ttl_s is not None:
        check_ttl(ttl_s)
    return Grant(
        jti=jti,
        subject=subject if subject.strip() else f"{group}:{user}",
        group=group,
        user=user,
        actions=tuple(actions),
        resources=tuple(resources) or ("*",),
        tenants=tuple(sorted({name.strip().lower() for name in tenants if name.strip()})),
        issued_at=now_s,
        expires_at=now_s + ttl_s if ttl_s else None,
        not_before=not_before,
        issued_by=issued_by,
        write_limit=write_limit,
        keep_alive=keep_alive,
    )


def check_ttl(ttl_s: int) -> None:
    """Raise ConfigError for a lifetime beyond a hundred years."""
    if not 0 <= ttl_s <= TTL_S_MAX:
        raise ConfigError("token ttl is out of range")


def sign_grant(key: SigningKey, grant: Grant, *, issuer: str, audience: str) -> str:
    """Return the compact token; members in the order that older programs write them.

    Raises ConfigError for one that would be too long to be accepted.
    """
    header: dict[str, str] = {"typ": "JWT", "alg": "EdDSA"}
    if key.key_id is not None:
        header["kid"] = key.key_id
    body: dict[str, Any] = {
        "iss": issuer,
        "aud": audience,
        "sub": grant.subject,
        "jti": grant.jti,
        "iat": grant.issued_at,
    }
    if grant.expires_at is not None:
        body["exp"] = grant.expires_at
    if grant.not_before is not None:
        body["nbf"] = grant.not_before
    body |= {
        "group": grant.group,
        "user": grant.user,
        "actions": grant.actions,
        "resources": grant.resources,
        "issued_by": grant.issued_by,
        "limits": {"write_events": grant.write_limit, "keep_alive": grant.keep_alive},
        "tenants": grant.tenants,
    }
    signed = _encode(orjson.dumps(header)) + b"." + _encode(orjson.dumps(body))
    token = (signed + b"." + _encode(key.sign(signed))).decode()
    if len(token) > limits.TOKEN_CHARACTERS_MAX:
        raise ConfigError(
            f"the token would be longer than {limits.TOKEN_CHARACTERS_MAX} characters: "
            "name fewer or shorter actions, resources and tenants"
        )
    return token


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


_BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


def _decode(text: str) -> bytes:
    # The standard decoder skips letters outside its alphabet and takes padding: two texts of one
    # token would then differ in the cache and in the key of the encrypted session.
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise InvalidToken
    decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(decoded) != text.encode():
        raise InvalidToken
    return decoded


class Verifier:
    """Turn tokens into grants.

    ``clock`` gives seconds since the Unix epoch; ``is_revoked`` is asked, with the ``jti``, on
    every verification and so has to be fast. Signatures are checked once per token: the grant of
    a token seen before comes from a cache of at most ``cache_entries``. ``newer_keys`` is asked
    when no key fits a signature: for the keys of now, or None if those that it is given are still
    the ones.
    """

    cache_entries = limits.TOKEN_CACHE_ENTRIES

    def __init__(
        self,
        keys: Sequence[PublicKey],
        issuer: str,
        audience: str,
        skew_s: int,
        clock: Callable[[], float],
        is_revoked: Callable[[str], bool],
        newer_keys: Callable[[Sequence[PublicKey]], Sequence[PublicKey] | None] = lambda _keys: (
            None
        ),
    ) -> None:
        self._clock = clock
        self._is_revoked = is_revoked
        self._newer_keys = newer_keys
        self._cache: OrderedDict[str, tuple[Grant, float, float]] = OrderedDict()
        self.take_up(keys, issuer, audience, skew_s)

    def take_up(self, keys: Sequence[PublicKey], issuer: str, audience: str, skew_s: int) -> None:
        """Judge by these terms from now on, tokens that were verified before as well."""
        self._keys = [(key, Ed25519PublicKey.from_public_bytes(key.public)) for key in keys]
        self._issuer = issuer
        self._audience = audience
        self._skew_s = min(max(skew_s, 0), SKEW_S_MAX)
        self._cache.clear()

    def look_for_keys(self) -> bool:
        """Take up the keys of now; tell whether they were others."""
        keys = self._newer_keys([key for key, _verifying in self._keys])
        if keys is not None:
            self.take_up(keys, self._issuer, self._audience, self._skew_s)
        return keys is not None

    def cached(self, token: str) -> Grant | None:
        """Return the grant of a token that was verified before and is still good, None else."""
        known = self._cache.get(token)
        if known is None:
            return None
        grant, earliest, latest = known
        if not earliest <= self._clock() <= latest or self._is_revoked(grant.jti):
            return None  # The long way round says why.
        self._cache.move_to_end(token)
        return grant

    def verify(self, token: str) -> Grant:
        """Return the grant; raise InvalidToken, Unauthorized or TokenExpired.

        The order is fixed: form and signature, issuer and audience, expiry, not before, issued
        at, revocation. Times are checked with the configured skew.
        """
        known = self.cached(token)
        if known is not None:
            return known
        grant, key = self.read(token)
        earliest, latest = self.check(grant, key.until)
        self._cache[token] = grant, earliest, latest
        if len(self._cache) > self.cache_entries:
            self._cache.popitem(last=False)
        return grant

    def check(self, grant: Grant, key_until: float = _NEVER) -> tuple[float, float]:
        """Return from when to when, in seconds, a grant counts that nobody doubts is ours.

        Raises as :meth:`verify` does, in its order, when it does not count now.
        """
        now, skew = self._clock(), self._skew_s
        if now > key_until:
            raise InvalidToken
        latest = _NEVER if grant.expires_at is None else float(grant.expires_at + skew)
        if now > latest:
            raise TokenExpired
        earliest = float(max(grant.issued_at, grant.not_before or grant.issued_at) - skew)
        if now < earliest:
            raise Unauthorized
        if self._is_revoked(grant.jti):
            raise InvalidToken
        return earliest, min(latest, key_until)

    def left_s(self, grant: Grant) -> float:
        """Return for how many seconds from now on a grant counts, ``inf`` for one without end."""
        return (
            _NEVER if grant.expires_at is None else grant.expires_at + self._skew_s - self._clock()
        )

    def key_until(self, mark: str | None) -> float:
        """Return until when the key of a mark is accepted: never, for one that is gone.

        Records of older programs have no mark; nobody doubts their tokens.
        """
        if mark is None:
            return _NEVER
        found = self._until(mark)
        if found is None and self.look_for_keys():
            found = self._until(mark)
        return 0.0 if found is None else found

    def _until(self, mark: str) -> float | None:
        return max((key.until for key, _verifying in self._keys if key.mark == mark), default=None)

    def read(self, token: str) -> tuple[Grant, PublicKey]:
        """Return what a token says if it was signed for us, and the key that has signed it.

        Whatever has become of either since is not looked at. Raises InvalidToken or Unauthorized.
        """
        parts = token.split(".")
        if len(parts) != 3 or len(token) > limits.TOKEN_CHARACTERS_MAX:
            raise InvalidToken
        header, body, signature = (_decode(part) for part in parts)
        members = object_of(header)
        kid = members.get("kid")
        if members.get("alg") != "EdDSA" or not isinstance(kid, str | None):
            raise InvalidToken
        signed = f"{parts[0]}.{parts[1]}".encode()
        key = self._signer(signed, signature, kid)
        if key is None and self.look_for_keys():
            key = self._signer(signed, signature, kid)
        if key is None:
            raise InvalidToken
        claims = object_of(body)
        grant = grant_of(claims)
        if claims["iss"] != self._issuer or claims["aud"] != self._audience:
            raise Unauthorized
        return grant, key

    def _signer(self, signed: bytes, signature: bytes, kid: str | None) -> PublicKey | None:
        """Return the key that signed, None if none of ours did.

        The key named by ``kid`` goes first. The others follow even so: older programs never
        checked the name, so a key that was renamed must not invalidate every token.
        """
        for key, verifying in sorted(self._keys, key=lambda pair: pair[0].key_id != kid):
            try:
                verifying.verify(signature, signed)
            except InvalidSignature:
                continue
            return key
        return None
