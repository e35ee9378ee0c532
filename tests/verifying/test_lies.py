"""What somebody could sign who has the key of the log and is not honest, and keys that are none."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from eventdbx import verify
from eventdbx.domain import evidence
from eventdbx.domain.events import Event
from eventdbx.domain.notes import Note, Signature, sign_note, to_base64
from tests.domain.signers import log_key
from tests.verifying.story import LOG, SIGN, WITNESS, Name, Story, checked, orders, trust

ORDERS = orders()
ONE = ("order", "o-1")


class Lies(SynchronousTestCase):
    """Everything is signed, and does not fit together."""

    def refused(self, raw: bytes, why: str, whom: verify.Trust | None = None) -> None:
        error = self.assertRaises(verify.Refuted, checked, raw, whom=whom)
        self.assertIn(why, str(error))

    def bundle(self, story: Story, name: Name) -> bytes:
        return b"".join(story.lines([name], [name]))

    def event_proof(self, story: Story, event: Event, name: Name, hashes: list[str]) -> bytes:
        return story.aggregate_proof(
            "aggregate-event", name, version=event.version, leaf=to_base64(event.leaf),
            salt=to_base64(event.salt), hashes=hashes,
        )  # fmt: skip

    def test_order_of_the_log(self) -> None:
        """Versions that were logged in another order than they have."""
        story = Story()
        for number in range(3):
            story.tell(("a", "1"), "told", number)
        checked(self.bundle(story, ("a", "1")))
        story.events.reverse()
        self.refused(self.bundle(story, ("a", "1")), "earlier in the log than the version before")

    def test_map_of_the_future(self) -> None:
        """A map of heads that counts events which were logged after it."""
        story = orders()
        story.position = 3
        self.refused(self.bundle(story, ONE), "it is later in the log than the map that counts it")
        story.position = 10
        self.refused(self.bundle(story, ONE), "about the map of heads is malformed")

    def test_events_of_another(self) -> None:
        """A tree whose leaf is the event of another aggregate, or another version."""
        story = Story()
        event = story.tell(("a", "1"), "told", 1)
        story.events = [event._replace(aggregate_id="2")]
        self.refused(self.bundle(story, ("a", "2")), "it stands where a::2, version 1 should")
        raw = self.event_proof(story, event, ("a", "2"), [])
        self.refused(raw, "it is not version 1 of a::2")
        story = Story()
        story.tell(("a", "1"), "told", 1)
        event = story.tell(("a", "1"), "told", 2)
        event = event._replace(version=1, merkle_root=event.hash)
        story.events = [event]
        self.refused(self.bundle(story, ("a", "1")), "it stands where a::1, version 1 should")
        self.refused(self.event_proof(story, event, ("a", "1"), []), "it is not version 1 of a::1")

    def test_another_way(self) -> None:
        """The way from an event to the root of its aggregate has to lead there."""
        event = ORDERS.of(ONE)[0]
        raw = self.event_proof(ORDERS, event, ONE, [to_base64(bytes(32))] * 2)
        self.refused(raw, "is not in the tree of its aggregate")

    def test_another_log(self) -> None:
        """A checkpoint of a log of another name, and two of which each has its own."""
        text = ORDERS.note().text.replace("example.org/main", "example.org/other")
        note = sign_note(text, LOG, SIGN).encode().decode()
        lines = ORDERS.lines([ONE], [ONE])
        header = evidence.header_line("example.org/other", LOG.vkey(), [ONE], note)
        self.refused(b"".join([header, *lines[1:]]), "of another log than the key")
        other, sign = log_key("example.org/other", b"\x07" * 32)
        begun = sign_note(text, other, sign).encode().decode()
        document = {"format": "eventdbx-proof/1", "kind": "log-consistency", "first": begun,
                    "second": ORDERS.note().encode().decode(), "hashes": []}  # fmt: skip
        keys = [verify.parse_key(one.vkey(), verify.LOG_KEY) for one in (LOG, other)]
        whom = verify.Trust(keys, [], 0)
        self.refused(json.dumps(document).encode(), "of two logs", whom)

    def test_characters(self) -> None:
        """No control character is in a checkpoint, signed or not: what is shown is what is."""
        for text in ("example.org/main\n1\n{}\nmore\rless\n", "example.org/main\n1\n{}\n\x1b[2J\n"):
            text = text.format(to_base64(bytes(32)))
            line = Signature(LOG.name, LOG.id, SIGN(text.encode())).line()
            error = self.assertRaises(verify.Refuted, verify.check_note, f"{text}\n{line}", trust())
            self.assertIn("control characters", str(error))
        whole = Note(ORDERS.note().text, ORDERS.note().signatures).encode().decode()
        verify.check_note(whole, trust())

    def test_leaves(self) -> None:
        """A leaf is read in the one way in which it is written."""
        for event in ORDERS.events:
            leaf = event.leaf
            verify.parse_leaf(leaf)
            names = sum(len(one) + 1 for one in event[:3])
            flag = 57 + names
            wrong = [leaf[:end] for end in range(len(leaf))]
            wrong += [leaf + b"\0", leaf + b"\1", b"\2" + leaf[1:], leaf[:1] + bytes(8) + leaf[9:]]
            wrong.append(leaf[:flag] + b"\2" + leaf[flag + 1 :])
            if event.event_type_raw is None:
                wrong.append(leaf[: flag + 1] + b"\2" + leaf[flag + 2 :])
            for one in wrong:
                self.assertRaises(verify.Refuted, verify.parse_leaf, one)

    def test_keys(self) -> None:
        """The text of a key is of the kind that is wanted, and its id is its own."""
        text = LOG.vkey()
        name, _, material = text.split("+", 2)
        for wrong in (
            "", "+", text[:-1], text + "A", f"{name}+00000000+{material}", f"other+{text[17:]}",
            f"a b+{text[17:]}", WITNESS.vkey(), f"{name}+{material}", text.upper(),
        ):  # fmt: skip
            self.assertRaises(verify.Refuted, verify.parse_key, wrong, verify.LOG_KEY)
