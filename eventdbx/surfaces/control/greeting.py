"""From a hello to whose session it opens, on which domain; what each refusal says.

The checks and their order are those of docs/protocol.md, "Hello".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from eventdbx.application.admission import Admission
from eventdbx.application.domains import Domain
from eventdbx.domain.grants import Grant
from eventdbx.errors import AttemptsExceeded, ConfigError, EventDBXError
from eventdbx.wire.codec_hello import UNKNOWN_ID
from eventdbx.wire.events import HelloReceived


class Greeted(NamedTuple):
    """A hello that is accepted; ``key`` is what a peer has to prove that sent no token."""

    grant: Grant
    domain: Domain
    key: bytes | None


def greeted(
    admission: Admission,
    open_domain: Callable[[str | None], Domain],
    hello: HelloReceived,
    address: str,
) -> Greeted:
    """Return what a hello from an address opens; raise with the message that rejects it."""
    if hello.protocol_version != 1:
        raise ConfigError(f"unsupported control protocol version {hello.protocol_version}")
    if hello.token_error is not None:
        raise ConfigError(hello.token_error)
    if hello.token_id_error is not None:
        raise ConfigError(hello.token_id_error)
    grant, key = _admitted(admission, hello, address)
    if hello.tenant_error is not None:
        raise ConfigError(hello.tenant_error)
    tenant = (hello.tenant or "").strip() or None
    # The token first: whoever may not use a tenant need not learn whether it exists.
    if tenant is not None:
        _require_tenant(grant, tenant)
    try:
        domain = open_domain(tenant)
    except EventDBXError as error:
        raise ConfigError(f"failed to initialise tenant '{tenant}': {error}") from None
    _require_tenant(grant, domain.name)
    return Greeted(grant, domain, key)


def _admitted(
    admission: Admission, hello: HelloReceived, address: str
) -> tuple[Grant, bytes | None]:
    token = (hello.token or "").strip()
    token_id = (hello.token_id or "").strip()
    if not token and not token_id:
        raise ConfigError("missing control token")
    try:
        if token:
            return admission.verify(token, address), None
        issued = admission.issued(token_id, address)
        return issued.grant, issued.digest
    except AttemptsExceeded:
        raise
    except EventDBXError as error:
        told = UNKNOWN_ID if error.detail == UNKNOWN_ID else "invalid control token"
        raise ConfigError(told) from None


def _require_tenant(grant: Grant, name: str) -> None:
    if not grant.allows_tenant(name):
        raise ConfigError(f"token does not grant access to tenant '{name}'")
