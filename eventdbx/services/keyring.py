"""The signing keys of an installation: which are in force, how they are shown and rotated.

They are in the configuration file, or in the environment. Other processes rotate them beside a
running server, so whoever signs or verifies looks at the file again (:class:`KeyWatch`).
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from eventdbx.application.ledger import Ledger, Terms
from eventdbx.application.token_keys import PublicKey, SigningKey, signing_key, verification_keys
from eventdbx.config import Auth, Config, PreviousKey, parse_config, updated_text
from eventdbx.domain.timestamps import NS_PER_S, format_ns, parse_ns
from eventdbx.errors import ConfigError, EventDBXError
from eventdbx.services.files import locked_directory, read_text, replace_text, sweep_leftovers
from eventdbx.services.workspace import Workspace

KEY_VARIABLES = ("EVENTDBX_AUTH_PRIVATE_KEY", "EVENTDBX_AUTH_PUBLIC_KEY")
LOOK_S = 0.01
"""How often at most the file is looked at for a signature that does not verify: a token of a new
key counts nearly at once, and a flood of wrong ones costs nothing."""


def token_terms(config: Config) -> Terms:
    """Return what signs tokens here, and which are accepted. Raises ConfigError."""
    auth = config.auth
    accepted = tuple(verification_keys(config))
    return Terms(signing_key(auth), auth.issuer, auth.audience, accepted, auth.clock_skew_secs)


def with_present_keys(config: Config, workspace: Workspace) -> Config:
    """Return the configuration with the keys that the file has now; those of the environment stay.

    Raises ConfigError, SerializationError or IoError while the file is not in order.
    """
    if _from_environment(workspace):
        return config
    found = _read(workspace).auth
    auth = replace(
        config.auth,
        private_key=found.private_key,
        public_key=found.public_key,
        key_id=found.key_id,
        previous_keys=found.previous_keys,
    )
    return replace(config, auth=auth)


def _from_environment(workspace: Workspace) -> bool:
    return any(workspace.environ.get(name, "").strip() for name in KEY_VARIABLES)


def _read(workspace: Workspace) -> Config:
    path = workspace.config_path
    return parse_config(read_text(path) or "", origin=str(path), environ=workspace.environ)


class KeyWatch:
    """The keys that verify, as the configuration file has them; it is read again when it has
    changed.

    Which keys are in force is asked, not remembered: a reload that has read the file just before
    a rotation may put the earlier ones into force after the later ones. ``clock`` gives monotonic
    seconds.
    """

    def __init__(
        self,
        workspace: Workspace,
        config: Callable[[], Config],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace = workspace
        self._config = config
        self._clock = clock
        self._look_again_at = float("-inf")
        self._identity = self._identify()
        self._found: list[PublicKey] | None = None

    def __call__(self, present: Sequence[PublicKey]) -> Sequence[PublicKey] | None:
        """Return the keys of now, None if they are the present ones or were asked for just
        before."""
        if _from_environment(self._workspace):
            return None
        now = self._clock()
        if now < self._look_again_at:
            return None
        self._look_again_at = now + LOOK_S
        identity = self._identify()
        if identity != self._identity:
            try:
                found = verification_keys(with_present_keys(self._config(), self._workspace))
            except EventDBXError:
                return None  # It stays what it was until the file is in order again.
            self._identity, self._found = identity, found
        return None if self._found == list(present) else self._found

    def _identify(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._workspace.config_path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def rotate(workspace: Workspace, ledger: Ledger, *, overlap_s: int | None, now_ns: int) -> Config:
    """Put a new pair into the configuration file; return what is in there now.

    The caller holds the lock on the data directory. The old key verifies for ``overlap_s`` more
    seconds; None for as long as any token of the ledger, and at least for the usual lifetime of
    one, since some are recorded nowhere. Raises ConfigError for keys of the environment.
    """
    if _from_environment(workspace):
        raise ConfigError("the signing key is in the environment; it has to be changed there")
    path = workspace.config_path
    with _locked_beside_data(workspace):
        text = read_text(path) or ""
        auth = _read(workspace).auth
        old = signing_key(auth)
        key_ids = {old.key_id, *(one.key_id for one in auth.previous_keys)}
        fresh = SigningKey(os.urandom(32), _new_key_id(now_ns, key_ids))
        ends = (
            _last_end(ledger, now_ns, auth) if overlap_s is None else now_ns + overlap_s * NS_PER_S
        )
        retired = PreviousKey(
            key_id=old.key_id,
            public_key=old.public_text,
            not_after=None if ends is None else format_ns(ends),
        )
        kept = [one for one in auth.previous_keys if _verifies_at(one, now_ns)]
        changes = {
            "auth.private_key": fresh.private_text,
            "auth.public_key": fresh.public_text,
            "auth.key_id": fresh.key_id,
            "auth.previous_keys": tuple(_table(one) for one in [*kept, retired]),
            "updated_at": format_ns(now_ns),
        }
        changed = updated_text(text, changes)
        checked = parse_config(changed, origin=str(path), environ=workspace.environ)
        verification_keys(checked)
        sweep_leftovers(path)
        replace_text(path, changed)
        return checked


@contextmanager
def _locked_beside_data(workspace: Workspace) -> Iterator[None]:
    """Hold the folder of the configuration, unless it is the one that is held already."""
    folder = workspace.config_path.parent
    if os.path.samefile(folder, workspace.data_dir):
        yield
        return
    with locked_directory(folder):
        yield


def _new_key_id(now_ns: int, taken: set[str | None]) -> str:
    plain = time.strftime("key-%Y%m%d%H%M%S", time.gmtime(now_ns // NS_PER_S))
    key_id, number = plain, 2
    while key_id in taken:
        key_id, number = f"{plain}-{number}", number + 1
    return key_id


def _last_end(ledger: Ledger, now_ns: int, auth: Auth) -> int | None:
    """Return when the last token ends that counts now, None if one never does."""
    last = now_ns + auth.default_ttl_secs * NS_PER_S
    for record in ledger.records:
        if ledger.counts(record, now_ns):
            if record.expires_at is None:
                return None
            last = max(last, record.expires_at)
    return last


def _verifies_at(key: PreviousKey, now_ns: int) -> bool:
    return key.not_after is None or parse_ns(key.not_after) > now_ns


def _table(key: PreviousKey) -> dict[str, str]:
    members = {"key_id": key.key_id, "public_key": key.public_key, "not_after": key.not_after}
    return {name: value for name, value in members.items() if value is not None}


def key_documents(config: Config) -> dict[str, Any]:
    """Return the key that signs and those that verify still, as JSON shows them."""
    auth = config.auth
    return {
        "key_id": auth.key_id,
        "public_key": signing_key(auth).public_text,
        "previous": [
            {"key_id": one.key_id, "not_after": one.not_after} for one in auth.previous_keys
        ],
    }


def jwk_set(config: Config, now_s: int) -> dict[str, Any]:
    """Return the keys that verify at a time as a JWK set (RFC 7517, RFC 8037)."""
    keys = [
        key for key in verification_keys(config) if key.not_after is None or key.not_after >= now_s
    ]
    return {"keys": [_jwk(key) for key in keys]}


def _jwk(key: PublicKey) -> dict[str, str]:
    encoded = base64.urlsafe_b64encode(key.public).rstrip(b"=").decode()
    members = {"kty": "OKP", "crv": "Ed25519", "x": encoded, "use": "sig", "alg": "EdDSA"}
    return members if key.key_id is None else {**members, "kid": key.key_id}
