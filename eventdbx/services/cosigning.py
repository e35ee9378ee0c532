"""Asking witnesses for cosignatures: each new checkpoint goes to those that have a URL.

One request at a time for each log and witness, always with the newest checkpoint; what came
meanwhile is skipped. What an answer means is decided here, the rules are C2SP tlog-witness.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from eventdbx import limits
from eventdbx._version import __version__
from eventdbx.application.checkpointing import Checkpoints, Signed
from eventdbx.application.domains import Domain
from eventdbx.domain.delivery.entries import HttpConfig
from eventdbx.domain.notes import NoteError, NoteKey, parse_decimal, parse_signatures
from eventdbx.errors import EventDBXError
from eventdbx.formats import split_witness
from eventdbx.plugins.addresses import Dialer, Rules
from eventdbx.plugins.certificates import Certificates
from eventdbx.plugins.exchanges import Answer, Connections
from eventdbx.plugins.targets import url_of
from eventdbx.services.witnessing import note_keys
from eventdbx.settings import Integrity

ANSWER_S = 10.0
"""A witness has this long for an answer."""

BACKOFF_S = 1.0
BACKOFF_MAX_S = 300.0
"""Pause after a failure, doubled with each one after it."""

ROUNDS_MAX = 3
"""A witness that was asked by someone else meanwhile says so; after that many times it waits."""

Post = Callable[[bytes], Coroutine[Any, Any, Answer]]

log = Logger()


class NotCosigned(Exception):
    """A witness did not cosign; ``grave`` if it says that the log is not what it has seen."""

    def __init__(self, reason: str, *, grave: bool = False) -> None:
        super().__init__(reason)
        self.grave = grave


class Poster:
    """Posts to one witness, over connections that are kept."""

    def __init__(self, url: str, reactor: Any) -> None:
        self._reactor = reactor
        self._url = found = url_of(HttpConfig(endpoint=f"{url}/add-checkpoint"))
        self._dialer = Dialer(reactor, found.host, found.port, Rules())
        self._certificates = Certificates(found.host) if found.scheme == "https" else None
        self._connections = Connections(reactor, kept=1)

    async def post(self, body: bytes) -> Answer:
        """Return the answer to one request. Raises whatever connecting or reading raises."""
        endpoint: IStreamClientEndpoint = self._dialer
        if self._certificates is not None:
            endpoint = wrapClientTLS(self._certificates.options(), endpoint)
        headers = Headers(
            {
                "content-type": ["text/plain; charset=utf-8"],
                "user-agent": [f"eventdbx/{__version__.public()}"],
            }
        )
        exchange: Deferred[Answer] = Deferred.fromCoroutine(
            self._connections.exchange(
                endpoint, b"POST", self._url.raw, headers, [body], on_code=lambda _code: None
            )
        )
        try:
            return await exchange.addTimeout(ANSWER_S, self._reactor)
        except TimeoutError:
            raise NotCosigned(f"no answer within {ANSWER_S:g} s") from None

    def close(self) -> Deferred[None]:
        """Close the connections."""
        return self._connections.close()


async def cosigned(
    checkpoints: Checkpoints, signed: Signed, key: NoteKey, old: int, post: Post
) -> None:
    """Have a checkpoint cosigned by a witness that has probably seen a tree of ``old`` entries,
    and store the cosignature. Raises NotCosigned, and whatever posting raises."""
    for _round in range(ROUNDS_MAX):
        answer = await post(checkpoints.submission(signed, old).encode())
        if answer.code == 200:
            try:
                lines = parse_signatures(answer.body)
                await checkpoints.add_signatures(signed.size, lines, [key])
            except NoteError as error:
                raise NotCosigned(f"its answer is no cosignature: {error}") from None
            return
        if answer.code != 409:
            raise _refused(answer)
        seen = _seen(answer)
        if seen > signed.size:
            raise NotCosigned(
                f"it has seen {seen} events of this log, which has {signed.size}", grave=True
            )
        if seen == old:
            raise NotCosigned(f"it has seen {seen} other events of this log", grave=True)
        old = seen
    raise NotCosigned("it is asked by others at the same time")


def _refused(answer: Answer) -> NotCosigned:
    said = answer.body[: limits.NOTE_CHARACTERS_MAX].decode("utf-8", "replace").strip()
    shown = "".join(one if one.isprintable() else " " for one in said)
    reason = f"it answered {answer.code}" + (f": {shown}" if shown else "")
    # The proof does not hold there: what it has seen is not the beginning of this log.
    return NotCosigned(reason, grave=answer.code == 422)


def _seen(answer: Answer) -> int:
    try:
        text = answer.body.decode("ascii")
        return parse_decimal(text.removesuffix("\n"), limits.TREE_SIZE_MAX, "the size")
    except (NoteError, UnicodeDecodeError):
        raise NotCosigned("it answered 409 without the size that it has seen") from None


class _Asking:
    """One log and one witness."""

    def __init__(
        self, domain: Domain, key: NoteKey, url: str, reactor: Any, pause_s: Callable[[], float]
    ) -> None:
        self._name = domain.name
        self._checkpoints = domain.checkpoints
        self._key = key
        self._poster = Poster(url, reactor)
        self._clock = reactor
        self._pause_s = pause_s
        self._failures = 0
        self._timer: IDelayedCall | None = None
        self._working: Deferred[None] | None = None
        self._stopped = False

    def wake(self) -> None:
        """Ask about the newest checkpoint, unless a pause is kept; then it is asked after it."""
        if self._stopped or self._timer is not None or self._working is not None:
            return
        working = self._working = Deferred.fromCoroutine(self._ask())
        working.addBoth(self._over)

    def stop(self) -> Deferred[None]:
        """Ask no more; fires when the connections are closed."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        if self._working is not None:
            self._working.cancel()
        return self._poster.close()

    def _cosigned(self, signed: Signed | None) -> bool:
        ours = (self._key.name, self._key.id)
        return signed is not None and any(
            (one.name, one.key_id) == ours for one in signed.note.signatures
        )

    async def _ask(self) -> None:
        newest = self._checkpoints.newest()
        if newest is None or self._cosigned(newest):
            return
        last = self._checkpoints.witnessed()
        old = last.size if last is not None and self._cosigned(last) else 0
        await cosigned(self._checkpoints, newest, self._key, old, self._poster.post)

    def _over(self, outcome: Any) -> None:
        self._working = None
        if self._stopped:
            return
        if isinstance(outcome, Failure):
            self._tell(outcome)
            pause = min(BACKOFF_S * 2.0 ** min(self._failures, 16), BACKOFF_MAX_S)
            self._failures += 1
        else:
            pause = self._pause_s()
            self._failures = 0
            self._checkpoints.unwitnessed.pop(self._key.name, None)
        self._timer = self._clock.callLater(pause, self._again)

    def _again(self) -> None:
        self._timer = None
        try:
            done = self._cosigned(self._checkpoints.newest())
        except EventDBXError:
            done = True
        if not done:
            self.wake()

    def _tell(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        error = failure.value
        reason = str(error) or type(error).__name__
        if self._checkpoints.unwitnessed.get(self._key.name) == reason:
            return
        self._checkpoints.unwitnessed[self._key.name] = reason
        say = log.critical if isinstance(error, NotCosigned) and error.grave else log.warn
        say(
            "{domain}: witness {witness} did not cosign: {reason}",
            domain=self._name,
            witness=self._key.name,
            reason=reason,
        )


class CosigningService(Service):
    """Asks the configured witnesses that have a URL, for every open domain."""

    def __init__(self, settings: Callable[[], Integrity], reactor: Any) -> None:
        self._settings = settings
        self._reactor = reactor
        self._domains: list[Domain] = []
        self._texts: tuple[str, ...] = ()
        self._asking: dict[tuple[str, str], _Asking] = {}
        self._ending: list[Deferred[None]] = []

    def add(self, domain: Domain) -> None:
        """Ask for the checkpoints of a domain from now on."""
        self._domains.append(domain)
        domain.checkpoints.on_signed.append(lambda partition, _signed: self._signed(partition))
        self._texts = ()  # The new domain has no one to ask yet.
        if self.running:
            self._signed(0)

    def startService(self) -> None:
        """Begin, with the checkpoints that are there."""
        super().startService()  # type: ignore[no-untyped-call]
        self._signed(0)

    def stopService(self) -> Deferred[Any]:
        """End; fires when all connections are closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        ending = [*self._ending, *(one.stop() for one in self._asking.values())]
        self._asking = {}
        return DeferredList(ending, consumeErrors=True)

    def _signed(self, partition: int) -> None:
        if partition != 0 or not self.running:
            return
        texts = self._settings().witnesses
        if texts != self._texts:
            self._take_up(texts)
        for one in self._asking.values():
            one.wake()

    def _take_up(self, texts: tuple[str, ...]) -> None:
        wanted = {
            (domain.name, text): domain
            for domain in self._domains
            for text in texts
            if split_witness(text)[1] is not None
        }
        for place in [one for one in self._asking if one not in wanted]:
            self._ending.append(self._asking.pop(place).stop())
        for place, domain in wanted.items():
            if place in self._asking:
                continue
            (key,), url = note_keys([place[1]]), split_witness(place[1])[1]
            assert url is not None, "only those are wanted"
            self._asking[place] = _Asking(domain, key, url, self._reactor, lambda: self._pause_s)
        self._texts = texts

    @property
    def _pause_s(self) -> float:
        return self._settings().checkpoint_interval_ms / 1000
