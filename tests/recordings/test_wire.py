"""What earlier releases answered on the control port is answered today, but for what is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.recordings.matching import Placeholders
from tests.recordings.wire_peer import hello_fields, request_fields, with_token
from tests.recordings.wire_replay import RECORDINGS, differences, filled, load, replay

TOKENS = dict.fromkeys(("ROOT", "READER", "WRITER", "OTHER", "SHORT", "GONE", "ALL"), "<TOKEN>")
"""In recorded bytes every token is this text."""


def recordings() -> list[Path]:
    """Return the files of all recordings."""
    return sorted(RECORDINGS.glob("*.json"))


class Replayed(SynchronousTestCase):
    """Each recording against a server of its own."""

    def holds(self, name: str) -> None:
        """Replay one recording."""
        outcomes = replay(RECORDINGS / f"{name}.json", Path(self.mktemp()).absolute())
        self.assertGreater(len(outcomes), 0)
        self.assertEqual("\n".join(differences(outcomes)), "")

    def test_auth(self) -> None:
        """Each request is authorised by its own token."""
        self.holds("auth-3.19.4")

    def test_core(self) -> None:
        """Writes, reads and archiving answer the same, failures included."""
        self.holds("core-3.19.4")

    def test_core_of_the_first_generation(self) -> None:
        """Clients of 3.9.13 are understood in their own layout."""
        self.holds("core-3.9.13")

    def test_frames(self) -> None:
        """Unknown operations are answered, nonsense ends the connection."""
        self.holds("frames-3.19.4")

    def test_hello(self) -> None:
        """Hellos are accepted and rejected with the same words."""
        self.holds("hello-3.19.4")

    def test_hello_of_the_first_generation(self) -> None:
        """So are those without a tenant."""
        self.holds("hello-3.9.13")

    def test_plain(self) -> None:
        """Sessions without encryption work where they are allowed."""
        self.holds("hello-plain-3.19.4")

    def test_paging(self) -> None:
        """Pages, cursors, sorts and filters give the same."""
        self.holds("paging-3.19.4")

    def test_quota(self) -> None:
        """What a tenant writes below its quota is let in."""
        self.holds("quota-3.19.4")

    def test_references(self) -> None:
        """References are checked, followed and nullified alike."""
        self.holds("references-3.19.4")

    def test_restrict(self) -> None:
        """In strict mode a type without a schema takes no events."""
        self.holds("restrict-3.19.4")

    def test_schemas(self) -> None:
        """Sets of schemas are replaced and listed, and refuse events with the same words."""
        self.holds("schemas-3.19.4")

    def test_snapshots(self) -> None:
        """Snapshots are taken, listed and fetched alike."""
        self.holds("snapshots-3.19.4")

    def test_terse(self) -> None:
        """With verbose_responses off, writes are answered with empty texts."""
        self.holds("terse-3.19.4")

    def test_tenants(self) -> None:
        """Tenants have shards, quotas and schemas, whose changes are answered alike."""
        self.holds("tenants-3.19.4")

    def test_none_is_forgotten(self) -> None:
        """Every recording has a test above."""
        source = Path(__file__).read_text(encoding="utf-8")
        named = re.findall(r'self\.holds\("([^"]+)"\)', source)
        self.assertEqual(sorted(named), [path.stem for path in recordings()])


class Bytes(SynchronousTestCase):
    """What is sent is what was recorded."""

    def test_fields(self) -> None:
        """The bytes of every hello and request say what the fields beside them say."""
        compared = 0
        for path in recordings():
            recording = load(path)
            release = recording["release"]
            for session in recording["sessions"]:
                hello = hello_fields(bytes.fromhex(session["bytes"]), release)
                self.says(hello, session["hello"], f"{path.stem}: {session['name']}")
                for exchange in session["exchanges"]:
                    if "bytes" in exchange:
                        data = bytes.fromhex(exchange["bytes"])
                        identifier, operation, fields = request_fields(data, release)
                        named = exchange.get("id", 1), exchange["operation"]
                        self.assertEqual((identifier, operation), named)
                        self.says(fields, exchange["request"], f"{path.stem}: {exchange['name']}")
                        compared += 1
        self.assertGreater(compared, 200)

    def says(self, fields: dict[str, Any], described: dict[str, Any], name: str) -> None:
        """Compare the fields of a message with those that are described."""
        described = filled(described, TOKENS)
        self.assertEqual({key: fields[key] for key in described}, described, name)

    def test_token(self) -> None:
        """A token takes the place of the one that was recorded, and nothing else changes."""
        session = load(RECORDINGS / "hello-3.19.4.json")["sessions"][-1]
        recorded = bytes.fromhex(session["bytes"])
        before = hello_fields(recorded, "3.19.4")
        self.assertEqual(before["token"], " <TOKEN> ")
        for token in ("x", "a.b.c" * 100):
            after = hello_fields(with_token(recorded, token), "3.19.4")
            self.assertEqual(after, {**before, "token": f" {token} "})


class Noticed(SynchronousTestCase):
    """The comparison is worth something."""

    def test_one_byte(self) -> None:
        """A recording fails when one byte of a recorded answer is another."""
        source = (RECORDINGS / "hello-plain-3.19.4.json").read_text(encoding="utf-8")
        place = source.index('"version":1', source.index('"answer": {"createAggregate"')) + 10
        changed = Path(self.mktemp()).absolute()
        changed.write_text(source[:place] + "2" + source[place + 1 :], encoding="utf-8")
        outcomes = replay(changed, Path(self.mktemp()).absolute())
        (said,) = differences(outcomes)
        self.assertIn('recorded [1,{"createAggregate"', said)

    def test_any_byte(self) -> None:
        """It does not matter which byte: outside the numbers of placeholders each one counts."""
        outcomes = replay(RECORDINGS / "terse-3.19.4.json", Path(self.mktemp()).absolute())
        self.assertEqual(differences(outcomes), [])
        for name, recorded, actual, *_departure in outcomes:
            numbers = {
                place
                for found in re.finditer(r"_[0-9]+>", recorded)
                for place in range(*found.span())
            }
            for place in sorted(set(range(len(recorded))) - numbers):
                other = chr(ord(recorded[place]) ^ 1)
                changed = recorded[:place] + other + recorded[place + 1 :]
                self.assertFalse(Placeholders().match(changed, actual), f"{name}: {changed}")

    def test_stale_departure(self) -> None:
        """A departure that is none any more, or another one than was described, is noticed."""
        outcomes = replay(RECORDINGS / "snapshots-3.19.4.json", Path(self.mktemp()).absolute())
        (departure,) = [one for one in outcomes if one.departs]
        self.assertEqual(differences([departure]), [])
        back = departure._replace(actual=departure.recorded)
        self.assertIn("departs no more", differences([back])[0])
        other = departure._replace(actual="[1,{}]")
        self.assertIn("expected", differences([other])[0])


class Matching(SynchronousTestCase):
    """Placeholders."""

    def test_numbers(self) -> None:
        """One number has one value throughout, and another number another value."""
        one, two = "1" * 64, "2" * 64
        places = Placeholders()
        self.assertTrue(places.match("<ROOT_1> <HASH_1>", f"{one} {one}"))
        self.assertTrue(places.match("<ROOT_2>", two))
        self.assertFalse(places.match("<ROOT_1>", two))
        self.assertFalse(places.match("<ROOT_3>", one))
        self.assertFalse(places.match("<ROOT_3><ROOT_4>", "3" * 128))
        self.assertTrue(places.match("<ROOT_3>", "3" * 64), "nothing is kept of a failure")

    def test_kinds(self) -> None:
        """A value must look like its kind; other words in brackets are ordinary text."""
        places = Placeholders()
        self.assertTrue(places.match("at <TIME>Z", "at 2026-01-02T03:04:05.678Z"))
        self.assertFalse(places.match("at <TIME>Z", "at noonZ"))
        self.assertTrue(places.match("<TOKEN> <none>", "<TOKEN> <none>"))
        self.assertFalse(places.match("a.c", "abc"))
