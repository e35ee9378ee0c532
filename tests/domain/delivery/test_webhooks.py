"""Tests of what stands in the headers of webhooks."""

from __future__ import annotations

import re
import time
from base64 import b64encode
from email.utils import formatdate
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.delivery import webhooks
from eventdbx.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


class Signatures(SynchronousTestCase):
    """Standard Webhooks."""

    def test_the_published_vector(self) -> None:
        """The example of the specification, whole and in pieces."""
        key = webhooks.hmac_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        id_ = "msg_p5jXN8AQM9LWM0D4loKWxJek"
        expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        for body in ([b'{"test": 2432232314}'], [b'{"test"', b": 2432232314}"]):
            self.assertEqual(key.sign(id_, 1614265330, body), expected)

    def test_the_program_of_the_documentation_verifies(self) -> None:
        """It takes what is signed, and nothing else."""
        text = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
        [program] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        names: dict[str, Any] = {}
        exec(compile(program, "webhooks.md", "exec"), names)
        verify, secret, now = names["verify"], "whsec_" + b64encode(bytes(32)).decode(), time.time()

        def headers(timestamp: int, *secrets: str) -> dict[str, str]:
            signed = [webhooks.hmac_key(one).sign("a_1", timestamp, [b"{}"]) for one in secrets]
            return {
                "webhook-id": "a_1",
                "webhook-timestamp": str(timestamp),
                "webhook-signature": " ".join(signed),
            }

        other = "whsec_" + b64encode(b"x" * 24).decode()
        self.assertTrue(verify(secret, headers(int(now), secret), b"{}"))
        self.assertTrue(verify(secret, headers(int(now), other, secret), b"{}"))
        self.assertFalse(verify(secret, headers(int(now), other), b"{}"))
        self.assertFalse(verify(secret, headers(int(now), secret), b"[]"))
        self.assertFalse(verify(secret, headers(int(now) - 3600, secret), b"{}"))

    def test_the_length_of_a_secret_is_checked(self) -> None:
        """From 24 to 64 bytes; the prefix may be missing."""
        for count in (24, 64):
            webhooks.hmac_key("whsec_" + b64encode(bytes(count)).decode())
            webhooks.hmac_key(b64encode(bytes(count)).decode())
        for count in (0, 23, 65):
            with self.assertRaises(ConfigError):
                webhooks.hmac_key("whsec_" + b64encode(bytes(count)).decode())

    def test_errors_do_not_tell_the_secret(self) -> None:
        """They end up in logs."""
        for secret in ("whsec_hunter2!", "whsec_aHVudGVyMg==", "hunter2"):
            with self.assertRaises(ConfigError) as caught:
                webhooks.hmac_key(secret)
            self.assertNotIn("hunter2", str(caught.exception))
            self.assertNotIn("aHVudGVyMg", str(caught.exception))
        with self.assertRaises(ConfigError):
            webhooks.ed25519_seed("whsk_" + b64encode(bytes(31)).decode())


class Ids(SynchronousTestCase):
    """What a receiver tells deliveries apart by."""

    def test_an_id_names_plugin_domain_and_event(self) -> None:
        """Other characters become underscores."""
        self.assertEqual(webhooks.delivery_id("hook", "default", [17]), "hook_default_17")
        self.assertEqual(webhooks.delivery_id("my höok.x", "a/b", [17]), "my_h_ok_x_a_b_17")

    def test_batches_of_other_events_have_other_ids(self) -> None:
        """Also when they begin with the same event and are as long."""

        def batch(*event_ids: int) -> str:
            return webhooks.delivery_id("hook", "default", event_ids, batched=True)

        self.assertEqual(batch(17), "hook_default_17_1")
        self.assertEqual(batch(17, 18, 19), batch(17, 18, 19))
        self.assertRegex(batch(17, 18, 19), "^hook_default_17_3_[0-9a-f]{16}$")
        self.assertEqual(len({batch(17, 18, 19), batch(17, 18, 20), batch(17, 1, 819)}), 3)


class Words(SynchronousTestCase):
    """Parts of messages."""

    def test_statuses_have_their_names(self) -> None:
        """Also those that Python calls otherwise, and those without a name."""
        for code, text in (
            (503, "503 Service Unavailable"),
            (413, "413 Payload Too Large"),
            (599, "599 <unknown status code>"),
            (7, "7 <unknown status code>"),
        ):
            self.assertEqual(webhooks.status_text(code), text)

    def test_an_excerpt_has_256_characters(self) -> None:
        """Cut between characters, trimmed first."""
        self.assertEqual(webhooks.excerpt(b"  why not\n"), "why not")
        self.assertEqual(webhooks.excerpt(b""), "")
        self.assertEqual(webhooks.excerpt("世".encode() * 256), "世" * 256)
        self.assertEqual(webhooks.excerpt("世".encode() * 257), "世" * 256 + "…")
        self.assertEqual(webhooks.excerpt(b"\xff"), "\ufffd")

    def test_retry_after_is_seconds_or_a_date(self) -> None:
        """At most an hour, never in the past, never an error."""
        now_s = 1_700_000_000.0
        for value, expected in (
            (None, None),
            ("17", 17.0),
            (" 17 ", 17.0),
            ("0", None),
            ("999999", 3600.0),
            ("9" * 5000, 3600.0),
            ("-3", None),
            ("soon", None),
            ("1.5", None),
            (formatdate(now_s + 90, usegmt=True), 90.0),
            (formatdate(now_s - 90, usegmt=True), None),
            (formatdate(now_s + 90_000, usegmt=True), 3600.0),
            ("Mon, 99 Foo 2023 00:00:00 GMT", None),
        ):
            self.assertEqual(webhooks.retry_after_s(value, now_s), expected, value)
