#!/usr/bin/env python3
"""Sends events to a web service in the service's own words, one request each.

The built-in ``http`` plugin sends events as they are. Begin here when the receiver wants another
document (a chat, a mailer, somebody's API): change :func:`message`.

    dbx plugin install relay 1.0.0 --source webhook_relay.py
    dbx plugin config process relay --ack --timeout 30 --give-up never --events order_paid \\
        --env RELAY_URL=https://chat.example.org/hooks/4711 --env RELAY_TOKEN=secret

Requests are repeated until they are accepted, each with the same ``Idempotency-Key``, so a receiver
that keeps keys for a while acts once. An answer of 429 or 503 is obeyed, with its ``Retry-After``;
what the receiver calls wrong (other 4xx) is refused and ends up in ``dbx queue``.

    dbx events --json | RELAY_URL=http://127.0.0.1:8080/ ./webhook_relay.py --events -
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
from typing import Any
from urllib.parse import urlsplit

from eventdbx.plugin import Event, Unavailable, projection, run

TIMEOUT_S = 10.0
"""Well below the plugin's own ``--timeout``, so that the reason of a failure is told."""


def message(event: Event) -> dict[str, Any] | None:
    """Return what the receiver gets of an event, None for nothing."""
    if event.payload is None:
        return None
    fields = ", ".join(f"{name} = {value}" for name, value in event.payload.items())
    return {"text": f"{event.event_type} {event.aggregate_id} (version {event.version}): {fields}"}


class Receiver:
    """The web service, over one connection that is kept."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            sys.exit("RELAY_URL must be an http or https URL")
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=TIMEOUT_S, context=ssl.create_default_context()
            )
        else:
            self._connection = http.client.HTTPConnection(
                parts.hostname, parts.port, timeout=TIMEOUT_S
            )
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"Content-Type": "application/json", "User-Agent": "webhook-relay/1.0"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def send(self, document: dict[str, Any], key: str) -> None:
        """Send one document; raises Unavailable or ValueError unless it is accepted."""
        body = json.dumps(document).encode()
        try:
            answer = self._request(body, {**self._headers, "Idempotency-Key": key})
            said = answer.read(4096).decode("utf-8", "replace").strip()[:256]
            if answer.read(1):
                self._connection.close()  # Rather a new connection than to read all of it.
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unavailable(f"cannot reach the receiver: {error!r}") from error
        if 200 <= answer.status < 300:
            return
        reason = f"{answer.status} {answer.reason}: {said}"
        if answer.status in (408, 425, 429) or answer.status >= 500:
            asked = answer.headers.get("Retry-After", "")
            raise Unavailable(reason, retry_after_s=int(asked) if asked.isdecimal() else None)
        raise ValueError(reason)

    def _request(self, body: bytes, headers: dict[str, str]) -> http.client.HTTPResponse:
        kept = self._connection.sock is not None
        try:
            self._connection.request("POST", self._path, body, headers)
            return self._connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            if not kept:
                raise
            # The receiver has closed a connection that was idle; the key makes a repeat harmless.
            self._connection.close()
            self._connection.request("POST", self._path, body, headers)
            return self._connection.getresponse()


if "RELAY_URL" not in os.environ:
    sys.exit("set RELAY_URL (--env in dbx plugin config)")
receiver = Receiver(os.environ["RELAY_URL"], os.environ.get("RELAY_TOKEN"))
name = os.environ.get("EVENTDBX_PLUGIN_NAME", "relay")


@projection
def relay(event: Event) -> None:
    """Send one event on; it is confirmed when the receiver has accepted it."""
    document = message(event)
    if document is not None:
        receiver.send(document, f"{name}_{event.key}")


if __name__ == "__main__":
    run(relay)
