"""A log in memory, with proofs and bundles of it made by our modules, for the verifier to check."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from eventdbx import verify
from eventdbx.domain import evidence, headmap
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.checkpoints import Checkpoint, cosign, sign_checkpoint
from eventdbx.domain.events import Actor, Event, commitment, leaf_data
from eventdbx.domain.merkle import leaf_hash, root_of
from eventdbx.domain.notes import Note, NoteKey, to_base64
from eventdbx.domain.proofs import inclusion_proof, tree_root
from eventdbx.domain.tlogproofs import TlogProof
from tests.domain.signers import log_key, nodes_over, witness_key

ORIGIN = "example.org/main"
LOG, SIGN = log_key(ORIGIN, b"\x01" * 32)
WITNESS, COSIGN = witness_key("witness.example", b"\x02" * 32)
BEGUN = 1_800_000_000_123_456_789

Name = tuple[str, str]


@dataclass
class Story:
    """Events of some aggregates in the order in which they were logged."""

    events: list[Event] = field(default_factory=list)
    erased: set[bytes] = field(default_factory=set)
    withheld: set[bytes] = field(default_factory=set)
    position: int | None = None
    """Of what part of the log the head map is said to be; all of it unless it is said."""

    def tell(
        self,
        name: Name,
        event_type: str,
        payload: JSON,
        *,
        extensions: JSON = None,
        note: str | None = None,
        actor: Actor | None = Actor("ops", "alice"),  # noqa: B008
        raw: str | None = None,
    ) -> Event:
        """Append an event."""
        version = len(self.of(name)) + 1
        number = len(self.events)
        salt = bytes((number % 255 + 1,)) * 16
        body, more = dump(payload), None if extensions is None else dump(extensions)
        created = BEGUN + number * 1_000_000
        schema = bytes(range(18)) if number % 2 else None
        leaf = leaf_data(
            *name, event_type, raw, 7_000 + number, created, actor, version,
            commitment(salt, body, more, note), schema,
        )  # fmt: skip
        hashed = leaf_hash(leaf)
        root = root_of([*(one.hash for one in self.of(name)), hashed])
        event = Event(
            *name, event_type, raw, body, more, 7_000 + number, created, actor, note, version,
            salt, hashed, root, leaf, schema,
        )  # fmt: skip
        self.events.append(event)
        return event

    def erase(self, name: Name, *ranges: tuple[int, int]) -> None:
        """Take the content of events away, and say so in an event of their aggregate."""
        for first, last in ranges:
            self.erased |= {one.hash for one in self.of(name)[first - 1 : last]}
        payload: JSON = {"scope": "events", "reason": "asked", "events": [list(r) for r in ranges]}
        self.tell(name, "dbx_erased", payload)

    def of(self, name: Name) -> list[Event]:
        """Return the events of an aggregate, by version."""
        return sorted((one for one in self.events if one[:2] == name), key=lambda one: one.version)

    def names(self) -> list[Name]:
        """Return the names of all aggregates, sorted."""
        return sorted({(one.aggregate_type, one.aggregate_id) for one in self.events})

    def entries(self) -> list[bytes]:
        """Return the entries of the head map."""
        found = []
        for name in self.names():
            last = self.of(name)[-1]
            key = headmap.name_hash(*name)
            found.append(headmap.entry(key, last.version, last.merkle_root))
        return sorted(found)

    def head(self, name: Name) -> headmap.HeadProof:
        """Return what the map says of an aggregate."""
        key = headmap.name_hash(*name)
        return headmap.make_proof(len(self.events), key, *headmap.path(self.entries(), key))

    def note(self, *, witnessed: bool = False, heads: bool = True, key: NoteKey = LOG) -> Note:
        """Return a checkpoint over all of it."""
        leaves = [one.hash for one in self.events]
        summary = headmap.summary_hash(headmap.summarise(self.entries()))
        position = len(leaves) if self.position is None else self.position
        lines = (headmap.heads_line(position, summary),) if heads else ()
        root = tree_root(nodes_over(leaves), len(leaves))
        note = sign_checkpoint(Checkpoint(key.name, len(leaves), root, lines), key, SIGN)
        if witnessed:
            note = note.signed_by(cosign(note.text, WITNESS, 1_800_000_000, COSIGN))
        return note

    def path(self, index: int) -> list[bytes]:
        """Return the proof that an event is in the log."""
        leaves = [one.hash for one in self.events]
        return inclusion_proof(nodes_over(leaves), index, len(leaves))

    def tlog_proof(self, index: int, *, witnessed: bool = False) -> bytes:
        """Return the proof of an event, as a file."""
        event = self.events[index]
        salt = bytes(16) if event.hash in self.erased else event.salt
        extra = b"\x01" + salt + event.leaf
        return TlogProof(
            index, tuple(self.path(index)), self.note(witnessed=witnessed), extra
        ).encode()

    def aggregate_proof(self, kind: str, name: Name, **more: Any) -> bytes:
        """Return a proof in JSON that begins with an aggregate."""
        document = {
            "format": "eventdbx-proof/1",
            "kind": kind,
            "aggregate_type": name[0],
            "aggregate_id": name[1],
            "size": len(self.of(name)),
            "root": to_base64(self.of(name)[-1].merkle_root),
            "heads": [to_base64(one) for one in reversed(self.head(name).siblings)],
            "checkpoint": self.note().encode().decode(),
        }
        return json.dumps({**document, **more}).encode()

    def aggregate_lines(self, name: Name, *, heads: bool = True) -> Iterator[bytes]:
        """Yield the lines of an aggregate in a bundle."""
        events = self.of(name)
        head = self.head(name) if heads else None
        yield evidence.aggregate_line(*name, len(events), events[-1].merkle_root, head)
        for event in events:
            index = self.events.index(event)
            bare = evidence.ERASED if event.hash in self.erased else None
            if event.hash in self.withheld:
                bare = evidence.WITHHELD
            yield evidence.event_line(event, index, self.path(index), bare=bare)

    def lines(
        self, scope: evidence.Scope, names: Sequence[Name], *, heads: bool = True
    ) -> list[bytes]:
        """Return the lines of a bundle."""
        note = self.note(heads=heads).encode().decode()
        lines = [evidence.header_line(ORIGIN, LOG.vkey(), scope, note)]
        for name in names:
            lines += self.aggregate_lines(name, heads=heads)
        count = sum(len(self.of(name)) for name in names)
        return [*lines, evidence.last_line(len(names), count)]


def trust(*, witnesses: bool = False, quorum: int = 0) -> verify.Trust:
    """Return whom the verifier is told to believe."""
    known = [verify.parse_key(WITNESS.vkey(), verify.WITNESS_KEY)] if witnesses else []
    return verify.Trust([verify.parse_key(LOG.vkey(), verify.LOG_KEY)], known, quorum)


def checked(
    raw: bytes, event: bytes | None = None, whom: verify.Trust | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return what the verifier says of a file, as JSON and in sentences. Raises Refuted."""
    said: list[str] = []
    say: Callable[[str], None] = said.append
    return verify.check(io.BytesIO(raw), verify.Asked(whom or trust(), event, say)), said


def tree_of(story: Story, name: Name) -> list[str]:
    """Return the leaf hashes of an aggregate in base64."""
    return [to_base64(one.hash) for one in story.of(name)]


def orders() -> Story:
    """Return a log of five aggregates, one event of which is erased."""
    story = Story()
    for number in range(4):
        story.tell(("order", f"o-{number}"), "order_placed", {"amount": number, "to": "Zoë"})
    story.tell(("order", "o-1"), "order_paid", {"by": "card", "cents": 1e-7}, note="by hand",
               extensions={"@source": "till-7"}, raw="Order.Paid")  # fmt: skip
    story.tell(("person", "p-1"), "person_seen", {"name": "Ada"}, actor=None)
    story.tell(("order", "o-2"), "order_shipped", [1, 2.5, None, "a\u2028b"], extensions={})
    story.tell(("order", "o-1"), "order_shipped", {})
    story.erase(("person", "p-1"), (1, 1))
    return story
