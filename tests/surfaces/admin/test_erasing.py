"""Erasure over HTTP: what it answers, what it refuses, what the audit trail has of it."""

from __future__ import annotations

from tests.surfaces.admin.visiting import Visit


class ErasingTests(Visit):
    """A server with some orders."""

    server = "erasing"

    def write(self, name: str, subject: str | None = None) -> None:
        """Write one event of an order."""
        more = () if subject is None else ("--metadata", f'{{"@subject":"{subject}"}}')
        workspace = self.place.workspace
        workspace.attempt("aggregate", "create", "order", name, "--event", "order_made", *more)
        workspace.run("aggregate", "apply", "order", name, "order_paid", "--field", "a=b", *more)

    def test_aggregate(self) -> None:
        """One order: first what would go, then it is gone, then there is nothing to do."""
        self.write("e-1")
        path = "/aggregates/order/e-1/erase"
        dry = self.good(200, "POST", path, {"reason": "asked for", "dry_run": True})
        self.assertEqual((dry["scope"], dry["aggregates"], dry["events"]), ("aggregate", 1, 2))
        self.assertEqual(self.good(200, "GET", "/aggregates/order/e-1")["state"], {"a": "b"})
        done = self.good(200, "POST", path, {"reason": "asked for"})
        self.assertEqual(done, dry)
        self.assertEqual(self.good(200, "GET", "/aggregates/order/e-1")["state"], {})
        events = self.good(200, "GET", "/aggregates/order/e-1/events")
        self.assertEqual([one.get("erased", False) for one in events], [True, True, False])
        self.assertEqual(events[2]["payload"]["reason"], "asked for")
        self.good(200, "GET", "/aggregates/order/e-1/verify")
        again = self.good(200, "POST", path, {"reason": "asked for"})
        self.assertEqual((again["aggregates"], again["events"]), (0, 0))
        actions = self.good(200, "GET", "/audit?area=erasures&resource=order/e-1")
        self.assertEqual(len(actions), 1)

    def test_subject(self) -> None:
        """Somebody in two orders, whom nothing names afterwards."""
        for name in ("e-2", "e-3"):
            self.write(name, "anna-quebec-7")
        done = self.good(
            200, "POST", "/subjects/erase", {"subject": "anna-quebec-7", "reason": "asked for"}
        )
        self.assertEqual((done["scope"], done["aggregates"], done["events"]), ("subject", 2, 4))
        actions = self.good(200, "GET", "/audit?area=erasures")
        self.assertEqual((actions[0]["resource"], actions[0]["event"]), ("subject", "erased"))
        self.assertEqual(actions[0]["details"]["aggregates"], 2)
        self.assertNotIn("anna-quebec-7", str(actions))
        self.assertNotIn("anna-quebec-7", self.place.workspace.log)

    def test_what_is_refused(self) -> None:
        """What is not there, and bodies that are wrong."""
        reason = {"reason": "r"}
        for status, path, body in (
            (404, "/aggregates/order/none/erase", reason),
            (422, "/aggregates/order/e-1/erase", {}),
            (422, "/aggregates/order/e-1/erase", {"reason": ""}),
            (422, "/aggregates/order/e-1/erase", {**reason, "more": 1}),
            (422, "/subjects/erase", reason),
            (422, "/subjects/erase", {**reason, "subject": ""}),
        ):
            self.assertTrue(self.refused(status, "POST", path, body), path)
