"""What a token allows: the table of patterns, and the rules around them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.events import Actor
from eventdbx.domain.grants import Grant, aggregate_resource, covers, matches
from eventdbx.errors import Unauthorized

TABLE = (
    ("aggregate.*", "aggregate.read", True),
    ("aggregate.*", "aggregate", False),
    ("*.read", "schema.read", True),
    ("*.*", "replication", True),
    ("*.", "aggregate.", True),
    ("aggregate.re?d", "aggregate.read", True),
    ("Aggregate.read", "aggregate.read", False),
    ("aggregate.read,aggregate.append", "aggregate.read", False),
    ("", "aggregate.read", False),
    ("aggregate:order:*", "aggregate:order:o-1", True),
    ("aggregate:order:*", "aggregate:order_item:x", False),
    ("aggregate:order*", "aggregate:order_item:x", True),
    ("aggregate:*:o-1", "aggregate:x:o-1", True),
    ("aggregate:order:o-?", "aggregate:order:o-1", True),
    ("aggregate:order:o-?", "aggregate:order:o-10", False),
    ("order:*", "aggregate:order:o-1", False),
    ("*.*", "aggregate:order:o-1", True),
    ("**", "anything", True),
    ("aggregate:order", "aggregate:order:o-1", False),
    ("*", "", True),
    ("a*", "a*b", True),
)

ALPHABET = st.text(alphabet="ab.:*?", max_size=12)


class Patterns(SynchronousTestCase):
    """One matcher serves actions and resources."""

    def test_table(self) -> None:
        """Each documented pair of pattern and candidate is decided as documented."""
        for pattern, candidate, expected in TABLE:
            self.assertIs(matches(pattern, candidate), expected, (pattern, candidate))

    @given(ALPHABET, st.text(alphabet="ab.:", max_size=12))
    def test_like_a_regular_expression(self, pattern: str, candidate: str) -> None:
        """A star is any run and a question mark any one character, wherever they stand."""
        parts = {"*": ".*", "?": "."}
        model = "".join(parts.get(letter, re.escape(letter)) for letter in pattern)
        expected = pattern == "*.*" or re.fullmatch(model, candidate, re.DOTALL) is not None
        self.assertIs(matches(pattern, candidate), expected)

    def test_long_patterns(self) -> None:
        """A pattern beyond the documented length fits nothing, even if it is all stars."""
        self.assertTrue(matches("*" * 256, "x"))
        self.assertFalse(matches("*" * 257, "x"))

    def test_hostile_pattern(self) -> None:
        """A pattern made to go back for ever is decided like any other."""
        self.assertFalse(matches("*a" * 100 + "b", "a" * 128))


class Covering(SynchronousTestCase):
    """Whether a pattern matches whatever another one does."""

    def test_table(self) -> None:
        """The cases that one meets."""
        for wide, pattern, expected in (
            ("*.*", "*", True),
            ("*", "*.*", True),
            ("**", "*.*", True),
            ("*.?", "*.*", False),
            ("aggregate.*", "aggregate.read", True),
            ("aggregate.*", "aggregate.*", True),
            ("aggregate.*", "aggregate*", False),
            ("aggregate.read", "aggregate.*", False),
            ("aggregate:order:*", "aggregate:order:o-?", True),
            ("aggregate:order:?", "aggregate:order:*", False),
            ("aggregate:order:?*", "aggregate:order:*", False),
            ("aggregate:order:*?", "aggregate:order:?*", True),
            ("aggregate:order:?", "aggregate:order:?", True),
            ("aggregate:order:a", "aggregate:order:?", False),
            ("a*b", "aXb*b", True),
            ("a*b", "a*", False),
            ("*" * 257, "a", False),
            ("", "", True),
            ("a", "", False),
        ):
            self.assertIs(covers([wide], pattern), expected, (wide, pattern))
        self.assertTrue(covers(["x", "a*"], "ab"))
        self.assertFalse(covers([], "a"))

    @given(ALPHABET, ALPHABET, st.text(alphabet="ab.:", max_size=12))
    def test_never_wrongly(self, wide: str, pattern: str, candidate: str) -> None:
        """What the covered pattern matches, the covering one does as well."""
        if covers([wide], pattern) and matches(pattern, candidate):
            self.assertTrue(matches(wide, candidate))

    @given(ALPHABET)
    def test_itself(self, pattern: str) -> None:
        """A pattern covers itself, and everything covers it."""
        self.assertTrue(covers([pattern], pattern))
        self.assertTrue(covers(["*"], pattern))


class Allowing(SynchronousTestCase):
    """What the holder of a grant may do."""

    def test_actions_and_resources(self) -> None:
        """Both the action and the resource must be covered."""
        grant = Grant("j", "s", actions=("aggregate.read",), resources=("aggregate:order:*",))
        self.assertTrue(grant.allows("aggregate.read"))
        self.assertTrue(grant.allows("aggregate.read", aggregate_resource("order", "1")))
        self.assertFalse(grant.allows("aggregate.read", aggregate_resource("person", "1")))
        self.assertFalse(grant.allows("aggregate.append", aggregate_resource("order", "1")))
        grant.require("aggregate.read")
        self.assertRaises(Unauthorized, grant.require, "schema.read")

    def test_empty_lists(self) -> None:
        """Without actions nothing is allowed; without resources every resource is."""
        self.assertFalse(Grant("j", "s", resources=("*",)).allows("aggregate.read"))
        grant = Grant("j", "s", actions=("aggregate.*",))
        self.assertTrue(grant.allows("aggregate.read", "aggregate:a:b"))

    def test_root(self) -> None:
        """The operator's token may do everything, also what has no dot in its name."""
        grant = Grant("j", "s", actions=("*.*",), resources=("*",))
        self.assertTrue(grant.allows("replication", "aggregate:a:b"))
        self.assertTrue(grant.sees_everything)
        self.assertFalse(Grant("j", "s", resources=("aggregate:*",)).sees_everything)

    def test_tenants(self) -> None:
        """A token is bound to the tenants it names, in any case; to none if it names none."""
        self.assertTrue(Grant("j", "s").allows_tenant("any"))
        grant = Grant("j", "s", tenants=("acme",))
        self.assertTrue(grant.allows_tenant("ACME"))
        self.assertFalse(grant.allows_tenant("acme2"))
        self.assertFalse(Grant("j", "s", tenants=("*",)).allows_tenant("acme"))

    def test_handing_on(self) -> None:
        """What may be handed on is covered in each of three ways."""
        grant = Grant("j", "s", actions=("aggregate.*",), resources=("aggregate:order:*",))
        self.assertTrue(grant.may_hand_on(["aggregate.read"], ["aggregate:order:1"], []))
        self.assertTrue(grant.may_hand_on(["aggregate.read"], ["aggregate:order:1"], ["any"]))
        self.assertFalse(grant.may_hand_on(["aggregate.read"], [], []))
        self.assertFalse(grant.may_hand_on(["aggregate.read"], ["aggregate:*"], []))
        self.assertFalse(grant.may_hand_on(["schema.read"], ["aggregate:order:1"], []))
        bound = Grant("j", "s", actions=("*.*",), tenants=("acme",))
        self.assertTrue(bound.may_hand_on(["*.*"], [], ["ACME"]))
        self.assertFalse(bound.may_hand_on(["*.*"], [], []))
        self.assertFalse(bound.may_hand_on(["*.*"], [], ["acme", "other"]))

    def test_actor(self) -> None:
        """A token without group or user may read, but no write can be recorded for it."""
        self.assertEqual(Grant("j", "s", group="g", user="u").actor, Actor("g", "u"))
        nameless = Grant("j", "s", group="g", actions=("*.*",))
        self.assertIsNone(nameless.actor)
        self.assertTrue(nameless.allows("aggregate.read"))
        self.assertRaises(Unauthorized, nameless.require_actor)
