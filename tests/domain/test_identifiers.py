"""What names may look like, and the words in which others are refused."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.identifiers import (
    check_aggregate_id,
    check_aggregate_type,
    check_domain_name,
    check_metadata,
    check_note,
    normalise_event_type,
    normalise_extension_key,
)
from eventdbx.errors import ConfigError, EventDBXError, InvalidSchema

SNAKE = "aggregate_type must be lowercase snake_case"
DOTTED = "event_type must be lowercase snake_case; dots may be used as separators"
SPACES = "aggregate_id cannot include leading or trailing whitespace"
LETTERS = "aggregate_id may only contain letters, numbers, underscores, or hyphens"

TYPES = (
    ("order", None),
    ("o", None),
    ("order_2_", None),
    ("a" * 128, None),
    ("a" * 129, "aggregate_type cannot exceed 128 characters"),
    ("", SNAKE),
    ("Order", SNAKE),
    ("_order", SNAKE),
    ("2order", SNAKE),
    ("or-der", SNAKE),
    ("a.b", SNAKE),
    ("order\n", SNAKE),
    (" order", SNAKE),
    ("\u00f6rder", SNAKE),
)

IDS = (
    ("o-1", None),
    ("0", None),
    ("A_b-", None),
    ("x" * 128, None),
    ("", "aggregate_id must not be empty"),
    (" ", SPACES),
    ("o-1\n", SPACES),
    ("\u3000o", SPACES),
    ("x" * 129, "aggregate_id cannot exceed 128 characters"),
    ("\u00e9" * 65, "aggregate_id cannot exceed 128 characters"),
    ("\u00e9" * 64, LETTERS),
    ("-o", LETTERS),
    ("_o", LETTERS),
    ("o 1", LETTERS),
    ("o.1", LETTERS),
    ("o\x1f", LETTERS),
    ("\u0663", LETTERS),
)

EVENTS = (
    ("order_paid", "order_paid"),
    ("order.paid", "order_paid"),
    ("a.b.c_d", "a_b_c_d"),
    ("a" * 128, "a" * 128),
)

BAD_EVENTS = (
    ("a" * 129, "event_type cannot exceed 128 characters"),
    ("A" * 129, "event_type cannot exceed 128 characters"),
    ("", DOTTED),
    ("patient-added", DOTTED),
    ("a..b", DOTTED),
    (".a", DOTTED),
    ("a.", DOTTED),
    ("a.1", DOTTED),
    ("a\n", DOTTED),
    ("_ref_nullify", DOTTED),
)

KEYS = (
    ("@source", "@source"),
    ("@createdBy", "@created_by"),
    ("@HTTPCode", "@h_t_t_p_code"),
    ("@Trace_Id", "@trace_id"),
    ("@x-Y", "@x-_y"),
    ("@A", "@a"),
    ("@a1B", "@a1_b"),
)


class NameTests(SynchronousTestCase):
    """Aggregates, events and what is attached to them."""

    def check(self, check: Callable[[str], object], name: str, message: str | None) -> None:
        if message is None:
            check(name)
            return
        error = self.assertRaises(InvalidSchema, check, name)
        self.assertEqual(error.detail, message, repr(name))

    def test_aggregate_types(self) -> None:
        """Aggregate types are lowercase snake case."""
        for name, message in TYPES:
            self.check(check_aggregate_type, name, message)

    def test_aggregate_ids(self) -> None:
        """Ids are letters, digits, hyphens and underscores, and the first fault is named."""
        for name, message in IDS:
            self.check(check_aggregate_id, name, message)

    def test_event_types(self) -> None:
        """Dots in event types become underscores."""
        for raw, name in EVENTS:
            self.assertEqual(normalise_event_type(raw), name)
        for raw, message in BAD_EVENTS:
            self.check(normalise_event_type, raw, message)

    def test_notes(self) -> None:
        """Notes have at most 128 characters, however many bytes these take."""
        check_note("")
        check_note("\U0001f600" * 128)
        self.check(check_note, "n" * 129, "event note cannot exceed 128 characters")

    def test_metadata(self) -> None:
        """Metadata is an object with @names for keys."""
        check_metadata({})
        check_metadata({"@source": None, "@A-b_1": {"x": 1}})
        others: tuple[object, ...] = (None, [], "x", 1)
        for value in others:
            error = self.assertRaises(InvalidSchema, check_metadata, value)
            self.assertEqual(error.detail, "metadata must be a JSON object")
        for key in ("", "source", "@", "@_a", "@-a", "@a.b", "@a\n", "@\u00e9"):
            error = self.assertRaises(InvalidSchema, check_metadata, {"@ok": 1, key: 1})
            self.assertEqual(
                error.detail,
                f"metadata key '{key}' must start with '@' followed by letters, numbers, "
                "underscores, or hyphens",
            )

    def test_extension_keys(self) -> None:
        """Aggregates keep metadata under names in snake case."""
        for key, kept in KEYS:
            self.assertEqual(normalise_extension_key(key), kept)
            self.assertEqual(normalise_extension_key(kept), kept)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever text arrives as a name, it is taken or refused."""
        for check in (check_aggregate_type, check_aggregate_id, normalise_event_type):
            try:
                check(text)
            except InvalidSchema:
                continue
            self.assertTrue(text.isascii() and 0 < len(text) <= 128)


class DomainNameTests(SynchronousTestCase):
    """Names of domains."""

    def test_accepted(self) -> None:
        """Names of domains are trimmed and lowered."""
        for raw, name in (
            ("default", "default"),
            (" DEFAULT\n", "default"),
            ("9-a_b", "9-a_b"),
            ("a" * 64, "a" * 64),
        ):
            self.assertEqual(check_domain_name(raw), name)

    def test_refused(self) -> None:
        """A refusal says what is wrong, about whatever the caller calls the thing."""
        for raw, message in (
            ("", "tenant id cannot be empty"),
            (" \t", "tenant id cannot be empty"),
            ("-a", "tenant id must begin with an ASCII letter or digit"),
            ("\u00e9", "tenant id must begin with an ASCII letter or digit"),
            ("../etc", "tenant id must begin with an ASCII letter or digit"),
            ("a/b", "tenant id may only contain letters, numbers, '-' or '_'"),
            ("a.b", "tenant id may only contain letters, numbers, '-' or '_'"),
            ("a\u212a", "tenant id may only contain letters, numbers, '-' or '_'"),
            ("a" * 65, "tenant id cannot exceed 64 characters"),
        ):
            error = self.assertRaises(ConfigError, check_domain_name, raw)
            self.assertEqual(error.detail, message)
        error = self.assertRaises(ConfigError, check_domain_name, "", noun="domain name")
        self.assertEqual(error.detail, "domain name cannot be empty")

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever text arrives, no name comes out that could leave a directory."""
        try:
            name = check_domain_name(text)
        except EventDBXError:
            return
        self.assertRegex(name, r"\A[a-z0-9][a-z0-9_-]{0,63}\Z")
