"""Delivery to a child process: messages on its standard input, answers on its standard output.

In acknowledged mode a delivery is accepted when its last event is confirmed; without, when it is
written and the child is alive. The child's life is in :mod:`eventdbx.plugins.supervision`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from eventdbx.domain.delivery.entries import PluginEntry
from eventdbx.domain.delivery.parts import Item, Parts, Purpose
from eventdbx.errors import ConfigError
from eventdbx.plugins.interfaces import DeliveryFailed, IDelivery
from eventdbx.plugins.launching import config_of
from eventdbx.plugins.supervision import Child
from eventdbx.plugins.surroundings import Surroundings
from eventdbx.wire.plugin_messages import (
    Ack,
    Answers,
    Refusal,
    encode_event,
    encode_init,
    numbered,
)
from eventdbx.wire.pointers import MalformedMessage

TIMEOUT_S = 5.0

SETTLED_S = 1.0
"""Without acks, what a child gets in its first second counts when it is still there after it:
a child that dies at once takes what stands in its pipe with it."""


class _Shipment:
    """One delivery on its way. ``first`` is the sequence of its first event, 0 while it waits."""

    __slots__ = ("items", "attempt", "purpose", "done", "timer", "first", "taken")

    def __init__(self, items: Sequence[Item], attempt: int, purpose: Purpose) -> None:
        self.items = items
        self.attempt = attempt
        self.purpose = purpose
        self.done: Deferred[None] = Deferred()
        self.timer: Any = None
        self.first = 0
        self.taken = 0

    @property
    def last(self) -> int:
        return self.first + len(self.items) - 1


@implementer(IDelivery)
class ProcessDelivery:
    """What one process plugin gets; owns its child."""

    def __init__(self, entry: PluginEntry, surroundings: Surroundings) -> None:
        self._config = config_of(entry)
        self._surroundings = surroundings
        self._timeout_s = entry.timeout_s or TIMEOUT_S
        self.child = Child(entry, surroundings, self)
        self._waiting: deque[_Shipment] = deque()
        self._sent: deque[_Shipment] = deque()
        self._unconfirmed = 0
        self._next = 1
        self._answers = Answers()
        self._drained_to = 0
        self._settling: Any = None

    @property
    def held(self) -> str | None:
        """Return why deliveries are pointless until an operator starts the child, or None."""
        held = self.child.held
        return None if held is None else f"its process {held}"

    def begin(self) -> None:
        """Start the child: plugins run with the server, whether or not events are meant for
        them."""
        self.child.ensure()

    def encode(self, parts: Parts) -> bytes:
        """Return the message of an event, its sequence still open."""
        return encode_event(parts)

    def deliver(self, items: Sequence[Item], *, attempt: int, purpose: Purpose) -> Deferred[None]:
        """Write events to the child, which is started if need be; see the interface."""
        shipment = _Shipment(items, attempt, purpose)
        reactor = self._surroundings.reactor
        shipment.timer = reactor.callLater(self._timeout_s, self._expired, shipment)
        self._waiting.append(shipment)
        if not self.child.up:
            self.child.ensure()
            self._give_up_waiting(self.child.reason)
        self._send()
        return shipment.done

    def check(self) -> Deferred[None]:
        """Succeed: whether a program works is seen when it runs."""
        return succeed(None)

    def close(self) -> Deferred[None]:
        """Stop the child, which may confirm what it has read until it is gone."""
        return self.child.close().addCallback(lambda _: self._fail_all("is being stopped"))

    # What goes to the child

    def _send(self) -> None:
        """Send what waits, as far as the window allows; a delivery alone always fits it."""
        while self._waiting and self.child.up:
            shipment = self._waiting[0]
            count = len(shipment.items)
            if self._config.ack and self._unconfirmed:
                if self._unconfirmed + count > self._config.max_in_flight:
                    return
            self._waiting.popleft()
            shipment.first = self._next
            self._next += count
            self._unconfirmed += count
            self._sent.append(shipment)
            self.child.write(
                numbered(
                    [item.content for item in shipment.items],
                    shipment.first,
                    purpose=shipment.purpose,
                    attempt=shipment.attempt,
                )
            )

    def _succeed(self, shipment: _Shipment) -> None:
        self._unconfirmed -= len(shipment.items)
        shipment.timer.cancel()
        shipment.done.callback(None)

    def _fail(self, shipment: _Shipment, failed: DeliveryFailed) -> None:
        if shipment.first:
            self._unconfirmed -= len(shipment.items)
        if shipment.timer.active():
            shipment.timer.cancel()
        shipment.done.errback(failed)

    def _expired(self, shipment: _Shipment) -> None:
        limit = f"{self._timeout_s:g} s"
        if shipment.first and self._config.ack:
            sequence = shipment.first + shipment.taken
            self.child.restart(f"did not confirm event {sequence} within {limit}")
        elif shipment.first:
            self.child.restart(f"did not read its standard input for {limit}")
        else:
            self._waiting.remove(shipment)
            reason = self.child.reason
            if self.child.up:
                reason = f"was busy for {limit}: {self._unconfirmed} events unconfirmed"
            self._fail(shipment, self._unavailable(reason))

    def _unavailable(self, reason: str, accepted: int = 0) -> DeliveryFailed:
        return DeliveryFailed(
            f"{ConfigError.prefix}plugin '{self.child.name}' {reason}",
            unavailable=True,
            accepted=accepted,
            retry_after_s=self.child.delay_s or None,
        )

    # What the child does

    def came_up(self) -> None:
        """Introduce ourselves, then send what has waited for the child."""
        self._next = 1
        self._drained_to = 0
        self._answers = Answers()
        config = self._config
        self.child.write(encode_init(config.name, config.version, self.child.target))
        self._send()

    def drained(self) -> None:
        """Without acks, what is written is accepted."""
        if self._config.ack or not self._sent:
            return
        self._drained_to = self._next - 1
        if self._settling is None:
            wait_s = min(SETTLED_S, self._timeout_s / 2) - self.child.age_s
            if wait_s <= 0:
                self._accept_drained()
            else:
                reactor = self._surroundings.reactor
                self._settling = reactor.callLater(wait_s, self._accept_drained)

    def _accept_drained(self) -> None:
        self._settling = None
        while self.child.up and self._sent and self._sent[0].last <= self._drained_to:
            self._succeed(self._sent.popleft())

    def answered(self, data: bytes) -> None:
        """Settle what acks and errors speak of."""
        try:
            answers = self._answers.feed(data)
        except MalformedMessage as error:
            shown = data[:40].decode("utf-8", "replace")
            self.child.restart(
                f"wrote {shown!r} to its standard output, which is no answer ({error}); with acks "
                "on, logs belong on standard error"
            )
            return
        for answer in answers:
            if answer.sequence >= self._next:
                self.child.restart(f"answered for event {answer.sequence}, which it did not get")
                return
            if type(answer) is Ack:
                self._confirmed(answer.sequence)
            elif type(answer) is Refusal:
                self._refused(answer)
        if answers:
            self._send()

    def _confirmed(self, sequence: int) -> None:
        sent = self._sent
        while sent and sent[0].last <= sequence:
            self.child.progressed()
            self._succeed(sent.popleft())
        if sent and sent[0].first + sent[0].taken <= sequence:
            self.child.progressed()
            sent[0].taken = sequence - sent[0].first + 1

    def _refused(self, refusal: Refusal) -> None:
        for shipment in self._sent:
            if shipment.first + shipment.taken <= refusal.sequence <= shipment.last:
                self._sent.remove(shipment)
                self.child.progressed()
                reason = refusal.message.strip() or "refused without a reason"
                accepted = refusal.sequence - shipment.first
                failed = DeliveryFailed(
                    reason,
                    unavailable=refusal.unavailable,
                    accepted=accepted,
                    blames=not refusal.unavailable,
                    retry_after_s=refusal.retry_after_s,
                )
                self._fail(shipment, failed)
                return

    def went_down(self, reason: str) -> None:
        """Fail what the child had, and what cannot wait for the next one."""
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        while self._sent:
            shipment = self._sent.popleft()
            self._fail(shipment, self._unavailable(reason, shipment.taken))
        self._give_up_waiting(reason)

    def _give_up_waiting(self, reason: str) -> None:
        """Fail deliveries that wait for a child which will not be there in time."""
        if self.child.coming_within(self._timeout_s):
            return
        self._fail_waiting(reason)

    def _fail_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for shipment in waiting:
            self._fail(shipment, self._unavailable(reason))

    def _fail_all(self, reason: str) -> None:
        while self._sent:
            shipment = self._sent.popleft()
            self._fail(shipment, self._unavailable(reason, shipment.taken))
        self._fail_waiting(reason)
