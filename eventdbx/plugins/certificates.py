"""TLS towards plugins: whom we trust, and the certificate that we show.

The other side is always verified, by name or address. Files are read again when they change, so
renewed certificates need no restart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)

from eventdbx.errors import ConfigError

_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


class Certificates:
    """What one plugin's connections are verified with.

    ``ca_file`` takes the place of the authorities that the system trusts. ``client_key`` may be
    left out when ``client_cert`` holds the key, too; certificates behind the first are sent along.
    """

    def __init__(
        self,
        host: str,
        *,
        ca_file: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
    ) -> None:
        self._host = host
        self._ca_file = ca_file
        self._cert = client_cert
        self._key = client_key or client_cert
        self._seen: tuple[Any, ...] | None = None
        self._options: Any = None

    def options(self) -> IOpenSSLClientConnectionCreator:
        """Return what a connection is made with; raises ConfigError for unusable files."""
        paths = [path for path in (self._ca_file, self._cert, self._key) if path]
        seen = tuple(_mark(path) for path in paths)
        if self._options is None or seen != self._seen:
            self._options = self._make()
            self._seen = seen
        options: IOpenSSLClientConnectionCreator = self._options
        return options

    def _make(self) -> Any:
        trust, shown, extra = None, None, {}
        if self._ca_file:
            trust = trustRootFromCertificates(_certificates(self._ca_file))
        if self._cert and self._key:
            first, *chain = _certificates(self._cert)
            pem = first.dumpPEM() + b"\n" + _read(self._key)
            try:
                shown = PrivateCertificate.loadPEM(pem)
            except Exception as error:  # pyOpenSSL and cryptography raise different ones
                raise ConfigError(f"no usable key in {self._key}") from error
            extra = {"extraCertChain": [one.original for one in chain]}
        try:
            return optionsForClientTLS(
                self._host, trustRoot=trust, clientCertificate=shown, extraCertificateOptions=extra
            )
        except Exception as error:
            raise ConfigError(f"certificates cannot be used: {error}") from error


def _read(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _mark(path: str) -> tuple[int, int]:
    try:
        status = Path(path).expanduser().stat()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return status.st_mtime_ns, status.st_size


def _certificates(path: str) -> list[Certificate]:
    """Return the certificates of a PEM file; there is at least one."""
    found = []
    for piece in _read(path).split(_BEGIN)[1:]:
        pem = _BEGIN + piece.split(_END)[0] + _END + b"\n"
        try:
            found.append(Certificate.loadPEM(pem))
        except Exception as error:  # pyOpenSSL raises a list of texts
            raise ConfigError(f"{path} holds a certificate that cannot be read") from error
    if not found:
        raise ConfigError(f"{path} holds no certificate")
    return found
