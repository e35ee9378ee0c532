"""The stored history of a domain held against a candidate set of schemas, slice by slice.

Each event is judged as if it were appended now: upcast by the candidate, then checked by its
contract in the domain's mode of restriction. Aggregates are read one after the other in key order,
so that what a patch builds on is known; memory is that of one aggregate's keys and of the findings,
however long the history is. Who calls, when, and on which thread is in ``rehearsal``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from eventdbx import limits
from eventdbx.application.referring import NULLIFY_EVENT
from eventdbx.domain.aggregate import folds
from eventdbx.domain.canonical import JSON
from eventdbx.domain.events import Event
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.domain.schemas.contract import SCALAR_KEY, Contract
from eventdbx.domain.schemas.upcasting import Upcasting, revision_of
from eventdbx.settings import Restrict
from eventdbx.storage import keys, records
from eventdbx.storage.interfaces import IReadView

PARTITION = 0

_LACKING = ("missing", "required")
"""Rules that a patch may break: what it does not touch is there already."""

Enough = Callable[[], bool]
"""Says that a slice has used its time."""

AcceptedBy = Callable[[bytes], Contract | None]
"""Returns the contract that an event's mark names by digest, or None."""


class Candidate(NamedTuple):
    """A set of schemas, compiled, and the mode in which it would be in force."""

    contracts: Mapping[str, Contract]
    restrict: Restrict


class Sample(NamedTuple):
    """Where an event is: enough to read it, nothing of what it says."""

    aggregate_type: str
    aggregate_id: str
    version: int
    event_id: int


class Broken(NamedTuple):
    """What findings are told apart by; ``message`` is that of the control protocol."""

    aggregate_type: str
    event_type: str
    rule: str
    message: str


class Finding:
    """The events that break one rule: how many, how many only unless they were patches, some."""

    __slots__ = ("count", "first", "last", "samples", "unless_patch")

    def __init__(self, first: Sample) -> None:
        self.count = self.unless_patch = 0
        self.samples: list[Sample] = []
        self.first = self.last = first

    def add(self, sample: Sample, *, unless_patch: bool) -> None:
        """Count one more event."""
        self.count += 1
        self.unless_patch += unless_patch
        self.last = sample
        if len(self.samples) < limits.REHEARSAL_SAMPLES:
            self.samples.append(sample)


class Judging:
    """One pass over everything that was stored when it began.

    ``aggregates`` names the types to look at, None means all. :meth:`advance` is called, from any
    one thread at a time, until it returns True; the numbers may be read meanwhile.
    """

    def __init__(
        self,
        candidate: Candidate,
        view: IReadView,
        *,
        aggregates: Iterable[str] | None = None,
        accepted_by: AcceptedBy = lambda _digest: None,
    ) -> None:
        self._candidate = candidate
        self._judge = _Judge(candidate, accepted_by)
        tail = records.decode_tail(view.get(keys.tail(PARTITION)))
        self._last_id = tail.last_id
        self.aggregates = (
            None if aggregates is None else tuple(sorted(set(aggregates) - {AUDIT_TYPE}))
        )
        self.total = tail.next_position if self.aggregates is None else 0
        self.done = self.refused = self.unless_patch = 0
        self.findings: dict[Broken, Finding] = {}
        self.left_out = 0
        self._steps = self._all_steps()
        self._place = b""

    def release(self) -> None:
        """Let go of the candidate, which may be large; what was found stays."""
        self._candidate = Candidate({}, self._candidate.restrict)
        self._judge = _Judge(self._candidate, lambda _digest: None)

    def advance(self, view: IReadView, enough: Enough) -> bool:
        """Go on in a fresh view until the slice is used up; True when all has been looked at.

        Raises StorageError for records that cannot be read.
        """
        while self._steps:
            prefix, look = self._steps[0]
            start = self._place + b"\x00" if self._place else prefix
            for key, record in view.scan(start, keys.after(prefix)):
                look(key, record)
                self._place = key
                if enough():
                    return False
            del self._steps[0]
            self._place = b""
        return True

    def _all_steps(self) -> list[tuple[bytes, Callable[[bytes, bytes], None]]]:
        """Return which keys are read in which order, and what is done with each."""
        if self.aggregates is None:
            return [(keys.EVENT, self._look_at_event)]
        texts = [name.encode() + b"\x00" for name in self.aggregates]
        families = (keys.HEAD_ACTIVE, keys.HEAD_ARCHIVED)
        counting = [(family + text, self._count_events) for family in families for text in texts]
        return [*counting, *((keys.EVENT + text, self._look_at_event) for text in texts)]

    def _count_events(self, key: bytes, record: bytes) -> None:
        self.total += records.decode_head(*keys.split_name(key[2:]), record).version

    def _look_at_event(self, key: bytes, record: bytes) -> None:
        if records.event_id_of(record) > self._last_id:
            # Written since. Where heads were counted, it may be among them.
            self.total -= self.aggregates is not None
            return
        aggregate_type = key[1 : key.index(b"\x00")].decode()
        if aggregate_type == AUDIT_TYPE:
            return  # No schema is asked for what the trail records.
        self.done += 1
        contract = self._candidate.contracts.get(aggregate_type)
        if contract is not None:
            event = records.decode_event(record)
            verdict = self._judge.verdict(event, contract, key[:-8])
            if verdict is not None:
                self._refuse(event, *verdict)
        elif self._candidate.restrict == "strict":
            message = (
                f"aggregate {aggregate_type} requires a schema before events can be appended "
                "when restrict=strict"
            )
            event = records.decode_event(record)
            if event.event_type != NULLIFY_EVENT:
                self._refuse(event, [("schema", message)], False)

    def _refuse(self, event: Event, faults: list[tuple[str, str]], unless_patch: bool) -> None:
        self.refused += 1
        self.unless_patch += unless_patch
        names = event.aggregate_type, event.event_type
        sample = Sample(event.aggregate_type, event.aggregate_id, event.version, event.event_id)
        for broken in dict.fromkeys(Broken(*names, *fault) for fault in faults):
            finding = self.findings.get(broken)
            if finding is None:
                if len(self.findings) >= limits.REHEARSAL_RULES_MAX:
                    self.left_out += 1
                    continue
                finding = self.findings[broken] = Finding(sample)
            finding.add(sample, unless_patch=unless_patch)

    def report(self) -> list[tuple[Broken, Finding]]:
        """Return each rule that is broken so far, the most broken first."""
        found = list(self.findings.items())
        return sorted(found, key=lambda pair: (-pair[1].count, pair[0]))


class _Judge:
    """Judges the events of one aggregate after the other, and knows what came before."""

    def __init__(self, candidate: Candidate, accepted_by: AcceptedBy) -> None:
        self._off = candidate.restrict == "off"
        self._accepted_by = accepted_by
        self._accepted: dict[bytes, Contract | None] = {}
        self._upcasting: dict[tuple[str, str], Upcasting | None] = {}
        self._stream = b""
        self._known: set[str] = set()
        self._known_anyhow: set[str] = set()
        self._gone = False

    def verdict(
        self, event: Event, contract: Contract, stream: bytes
    ) -> tuple[list[tuple[str, str]], bool] | None:
        """Return the rules and messages for which an event would be refused, or None.

        The flag says that it would pass if it were a patch, and that nothing tells whether it is
        one: what is stored of a patch is the keys that it touched.
        """
        if stream != self._stream:
            self._stream = stream
            self._known, self._known_anyhow = set(), set()
            self._gone = False
        self._gone = self._gone or event.erased
        if event.event_type == NULLIFY_EVENT or not folds(event):
            return None  # The store writes it, and nobody validates it; or nothing is left of it.
        raw: JSON = orjson.loads(event.payload)
        payload = self._upcast(event, contract, raw)
        refusal = None
        if contract.refuse(event.event_type, payload, off=self._off) is not None:
            refusal = self._refusal(event, contract, payload, raw)
        self._known.update(_keys(payload))
        if payload is not raw:
            self._known_anyhow.update(_keys(payload))
        self._known_anyhow.update(_keys(raw))
        return refusal

    def _refusal(
        self, event: Event, contract: Contract, payload: JSON, raw: JSON
    ) -> tuple[list[tuple[str, str]], bool] | None:
        kind, off = event.event_type, self._off
        found = contract.violations(kind, payload, off=off)
        unless_patch = False
        if event.version > 1 and any(one.rule in _LACKING for one in found):
            if self._was_patch(event, raw):
                found = contract.violations(kind, payload, self._known, off=off)
            else:
                unless_patch = contract.refuse(kind, payload, self._known, off=off) is None
        if self._gone:  # What a patch was made on top of may have been erased since.
            found = [one for one in found if event.version == 1 or one.rule not in _LACKING]
        if not found:
            return None
        return [(one.rule, one.message) for one in found], unless_patch

    def _upcast(self, event: Event, contract: Contract, payload: JSON) -> JSON:
        place = (event.aggregate_type, event.event_type)
        if place not in self._upcasting:
            rule = contract.schema.event(event.event_type)
            if len(self._upcasting) >= limits.REHEARSAL_RULES_MAX:
                self._upcasting.clear()
            self._upcasting[place] = Upcasting(rule) if rule is not None and rule.upcast else None
        upcasting = self._upcasting[place]
        return payload if upcasting is None else upcasting.apply(revision_of(event.schema), payload)

    def _was_patch(self, event: Event, payload: JSON) -> bool:
        """Say whether the schema that accepted an event can only have accepted it as a patch."""
        if event.schema is None:
            return False
        digest = event.schema[:-2]
        if digest not in self._accepted:
            if len(self._accepted) >= limits.REHEARSAL_RULES_MAX:
                self._accepted.clear()
            self._accepted[digest] = self._accepted_by(digest)
        contract = self._accepted[digest]
        return (
            contract is not None
            and contract.refuse(event.event_type, payload) is not None
            and contract.refuse(event.event_type, payload, self._known_anyhow) is None
        )


def _keys(payload: JSON) -> Iterable[str]:
    if type(payload) is dict:
        return payload
    return () if payload is None else (SCALAR_KEY,)


def sample_document(sample: Sample) -> dict[str, Any]:
    """Return the JSON of a sample; ids are texts, for they exceed what readers of JSON can hold."""
    return {**sample._asdict(), "event_id": str(sample.event_id)}
