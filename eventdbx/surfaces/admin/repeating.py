"""``Idempotency-Key``: a request that comes again gets the answer of the first time.

Answers are kept in memory, a bounded number of them for a day: they may hold tokens, which are
never written to disk. A restart forgets them.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from eventdbx import limits
from eventdbx.surfaces.admin.table import Answer, Problem

Key = tuple[str, str, str]
"""Whose request (the token's id), which route, and the key that it names."""


class _Kept:
    def __init__(self, digest: bytes, since: float) -> None:
        self.digest = digest
        self.since = since
        self.answer: Answer | None = None


class Repeats:
    """The answers given lately."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()

    def once(
        self, key: Key, content: bytes, work: Callable[[], Deferred[Answer]]
    ) -> Deferred[Answer]:
        """Do the work unless it was done under this key; fire with its answer.

        Fails with Problem 422 if the key was used with other content, 409 while the first
        request is at work. Work that failed may be tried again under the same key.
        """
        self._forget_old()
        if len(key[2].encode()) > limits.IDEMPOTENCY_KEY_BYTES_MAX:
            raise Problem(400, "Idempotency-Key is longer than 256 bytes", "invalid_header")
        digest = hashlib.sha256(content).digest()
        kept = self._kept.get(key)
        if kept is not None:
            if kept.digest != digest:
                raise Problem(
                    422,
                    f"idempotency key '{key[2]}' was already used with different content",
                    "schema_violation",
                )
            if kept.answer is None:
                raise Problem(409, "the first request with this key is at work", "in_progress")
            return succeed(kept.answer)
        kept = self._kept[key] = _Kept(digest, self._clock())
        if len(self._kept) > limits.REPEATS_MAX:
            self._kept.popitem(last=False)
        return work().addCallbacks(
            self._done, self._failed, callbackArgs=(kept,), errbackArgs=(key,)
        )

    def _done(self, answer: Answer, kept: _Kept) -> Answer:
        kept.answer = answer
        return answer

    def _failed(self, failure: Failure, key: Key) -> Failure:
        self._kept.pop(key, None)
        return failure

    def _forget_old(self) -> None:
        oldest = self._clock() - limits.REPEATS_S
        while self._kept:
            key, kept = next(iter(self._kept.items()))
            if kept.since > oldest:
                return
            del self._kept[key]
