"""Webhooks over TLS: whom a delivery trusts, and who it says it is."""

from __future__ import annotations

from typing import Any

from tests.plugins.targets import LOOPBACK, SecuredCase
from tests.plugins.test_http import HttpCase


class Secured(HttpCase, SecuredCase):
    """HTTPS: the target is always verified."""

    async def test_a_verified_target_gets_events(self) -> None:
        """The authority may be one's own; connections are kept, but for that of the check."""
        sink, url = self.sink(tls=self.server())
        delivery = self.delivery(url, ca_file=self.path("authority.pem"))
        await delivery.check()
        for _ in range(3):
            await self.post(delivery)
        self.assertEqual((sink.counts.deliveries, sink.connections), (3, 2))

    async def test_a_target_of_another_authority_gets_nothing(self) -> None:
        """Neither with one's own authorities nor with those of the system."""
        sink, url = self.sink(tls=self.server())
        for authority in (self.path("other.pem"), None):
            failed = await self.failure(self.delivery(url, ca_file=authority))
            self.assertEqual(
                failed.reason,
                f"storage error: error sending request for url ({url}/): "
                "TLS: certificate verify failed",
            )
            self.assertTrue(failed.unavailable)
        self.assertEqual(sink.counts.deliveries, 0)

    async def test_a_target_of_another_name_gets_nothing(self) -> None:
        """Its certificate is for an address, and is asked for by name."""
        sink, url = self.sink(tls=self.server())
        named = url.replace(LOOPBACK, "localhost")
        failed = await self.failure(self.delivery(named, ca_file=self.path("authority.pem")))
        self.assertIn("TLS: the certificate is for another name", failed.reason)
        self.assertEqual(sink.counts.deliveries, 0)

    async def test_a_target_may_ask_for_our_certificate(self) -> None:
        """With it events are accepted, without it they are not."""
        sink, url = self.sink(tls=self.server("authority.pem"))
        options: dict[str, Any] = {"ca_file": self.path("authority.pem")}
        shown = self.delivery(
            url,
            client_cert=self.path("client.pem"),
            client_key=self.path("client.key"),
            **options,
        )
        await self.post(shown)
        failed = await self.failure(self.delivery(url, **options))
        self.assertIn("certificate required", failed.reason)
        self.assertEqual(sink.counts.deliveries, 1)
