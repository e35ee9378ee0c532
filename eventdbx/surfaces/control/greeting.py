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
    """A hello that is accepted; ``key`` is what a peer has to prove that sent no token.

    Nothing is opened for it yet: whoever only names a token must not make the server do that.
    """

    grant: Grant
    tenant: str | None
    key: bytes | None


def greeted(
    admission: Admission,
    name_of: Callable[[str | None], str],
    hello: HelloReceived,
    address: str,
) -> Greeted:
    """Return what a hello from an address may open; raise with the message that rejects it.

    ``name_of`` gives the name of a tenant's domain, which exists, without opening it.
    """
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
        name = name_of(tenant)
    except EventDBXError as error:
        raise _unusable(tenant, error) from None
    _require_tenant(grant, name)
    return Greeted(grant, tenant, key)


def opened(open_domain: Callable[[str | None], Domain], tenant: str | None) -> Domain:
    """Return the domain of a hello that is accepted; raise with the message that rejects it."""
    try:
        return open_domain(tenant)
    except EventDBXError as error:
        raise _unusable(tenant, error) from None


def _unusable(tenant: str | None, error: EventDBXError) -> ConfigError:
    return ConfigError(f"failed to initialise tenant '{tenant}': {error}")


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
