"""Opening domains: which exist, who may make them, and what their salts are made of."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.config import Config, Tenants
from eventdbx.errors import ConfigError
from eventdbx.services.stores import StoreService, pooled_entropy
from eventdbx.storage.hops import synchronous


class EntropyTests(SynchronousTestCase):
    """Salts."""

    def test_never_the_same_bytes_twice(self) -> None:
        """Bytes are handed out once, in the order in which the system gave them."""
        asked: list[int] = []

        def source(count: int) -> bytes:
            asked.append(count)
            return bytes((len(asked),)) * count

        take = pooled_entropy(source)
        self.assertEqual([take(16) for _ in range(256)], [b"\x01" * 16] * 256)
        self.assertEqual(take(16), b"\x02" * 16)
        self.assertEqual(len(take(10_000)), 10_000)
        self.assertEqual(asked, [4_096, 4_096, 10_000])


class StoreServiceTests(SynchronousTestCase):
    """Domains of one installation."""

    def make(self, **config: object) -> tuple[StoreService, Path]:
        """Return a started service over an empty folder, closed when the test ends."""
        folder = Path(self.mktemp())
        service = StoreService(
            Config(**config),  # type: ignore[arg-type]
            store_path=lambda name: folder / name / "event_store",
            plugins_path=lambda name: folder / name / "plugins.json",
            make_hop=synchronous,
            clock=Clock(),
            on_failure=lambda failure: None,
        )
        service.startService()
        self.addCleanup(lambda: self.successResultOf(service.stopService()))
        return service, folder

    def test_active_domain(self) -> None:
        """Without a name the active domain is meant; it is made when it does not exist."""
        service, folder = self.make()
        self.assertEqual(service.domain(None).name, "default")
        self.assertIs(service.domain(" DEFAULT "), service.domain(None))
        self.assertTrue((folder / "default" / "event_store").is_dir())

    def test_name_without_opening(self) -> None:
        """A name can be looked up in a form that opens nothing."""
        service, folder = self.make()
        (folder / "acme" / "event_store").mkdir(parents=True)
        self.assertEqual(service.name_of(" ACME "), "acme")
        self.assertEqual(service.name_of(None), "default")
        self.assertEqual([one.name for one in service.opened()], ["default"])
        self.assertRaises(ConfigError, service.name_of, "nope")
        self.assertEqual(service.domain("acme").name, "acme")
        self.assertEqual([one.name for one in service.opened()], ["default", "acme"])

    def test_unknown_and_malformed(self) -> None:
        """A name in a hello never makes a domain."""
        service, folder = self.make()
        for name, message in (
            ("nope", "domain 'nope' does not exist"),
            ("../x", "tenant id must begin with an ASCII letter or digit"),
            ("", "tenant id cannot be empty"),
        ):
            error = self.assertRaises(ConfigError, service.domain, name)
            self.assertEqual(error.detail, message)
        self.assertEqual([one.name for one in folder.iterdir()], ["default"])

    def test_multi_tenant_mode_wants_a_name(self) -> None:
        """With multi-tenant mode on, a hello must name its tenant."""
        service, _folder = self.make(tenants=Tenants(multi_tenant=True))
        error = self.assertRaises(ConfigError, service.domain, None)
        self.assertEqual(error.detail, "tenantId is required when multi-tenant mode is enabled")
