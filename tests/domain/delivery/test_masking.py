"""Credentials of entries: never shown, and kept by whoever sends back what was shown."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.delivery.entries import Entry
from eventdbx.domain.delivery.masking import MASK, masked_document, unmasked
from eventdbx.domain.delivery.reading import parse_entry
from eventdbx.errors import ConfigError
from tests.domain.delivery.test_reading import entry


class Masking(SynchronousTestCase):
    """Entries for people to see."""

    def test_credentials(self) -> None:
        """Headers and variables whose names tell that they are secret are masked, and secrets."""
        config = {
            "headers": {"Authorization": "Bearer x", "X-Api-KEY": "k", "x-plain": "p"},
            "secrets": ["a", "b"],
            "client_key": "/etc/key.pem",
        }
        found = masked_document(parse_entry(entry(config=config)))
        assert isinstance(found, dict) and isinstance(found["config"], dict)
        self.assertEqual(
            found["config"]["headers"],
            {"Authorization": MASK, "X-Api-KEY": MASK, "x-plain": "p"},
        )
        self.assertEqual(found["config"]["secrets"], [MASK, MASK])
        self.assertEqual(found["config"]["client_key"], "/etc/key.pem")
        env = {"SESSION_COOKIE": "c", "DB_TOKEN": "t", "CLIENT_SECRET": "s", "PORT": "1"}
        found = masked_document(parse_entry(entry("process", {"env": env})))
        assert isinstance(found, dict) and isinstance(found["config"], dict)
        self.assertEqual(
            found["config"]["env"],
            {"SESSION_COOKIE": MASK, "DB_TOKEN": MASK, "CLIENT_SECRET": MASK, "PORT": "1"},
        )

    def test_addresses(self) -> None:
        """Who asks, in an address, is masked; so is a variable that is one with a password."""
        for endpoint, shown in (
            ("https://me:p@w@host:8/in?a=b@c", "https://***@host:8/in?a=b@c"),
            ("me:pw@host/in", "***@host/in"),
            ("http://key@host", "http://***@host"),
            ("http://host:8/a@b", "http://host:8/a@b"),
            ("db.example/in", "db.example/in"),
        ):
            found: Any = masked_document(http(endpoint=endpoint))
            self.assertEqual(found["config"]["endpoint"], shown)
        env = {"DATABASE": "postgres://me:pw@host/db", "MAIL": "me@host", "PLACE": "http://me@host"}
        found = masked_document(parse_entry(entry("process", {"env": env})))
        self.assertEqual(found["config"]["env"], {**env, "DATABASE": MASK})

    def test_unavailable(self) -> None:
        """What cannot be used is masked all the same."""
        found = masked_document(
            parse_entry(entry("magic", {"headers": {"cookie": "c"}, "secret": "s"}))
        )
        assert isinstance(found, dict)
        self.assertEqual(
            found["config"], {"type": "magic", "headers": {"cookie": MASK}, "secret": MASK}
        )
        self.assertEqual(masked_document(parse_entry(3)), 3)


def http(**config: Any) -> Entry:
    """Return a web hook."""
    return parse_entry(entry(config={"endpoint": "http://a/", **config}))


class Unmasking(SynchronousTestCase):
    """What was seen masked and is sent back."""

    def test_masks_keep_what_is_stored(self) -> None:
        """A mask stands for the stored value of its name; other values are new."""
        stored = http(headers={"Authorization": "Bearer x", "X-Key": "k"}, secret="one")
        sent: dict[str, Any] = {
            "type": "http",
            "headers": {"Authorization": MASK, "X-Key": "new", "X-More": "m"},
            "secret": MASK,
        }
        self.assertEqual(
            unmasked(sent, stored),
            {
                "type": "http",
                "headers": {"Authorization": "Bearer x", "X-Key": "new", "X-More": "m"},
                "secret": "one",
            },
        )
        self.assertEqual(sent["secret"], MASK)

    def test_places_in_a_list_of_secrets(self) -> None:
        """Masks in a list stand for the secrets at their places, a single one for the first."""
        two = http(secrets=["one", "two"])
        self.assertEqual(unmasked({"secrets": ["new", MASK]}, two)["secrets"], ["new", "two"])
        single = http(secret="one")
        self.assertEqual(unmasked({"secrets": [MASK, "new"]}, single)["secrets"], ["one", "new"])

    def test_user_of_an_endpoint(self) -> None:
        """A masked user stands for the stored one, also when the place is another."""
        stored = http(endpoint="https://me:pw@a/in")
        for given, wanted in (
            ("https://***@a/in", "https://me:pw@a/in"),
            ("https://***@b/in", "https://me:pw@b/in"),
            ("https://you:no@a/in", "https://you:no@a/in"),
            ("https://a/in", "https://a/in"),
        ):
            self.assertEqual(unmasked({"endpoint": given}, stored)["endpoint"], wanted)

    def test_round_trip(self) -> None:
        """What is shown, sent back, is what is stored."""
        for stored in (
            http(headers={"Cookie": "c", "X-Plain": "p"}, secrets=["one", "two"]),
            http(endpoint="http://me:pw@a/"),
            parse_entry(entry("process", {"env": {"DB_TOKEN": "t", "PORT": "1"}})),
        ):
            shown: Any = masked_document(stored)
            self.assertNotEqual(shown["config"], {})
            back = parse_entry({**shown, "config": unmasked(shown["config"], stored)})
            self.assertEqual(back, stored)

    def test_mask_of_nothing(self) -> None:
        """A mask where nothing is stored is refused, and names the place."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"headers": {"X-Key": MASK}}, "headers 'X-Key'"),
            ({"env": {"A": MASK}}, "env 'A'"),
            ({"secret": MASK}, "secret"),
            ({"endpoint": f"http://{MASK}@a/"}, "endpoint's user"),
            ({"secrets": ["a", MASK]}, "secrets"),
        ]
        for sent, place in cases:
            for stored in (None, http(), http(secret=None), parse_entry(3)):
                error = self.assertRaises(ConfigError, unmasked, sent, stored)
                self.assertIn(place, str(error))
