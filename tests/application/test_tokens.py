"""Tokens: known keys and signatures, the order of the checks, and the cache."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.application.token_keys import PublicKey, SigningKey, mark_of
from eventdbx.application.tokens import Verifier, issue
from eventdbx.domain.grants import Grant
from eventdbx.errors import ConfigError, EventDBXError, InvalidToken, TokenExpired, Unauthorized

SEED = bytes(range(32))
PRIVATE = (
    "MFECAQEwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    "gSEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
)
PUBLIC = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
SIGNATURE = "RpoR5UzVqx0oLr2lyA6ho8mN1jeBe67QEDnp28Rk3xpyVRXGiVmTbaaf_2fcCRseKdYqQjwSYvRsU1SEqIPBCA"
DIGEST = "4f3bdfa3feff058007fa71a51ac601569ac74e08c5a71e6fa638d217b2e8f203"
KEY = SigningKey(SEED, "key-20260102030405")
ISSUER, AUDIENCE = "eventdbx://self", "eventdbx-clients"
NOW = 1_767_322_800


def known_token() -> str:
    return issue(
        KEY,
        issuer=ISSUER,
        audience=AUDIENCE,
        jti="3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab",
        now_s=NOW,
        ttl_s=3600,
        group="ops",
        user="kim",
        actions=["aggregate.read"],
        resources=["aggregate:order:*"],
        issued_by="cli",
    )


def b64(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header: Any | None = None, key: SigningKey = KEY, **changes: Any) -> str:
    """Sign arbitrary claims; a change to None removes the claim."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "jti": "j", "iat": NOW} | changes
    text = {name: value for name, value in claims.items() if value is not None}
    signed = b64({"typ": "JWT", "alg": "EdDSA"} if header is None else header) + "." + b64(text)
    return signed + "." + b64(key.sign(signed.encode()))


class Keys(SynchronousTestCase):
    """The signing key in the encodings that are about."""

    def test_known_pair(self) -> None:
        """The pair of a known seed is written as older programs expect it."""
        self.assertEqual(KEY.private_text, PRIVATE)
        self.assertEqual(KEY.public_text, PUBLIC)

    def test_encodings(self) -> None:
        """Every encoding that a file may hold gives the same pair."""
        der = base64.b64decode(PRIVATE)
        older = b"\x30\x53" + der[2:48] + bytes.fromhex("a123032100") + der[-32:]
        openssl = Ed25519PrivateKey.from_private_bytes(SEED).private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
        )
        self.assertEqual((len(der), len(older), len(openssl)), (83, 85, 48))
        for encoded in (der, older, openssl, SEED):
            text = " " + base64.b64encode(encoded).decode() + "\n"
            self.assertEqual(SigningKey.read(text, PUBLIC).private_text, PRIVATE)
            self.assertEqual(SigningKey.read(text, " ").public_text, PUBLIC)

    def test_refused(self) -> None:
        """A key that is blank, damaged or belongs to another pair is refused with the reason."""
        der = base64.b64decode(PRIVATE)
        damaged = base64.b64encode(der[:-1] + b"\x00").decode()
        for private, public, reason in (
            (" ", None, "jwt private key must contain data"),
            ("?", None, "invalid jwt private key: "),
            ("AAAA", None, "invalid jwt private key: "),
            (damaged, None, "invalid jwt private key: InconsistentComponents"),
            (PRIVATE, "?", "invalid jwt public key: "),
            (PRIVATE, "AAAA", "jwt public key must decode to 32 bytes (got 3)"),
            (PRIVATE, base64.b64encode(SEED).decode(), "does not match private key"),
        ):
            error = self.assertRaises(ConfigError, SigningKey.read, private, public)
            self.assertIn(reason, str(error))


class Issuing(SynchronousTestCase):
    """New tokens."""

    def test_known_token(self) -> None:
        """A token is, byte for byte, the one that older programs write."""
        token = known_token()
        self.assertEqual(token.split(".")[2], SIGNATURE)
        self.assertEqual(hashlib.sha256(token.encode()).hexdigest(), DIGEST)

    def test_defaults(self) -> None:
        """Subject and resources have defaults; tenants are put in order."""
        token = issue(
            KEY,
            issuer=ISSUER,
            audience=AUDIENCE,
            jti="j",
            now_s=NOW,
            ttl_s=0,
            group="g",
            user="u",
            actions=["*.*"],
            tenants=[" Beta", "acme", "", "beta"],
        )
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        self.assertEqual((claims["sub"], claims["resources"]), ("g:u", ["*"]))
        self.assertEqual(claims["tenants"], ["acme", "beta"])
        self.assertNotIn("exp", claims)

    def test_refused(self) -> None:
        """A token without any action, or with a lifetime beyond reason, is not issued."""

        def attempt(ttl_s: int, actions: list[str]) -> str:
            return issue(
                KEY,
                issuer=ISSUER,
                audience=AUDIENCE,
                jti="j",
                now_s=NOW,
                ttl_s=ttl_s,
                group="g",
                user="u",
                actions=actions,
            )

        self.assertRaises(ConfigError, attempt, 60, [])
        self.assertRaises(ConfigError, attempt, 2**62, ["*"])
        self.assertRaises(ConfigError, attempt, -1, ["*"])


class Verifying(SynchronousTestCase):
    """From the text of a token to what it allows."""

    def setUp(self) -> None:
        self.now = float(NOW)
        self.revoked: set[str] = set()
        self.verifier = self.make()

    def make(self, *keys: PublicKey) -> Verifier:
        return Verifier(
            keys or [PublicKey(KEY.key_id, KEY.public)],
            ISSUER,
            AUDIENCE,
            30,
            lambda: self.now,
            self.revoked.__contains__,
        )

    def test_known_token(self) -> None:
        """All that a token says arrives in the grant."""
        self.assertEqual(
            self.verifier.verify(known_token()),
            Grant(
                jti="3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab",
                subject="ops:kim",
                group="ops",
                user="kim",
                actions=("aggregate.read",),
                resources=("aggregate:order:*",),
                issued_at=NOW,
                expires_at=NOW + 3600,
                issued_by="cli",
            ),
        )

    def test_foreign_token(self) -> None:
        """A token made elsewhere with our key may leave out what is optional and add its own."""
        grant = self.verifier.verify(forge({"alg": "EdDSA", "x": 1}, extra={"a": 1}, root=True))
        self.assertEqual(grant, Grant("j", "s", issued_at=NOW))
        limited = forge(limits={"write_events": 7, "keep_alive": True})
        self.assertEqual(self.verifier.verify(limited).write_limit, 7)

    def test_malformed(self) -> None:
        """Whatever is not exactly a token signed by us is an invalid token."""
        good = known_token()
        head, body, signature = good.split(".")
        other = SigningKey(bytes(32))
        for token in (
            "",
            "..",
            "EVT-0123456789abcdef0123456789abcdef",
            head + "." + body,
            good + ".",
            good + "=",
            good + "\n",
            good[:-1] + ("B" if good.endswith("A") else "C"),
            good[:-2] + "CB",  # The same bytes, other unused bits.
            f"{head}.{body}!.{signature}",
            f"{head}.\ud800.{signature}",
            forge(key=other),
            forge({"alg": "none"}),
            forge({"alg": "HS256"}),
            forge({"typ": "JWT"}),
            forge({"alg": "EdDSA", "kid": 3}),
            forge([]),
            forge(iat=float(NOW)),
            forge(exp=str(NOW)),
            forge(exp=True),
            forge(jti=None),
            forge(sub=None),
            forge(iat=None),
            forge(iss=None),
            forge(aud=[AUDIENCE]),
            forge(actions="*"),
            forge(actions=[1]),
            forge(group=1),
            forge(limits={"write_events": -1}),
            forge(limits=[]),
            forge(sub="x" * limits.TOKEN_CHARACTERS_MAX),
        ):
            self.assertRaises(InvalidToken, self.verifier.verify, token)

    def test_issuer_and_audience(self) -> None:
        """A token for another installation or audience is good for nothing here."""
        self.assertRaises(Unauthorized, self.verifier.verify, forge(iss="x"))
        self.assertRaises(Unauthorized, self.verifier.verify, forge(aud="x"))

    def test_times(self) -> None:
        """Expiry, not-before and issue time hold with the configured skew, and not beyond."""
        for late, fails in ((30, False), (31, True)):
            self.now = NOW + 3600 + late
            token = forge(exp=NOW + 3600)
            if fails:
                self.assertRaises(TokenExpired, self.verifier.verify, token)
            else:
                self.verifier.verify(token)
        for claim in ("nbf", "iat"):
            self.now = NOW
            for early in (30, 31):
                changes: dict[str, Any] = {claim: NOW + early}
                token = forge(**changes)
                if early > 30:
                    self.assertRaises(Unauthorized, self.verifier.verify, token)
                else:
                    self.verifier.verify(token)

    def test_order(self) -> None:
        """Of several reasons the first in the documented order is given."""
        self.revoked.add("j")
        self.now = NOW + 100
        self.assertRaises(Unauthorized, self.verifier.verify, forge(iss="x", exp=NOW))
        self.assertRaises(TokenExpired, self.verifier.verify, forge(exp=NOW, nbf=NOW + 900))
        self.assertRaises(Unauthorized, self.verifier.verify, forge(nbf=NOW + 900))
        self.assertRaises(InvalidToken, self.verifier.verify, forge())

    def test_revocation_and_expiry_of_known_tokens(self) -> None:
        """A token that was accepted before is refused as soon as it is revoked or expires."""
        token = known_token()
        self.verifier.verify(token)
        self.revoked.add("3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab")
        self.assertRaises(InvalidToken, self.verifier.verify, token)
        self.revoked.clear()
        self.verifier.verify(token)
        self.now = NOW + 3631
        self.assertRaises(TokenExpired, self.verifier.verify, token)
        self.now = NOW - 31
        self.assertRaises(Unauthorized, self.verifier.verify, token)

    def test_cache(self) -> None:
        """A token seen before gives the very same grant; the memory of tokens is bounded."""
        token = known_token()
        grant = self.verifier.verify(token)
        self.verifier.cache_entries = 2
        first = self.verifier.verify(forge(jti="1"))
        self.assertIs(self.verifier.verify(token), grant)
        self.verifier.verify(forge(jti="2"))
        self.assertIs(self.verifier.verify(token), grant)
        self.assertIsNot(self.verifier.verify(forge(jti="1")), first)

    def test_rotation(self) -> None:
        """After a rotation old tokens work until their key retires, found by name or by trying."""
        new = SigningKey(bytes(32), "new")
        verifier = self.make(
            PublicKey("new", new.public), PublicKey(KEY.key_id, KEY.public, NOW + 10)
        )
        old = known_token()
        for token in (old, forge(), forge({"alg": "EdDSA", "kid": "gone"}), forge(key=new)):
            verifier.verify(token)
        self.now = NOW + 11
        for token in (old, forge()):
            self.assertRaises(InvalidToken, verifier.verify, token)
        verifier.verify(forge(key=new))

    def test_newer_keys(self) -> None:
        """Keys are asked for when none fits, and replace the ones that were there."""
        new, asked = SigningKey(bytes(32), "new"), []
        offered: list[list[PublicKey] | None] = [None, [PublicKey("new", new.public)]]

        def newer(_present: object) -> list[PublicKey] | None:
            asked.append(1)
            return offered.pop(0) if offered else None

        old_key = PublicKey(KEY.key_id, KEY.public)
        verifier = Verifier(
            [old_key], ISSUER, AUDIENCE, 30, lambda: self.now, lambda _jti: False, newer
        )
        old = known_token()
        verifier.verify(old)
        self.assertEqual(len(asked), 0)
        self.assertRaises(InvalidToken, verifier.verify, forge(key=new))
        verifier.verify(forge(key=new))
        self.assertEqual(len(asked), 2)
        self.assertRaises(InvalidToken, verifier.verify, old)
        self.assertEqual(verifier.key_until(old_key.mark), 0)
        self.assertEqual(verifier.key_until(mark_of(new.public)), float("inf"))
        self.assertEqual(verifier.key_until(None), float("inf"))

    @given(
        st.text(max_size=80)
        | st.tuples(*[st.binary(max_size=30)] * 3).map(
            lambda parts: ".".join(b64(part) for part in parts)
        )
    )
    def test_any_text(self, token: str) -> None:
        """No text makes the verification fail in another way than with one of its errors."""
        verifier = Verifier(
            [PublicKey(None, KEY.public)], ISSUER, AUDIENCE, 30, lambda: NOW, lambda jti: False
        )
        self.assertRaises(EventDBXError, verifier.verify, token)
