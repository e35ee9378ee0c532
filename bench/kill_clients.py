"""The clients of the kill harness: what they send, and what they were told about it.

Every event carries a tag that no other event has, so that each can be found again.
"""

from __future__ import annotations

import random
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from bench import loading
from bench.daemon import Daemon
from eventdbx.client import BlockingClient, Write
from eventdbx.errors import EventDBXError, IoError
from eventdbx.wire import requests as rq
from eventdbx.wire.client_connection import AnswerReceived, BadServer, ClientConnection, Established

SHARED = 6
"""Aggregates that all clients write to."""

PIPELINED = 12
EVENT_TYPE = "changed"
GONE = (IoError, OSError)

Retry = Callable[[BlockingClient], Any]


@dataclass
class Sent:
    """One event that a client has sent, with the answer when there was one."""

    tag: str
    aggregate_id: str
    stored_payload: dict[str, Any]
    extensions: dict[str, Any] | None = None
    group: str | None = None
    answer: dict[str, Any] | None = None
    retry: Retry | None = None
    index: int = 0
    """Place in the answer of a batch."""

    @property
    def cycle(self) -> str:
        """The cycle that it was sent in."""
        return self.tag.split("w")[0]

    def settle(self, answer: Any) -> None:
        """Take note of an answer: an event, an aggregate, or the events of a batch."""
        found = answer[self.index] if isinstance(answer, list) else answer
        self.answer = found

    def different(self, event: dict[str, Any]) -> str | None:
        """Return how the stored event differs from what was acknowledged, None if it does not."""
        assert self.answer is not None
        if "event_id" in self.answer or "metadata" in self.answer:
            return None if self.answer == event else f"{self.answer} is now {event}"
        # A creation is answered with the aggregate.
        same = self.answer["version"] == event["version"] == 1
        same = same and self.answer["merkle_root"] == event["metadata"].get(
            "merkle_root", event.get("merkle_root")
        )
        return None if same else f"{self.answer} is now {event}"


class _Client:
    """What both kinds have: choices, tags, and the list of what was sent."""

    def __init__(self, *, seed: int, era: str, name: str) -> None:
        self._random = random.Random(seed)
        self._era = era
        self._name = name
        self._number = 0
        self.sent: list[Sent] = []
        self.refused = 0
        self.fault: Exception | None = None

    def run(self, daemon: Daemon, stop: threading.Event) -> None:
        """Write until the daemon is gone."""
        try:
            self.write_until_gone(daemon, stop)
        except GONE:
            return
        except Exception as error:
            self.fault = error

    def write_until_gone(self, daemon: Daemon, stop: threading.Event) -> None:
        """Write; an IoError or OSError tells that the daemon is gone."""
        raise NotImplementedError

    def tag(self) -> str:
        """Return a new tag."""
        self._number += 1
        return f"{self._name}n{self._number}"

    def body(self, tag: str) -> dict[str, Any]:
        """Return a payload; some are large."""
        size = self._random.choice((8, 40, 200, 200, 3_000))
        return {"tag": tag, "number": self._number, "text": "x" * size, "name": f"zoë {tag}"}

    def shared(self) -> str:
        """Return an aggregate that others write to as well."""
        return f"shared-{self._random.randrange(SHARED)}"

    def note(self, tag: str, name: str, body: dict[str, Any], **more: Any) -> Sent:
        """Remember an event before it is sent."""
        sent = Sent(tag, name, body, **more)
        self.sent.append(sent)
        return sent


class WaitingClient(_Client):
    """One call at a time, of every kind."""

    def write_until_gone(self, daemon: Daemon, stop: threading.Event) -> None:
        """Write; an IoError or OSError tells that the daemon is gone."""
        kinds = (self._append, self._append_with_key, self._create, self._patch, self._batch,
                 self._batch, self._expecting)  # fmt: skip
        self._own, self._own_version = f"own-{self._name}", 0
        with loading.connect(daemon) as client:
            while not stop.is_set():
                self._random.choice(kinds)(client)

    def _append(self, client: BlockingClient) -> None:
        tag, name = self.tag(), self.shared()
        body = self.body(tag)
        extensions = {"@by": tag}
        sent = self.note(tag, name, body, extensions=extensions)
        sent.settle(client.append(self._era, name, EVENT_TYPE, body, metadata=extensions))

    def _append_with_key(self, client: BlockingClient) -> None:
        tag, name = self.tag(), self.shared()
        body = self.body(tag)

        def write(client: BlockingClient) -> Any:
            return client.append(self._era, name, EVENT_TYPE, body, idempotency_key=f"key-{tag}")

        sent = self.note(tag, name, body, retry=write)
        sent.settle(write(client))
        if self._random.random() < 0.2:
            again = write(client)
            if again != sent.answer:
                raise AssertionError(f"{tag} was answered {sent.answer}, then {again}")

    def _create(self, client: BlockingClient) -> None:
        tag = self.tag()
        name, body = f"new-{tag}", self.body(tag)

        def write(client: BlockingClient) -> Any:
            return client.create(self._era, name, EVENT_TYPE, body, idempotency_key=f"key-{tag}")

        sent = self.note(tag, name, body, retry=write)
        sent.settle(write(client))

    def _patch(self, client: BlockingClient) -> None:
        if not self._own_version:
            self._expecting(client)
            return
        tag = self.tag()
        patch = [{"op": "replace", "path": "/tag", "value": tag}]
        # What a patch stores is the fields that it changes.
        sent = self.note(tag, self._own, {"tag": tag})
        sent.settle(client.patch(self._era, self._own, EVENT_TYPE, patch))
        self._own_version += 1

    def _expecting(self, client: BlockingClient) -> None:
        tag = self.tag()
        body = self.body(tag)
        sent = self.note(tag, self._own, body)
        expected = self._own_version
        answer = client.append(self._era, self._own, EVENT_TYPE, body, expected_version=expected)
        sent.settle(answer)
        self._own_version += 1
        if self._random.random() < 0.2:
            try:
                client.append(
                    self._era, self._own, EVENT_TYPE, {"tag": "late"}, expected_version=expected
                )
            except IoError:
                raise
            except EventDBXError:
                self.refused += 1
            else:
                raise AssertionError(f"version {expected} of {self._own} was written twice")

    def _batch(self, client: BlockingClient) -> None:
        group = self.tag()
        keyed = self._random.random() < 0.5
        writes: list[Write] = []
        batch: list[Sent] = []

        def write(client: BlockingClient) -> Any:
            key = f"key-{group}" if keyed else None
            return client.commit_batch(writes, idempotency_key=key, answer="events")

        for index in range(self._random.choice((2, 5, 40))):
            tag, name = self.tag(), self.shared()
            body = self.body(tag)
            writes.append(Write("append", self._era, name, EVENT_TYPE, orjson.dumps(body).decode()))
            retry = write if keyed else None
            batch.append(self.note(tag, name, body, group=group, retry=retry, index=index))
        answer = write(client)
        for sent in batch:
            sent.settle(answer)


class PipeliningClient(_Client):
    """Many appends on their way on one connection."""

    def write_until_gone(self, daemon: Daemon, stop: threading.Event) -> None:
        """Write; an IoError or OSError tells that the daemon is gone."""
        wire = ClientConnection(daemon.token)
        waiting: deque[Sent] = deque()
        with socket.create_connection((loading.HOST, daemon.port), 30.0) as stream:
            opened = False
            while not stop.is_set():
                if opened:
                    self._fill(wire, waiting, daemon.token)
                stream.sendall(wire.data_to_send())
                received = stream.recv(262_144)
                if not received:
                    return
                try:
                    events = wire.receive_data(received)
                except BadServer as error:
                    raise AssertionError(str(error)) from None
                for event in events:
                    opened = opened or isinstance(event, Established)
                    if isinstance(event, AnswerReceived):
                        waiting.popleft().settle(orjson.loads(event.reply.texts[0]))

    def _fill(self, wire: ClientConnection, waiting: deque[Sent], token: str) -> None:
        while len(waiting) < PIPELINED:
            tag, name = self.tag(), self.shared()
            body = self.body(tag)
            wire.send_request(
                rq.AppendEvent(token, self._era, name, EVENT_TYPE, orjson.dumps(body).decode())
            )
            waiting.append(self.note(tag, name, body))
