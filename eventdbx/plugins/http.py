"""Delivery over HTTP: one POST for each event or batch, signed if there are secrets.

Redirects are failures and proxies are not used: events go where the configuration says. What
becomes of an answer is decided here; connections are in :mod:`eventdbx.plugins.exchanges`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger
from twisted.web.http_headers import Headers
from zope.interface import implementer

from eventdbx._version import __version__
from eventdbx.domain.delivery import cloudevents
from eventdbx.domain.delivery.entries import HttpConfig, PluginEntry
from eventdbx.domain.delivery.envelopes import json_body
from eventdbx.domain.delivery.parts import Item, Parts, Purpose
from eventdbx.domain.delivery.webhooks import delivery_id, excerpt, retry_after_s, status_text
from eventdbx.errors import ConfigError, StorageError
from eventdbx.plugins.addresses import CONNECT_TIMEOUT_S, Dialer, Refused, Rules, explain
from eventdbx.plugins.attempts import Attempts, TooLate
from eventdbx.plugins.certificates import Certificates
from eventdbx.plugins.exchanges import Answer, AnswerTooLong, Connections, NoAnswer
from eventdbx.plugins.interfaces import DeliveryFailed, IDelivery
from eventdbx.plugins.signing import Key, Values, key_of
from eventdbx.plugins.surroundings import Surroundings
from eventdbx.plugins.targets import Url, check_header, url_of

TIMEOUT_S = 5.0
CHECK_TIMEOUT_S = 5.0
UNAVAILABLE = frozenset((429, 502, 503, 504))
"""Statuses by which a target says that it, not the event, is the reason."""

WITHOUT_HEAD = frozenset((405, 501))
"""A target that answers so does not know the method of the check, but it is there."""

_LOSSES = (ConnectionDone, ConnectionLost)

_log = Logger(namespace="eventdbx.plugin.http")


@implementer(IDelivery)
class HttpDelivery:
    """What one webhook gets."""

    def __init__(self, entry: PluginEntry, surroundings: Surroundings) -> None:
        config = entry.config
        assert isinstance(config, HttpConfig)
        self._config = config
        self._key, self._label = entry.key, entry.label
        self._batched = entry.batch is not None
        self._timeout_s = entry.timeout_s or TIMEOUT_S
        self._domain = surroundings.domain
        self._reactor = surroundings.reactor
        self._values = Values(surroundings.environ, surroundings.data_root)
        self._connections = Connections(self._reactor, kept=max(2, entry.concurrency))
        self._attempts = Attempts(self._reactor, self._as_failed)
        self._url: Url | None = None
        self._dialer: Dialer | None = None
        self._certificates: Certificates | None = None
        self._keys: dict[str, Key] = {}
        self._complained = False

    def encode(self, parts: Parts) -> bytes:
        """Return the body of an event, or its place in that of a batch."""
        if self._config.format != "cloudevents":
            return json_body(parts)
        if self._batched or self._config.structured:
            return cloudevents.structured(parts)
        return cloudevents.data(parts)

    def deliver(self, items: Sequence[Item], *, attempt: int, purpose: Purpose) -> Deferred[None]:
        """Post events; see the interface."""
        return self._attempts.run(self._post(items, attempt, purpose), self._timeout_s)

    def check(self) -> Deferred[None]:
        """Ask with HEAD whether the target is there."""
        return self._attempts.run(self._head(), min(self._timeout_s, CHECK_TIMEOUT_S))

    def close(self) -> Deferred[None]:
        """Close all connections; those that do not end in time are cut."""
        self._attempts.stop()
        return self._connections.close()

    # Requests

    async def _post(self, items: Sequence[Item], attempt: int, purpose: Purpose) -> None:
        url = self._target()
        if self._batched:
            body = [b"[", b",".join([item.content for item in items]), b"]"]
        else:
            body = [items[0].content]
        headers = self._headers(url, self._about(items, attempt, purpose, body))
        code = 0

        def on_code(known: int) -> None:
            nonlocal code
            code = known

        try:
            answer = await self._connections.exchange(
                self._endpoint(url), b"POST", url.raw, headers, body, on_code=on_code
            )
        except CancelledError:
            if 200 <= code < 300:
                self._complain("does not end within the time limit")
                return
            raise
        if 200 <= code < 300:
            if answer.cut:
                self._complain("is too long and was not read to its end")
            return
        raise self._refusal(answer)

    async def _head(self) -> None:
        url = self._target()
        # Some servers send a body with HEAD, too; nothing else must travel behind it.
        answer = await self._connections.exchange(
            self._endpoint(url),
            b"HEAD",
            url.raw,
            self._headers(url, {}),
            on_code=lambda _: None,
            kept=False,
        )
        if not 200 <= answer.code < 300 and answer.code not in WITHOUT_HEAD:
            status = status_text(answer.code)
            raise DeliveryFailed(
                f"{StorageError.prefix}http plugin readiness check failed ({status})",
                unavailable=answer.code in UNAVAILABLE,
            )

    def _target(self) -> Url:
        """Return the URL; raises ConfigError for what cannot be used."""
        if self._url is not None:
            return self._url
        config, url = self._config, url_of(self._config)
        self._dialer = Dialer(
            self._reactor,
            url.host,
            url.port,
            Rules(config.allow_private, config.allow_link_local),
            timeout_s=min(self._timeout_s, CONNECT_TIMEOUT_S),
        )
        if url.scheme == "https":
            self._certificates = Certificates(
                url.host,
                ca_file=config.ca_file,
                client_cert=config.client_cert,
                client_key=config.client_key,
            )
        self._url = url
        return url

    def _endpoint(self, url: Url) -> IStreamClientEndpoint:
        assert self._dialer is not None
        if self._certificates is None:
            return self._dialer
        secured: IStreamClientEndpoint = wrapClientTLS(self._certificates.options(), self._dialer)
        return secured

    # Headers

    def _about(
        self, items: Sequence[Item], attempt: int, purpose: Purpose, body: list[bytes]
    ) -> dict[str, str]:
        """Return the headers that say what is in a delivery, and the signature of it."""
        first = items[0].parts
        event_ids = [item.parts.event_id for item in items]
        id_ = delivery_id(self._key, self._domain, event_ids, batched=self._batched)
        timestamp = int(self._reactor.seconds())
        found = {
            "content-type": "application/json",
            "webhook-id": id_,
            "idempotency-key": id_,
            "webhook-timestamp": str(timestamp),
            "eventdbx-domain": self._domain,
            "eventdbx-attempt": str(attempt),
            "eventdbx-position": items[-1].parts.position,
        }
        if self._config.secrets:
            keys = [self._signing_key(secret) for secret in self._config.secrets]
            signatures = [key.sign(id_, timestamp, body) for key in keys]
            found["webhook-signature"] = " ".join(signatures)
        if purpose != "live":
            found[f"eventdbx-{purpose}"] = "true"
        if self._config.format == "cloudevents":
            if self._batched:
                found["content-type"] = cloudevents.BATCH
            elif self._config.structured:
                found["content-type"] = cloudevents.STRUCTURED
            else:
                found |= cloudevents.headers(first)
        return found

    def _headers(self, url: Url, about: dict[str, str]) -> Headers:
        """Return all headers of a request; configured ones win."""
        found = {"accept": "*/*", "user-agent": f"eventdbx/{__version__.public()}", **about}
        if url.authorization is not None:
            found["authorization"] = url.authorization
        for name, value in self._config.headers.items():
            resolved = self._values.resolve(value, f"header '{name}'")
            check_header(name, resolved)
            found[name.lower()] = resolved
        return Headers({name: [value] for name, value in found.items()})

    def _signing_key(self, secret: str) -> Key:
        resolved = self._values.resolve(secret, "webhook secret")
        if resolved not in self._keys:
            # Of secrets that were changed meanwhile, none is kept.
            if len(self._keys) >= len(self._config.secrets):
                self._keys.clear()
            self._keys[resolved] = key_of(resolved)
        return self._keys[resolved]

    # What went wrong

    def _refusal(self, answer: Answer) -> DeliveryFailed:
        text = f"http plugin request failed ({status_text(answer.code)})"
        location = answer.headers.getRawHeaders("location")
        if 300 <= answer.code < 400 and location:
            text += f": moved to {excerpt(location[0].encode())}, and redirects are not followed"
        elif said := excerpt(answer.body):
            text += f": {said}"
        patience = answer.headers.getRawHeaders("retry-after")
        return DeliveryFailed(
            StorageError.prefix + text,
            unavailable=answer.code in UNAVAILABLE,
            retry_after_s=retry_after_s(patience[0] if patience else None, self._reactor.seconds()),
            gone=answer.code == 410,
        )

    def _complain(self, what: str) -> None:
        """Say once that an accepted delivery was answered in a way that costs connections."""
        if not self._complained:
            self._complained = True
            _log.warn("{label}: the answer {what}", label=self._label, what=what)

    def _as_failed(self, error: BaseException | None) -> DeliveryFailed:
        if isinstance(error, DeliveryFailed):
            return error
        if isinstance(error, ConfigError):
            # It is the plugin's fault, not the event's.
            return DeliveryFailed(str(error), unavailable=True)
        if isinstance(error, Refused):
            return DeliveryFailed(ConfigError.prefix + explain(error), unavailable=True)
        shown = self._url.shown if self._url is not None else self._config.endpoint
        text = f"{StorageError.prefix}error sending request for url ({shown})"
        if not isinstance(error, ConnectionRefusedError):
            # Earlier versions said no more than this of a target that is not there.
            text += f": {self._cause(error)}"
        return DeliveryFailed(text, unavailable=True)

    def _cause(self, error: BaseException | None) -> str:
        if isinstance(error, TooLate):
            return str(error)
        if error is None or isinstance(error, CancelledError):
            return "the delivery was stopped"
        if isinstance(error, AnswerTooLong):
            return "the headers of the answer are too long"
        if isinstance(error, NoAnswer):
            return _unanswered(error.__cause__)
        return explain(error)


def _unanswered(cause: Any) -> str:
    """Return in words why there was no answer on a connection that had been made."""
    if isinstance(cause, _LOSSES):
        return "the connection was closed before an answer"
    if type(cause).__module__.startswith(("OpenSSL", "service_identity")):
        return explain(cause)
    return "the answer is not HTTP"
