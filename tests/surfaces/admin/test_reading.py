"""What is only read: aggregates, the audit trail, the status."""

from __future__ import annotations

from typing import Any

from tests.surfaces.admin.visiting import Visit


class ReadingVisit(Visit):
    """A few aggregates of two types, made once."""

    server = "reading"
    made = False

    def setUp(self) -> None:
        super().setUp()
        if not ReadingVisit.made:
            run = self.place.workspace.run
            for kind, name in (("parcel", "p-1"), ("parcel", "p-2"), ("letter", "l-1")):
                run("aggregate", "create", kind, name, "--event", "made", "--field", "size=1")
            run("aggregate", "apply", "parcel", "p-1", "sent", "--field", "to=x")
            ReadingVisit.made = True
        self.parcels = self.scoped("aggregate:parcel:*")

    def scoped(self, resource: str) -> str:
        """Return a token that may read some aggregates."""
        body = {"group": "g", "user": "u", "actions": ["aggregate.read"], "resources": [resource]}
        token: str = self.good(201, "POST", "/tokens", body)["token"]
        return token


class AggregateTests(ReadingVisit):
    """Aggregates."""

    def names(self, path: str, token: str | None = None) -> list[str]:
        """Return the ids on all pages of a list."""
        found: list[str] = []
        while path:
            answer = self.call("GET", path, token=token)
            self.assertEqual(answer.status, 200, answer.document)
            found += [one["aggregate_id"] for one in answer.document]
            link = answer.headers.get("link", "")
            path = link[len("</admin") : link.index(">")] if link else ""
        return found

    def test_lists(self) -> None:
        """Lists come in pages, filtered and sorted; a token sees what it may read."""
        self.assertEqual(self.names("/aggregates?limit=1"), ["l-1", "p-1", "p-2"])
        self.assertEqual(self.names("/aggregates?limit=1", self.parcels), ["p-1", "p-2"])
        self.assertEqual(self.names("/aggregates?filter=version%20%3E%201"), ["p-1"])
        self.assertEqual(self.names("/aggregates?sort=version:desc&limit=1")[0], "p-1")
        self.assertEqual(self.names("/aggregates?scope=archived"), [])
        for query in ("filter=%3D", "sort=nope", "cursor=nope", "scope=some", "limit=0"):
            self.refused(400, "GET", f"/aggregates?{query}")
        self.refused(404, "GET", "/aggregates?domain=nowhere")

    def test_one(self) -> None:
        """One aggregate has an entity tag; what one may not read is refused."""
        answer = self.call("GET", "/aggregates/parcel/p-1")
        self.assertEqual((answer.document["version"], answer.document["state"]["to"]), (2, "x"))
        etag = answer.headers["etag"]
        again = self.call("GET", "/aggregates/parcel/p-1", If_None_Match=etag)
        self.assertEqual((again.status, again.document), (304, None))
        self.good(200, "GET", "/aggregates/parcel/p-1", token=self.parcels)
        self.refused(403, "GET", "/aggregates/letter/l-1", token=self.parcels)
        self.refused(404, "GET", "/aggregates/letter/l-9")
        self.refused(404, "GET", "/aggregates/dbx_admin/tokens")

    def test_events_and_proof(self) -> None:
        """Events of one aggregate, oldest first, and the root that proves them."""
        events = self.good(200, "GET", "/aggregates/parcel/p-1/events")
        self.assertEqual([one["event_type"] for one in events], ["made", "sent"])
        page = self.call("GET", "/aggregates/parcel/p-1/events?limit=1")
        self.assertEqual(len(page.document), 1)
        self.assertIn("x-next-cursor", page.headers)
        proof = self.good(200, "GET", "/aggregates/parcel/p-1/verify")
        head = self.good(200, "GET", "/aggregates/parcel/p-1")
        self.assertEqual(proof["merkle_root"], head["merkle_root"])
        for what in ("events", "verify"):
            self.refused(404, "GET", f"/aggregates/parcel/p-9/{what}")
            self.refused(403, "GET", f"/aggregates/letter/l-1/{what}", token=self.parcels)


class AuditTests(ReadingVisit):
    """The trail."""

    def test_what_was_done(self) -> None:
        """A change is found by area, resource and actor, with who and through what; and proven."""
        body = {"group": "g", "user": "u", "actions": ["aggregate.read"]}
        record = self.good(201, "POST", "/tokens", body)
        self.good(204, "POST", f"/tokens/{record['jti']}/revoke")
        found = self.good(200, "GET", f"/audit?area=tokens&resource={record['jti']}")
        self.assertEqual(
            [(one["event"], one["way"], one["subject"]) for one in found],
            [
                ("token_revoked", "POST /admin/tokens/{token}/revoke", "cli:bootstrap"),
                ("token_issued", "POST /admin/tokens", "cli:bootstrap"),
            ],
        )
        self.assertEqual(found[1]["peer"], "127.0.0.1")
        self.assertEqual(len(found[1]["after"]), 64)
        self.assertNotIn(record["token"], str(self.good(200, "GET", "/audit")))
        newest = self.good(200, "GET", "/audit?area=tokens&limit=1")[0]
        proof = self.good(200, "GET", "/audit/tokens/verify")
        self.assertEqual(proof, {"area": "tokens", "merkle_root": newest["merkle_root"]})

    def test_pages(self) -> None:
        """Pages lead from the newest to the oldest without gaps."""
        whole = self.ids("/audit?limit=1000")
        self.assertGreater(len(whole), 3)
        self.assertEqual(whole, sorted(whole, reverse=True))
        self.assertEqual(self.ids("/audit?limit=2"), whole)

    def ids(self, path: str) -> list[int]:
        """Return the ids on all pages."""
        found: list[int] = []
        while path:
            answer = self.call("GET", path)
            found += [int(one["event_id"]) for one in answer.document]
            link = answer.headers.get("link", "")
            path = link[len("</admin") : link.index(">")] if link else ""
        return found

    def test_refused(self) -> None:
        """Times and areas that are none; tokens without the right."""
        for query in ("since=yesterday", "area=nope", "cursor=x"):
            self.refused(400, "GET", f"/audit?{query}")
        self.refused(404, "GET", "/audit/nope/verify")
        self.refused(401, "GET", "/audit", token=self.parcels)
        self.assertEqual(self.good(200, "GET", "/audit?since=2200-01-01T00:00:00Z"), [])


class StatusTests(ReadingVisit):
    """The server itself."""

    def test_status(self) -> None:
        """What it is, since when, where it listens, which domains are open."""
        status: Any = self.good(200, "GET", "/status")
        self.assertEqual(status["domain"], "default")
        self.assertIn("default", status["domains"])
        self.assertEqual(status["listeners"]["admin"], [f"127.0.0.1:{self.place.port}"])
        self.good(200, "GET", "/status", token=self.token_for("metrics.read"))
        self.refused(401, "GET", "/status", token=self.parcels)

    def test_domains(self) -> None:
        """All there are, whether anybody has opened them or not; a file is none."""
        folder = self.place.workspace.folder / ".dbx" / "domains"
        (folder / "archive").mkdir(parents=True)
        (folder / "notes.txt").touch()
        shown = self.good(200, "GET", "/domains")
        archive, default = shown[:2]
        self.assertEqual(
            archive,
            {
                "domain": "archive", "active": False, "active_aggregates": 0,
                "archived_aggregates": 0, "total_aggregates": 0, "events": 0,
            },
        )  # fmt: skip
        self.assertEqual((default["domain"], default["active"]), ("default", True))
        self.assertGreater(default["events"], 0)
        self.assertNotIn("notes.txt", [one["domain"] for one in shown])
        self.assertEqual(self.good(200, "GET", "/domains?limit=1"), [archive])
        self.refused(401, "GET", "/domains", token=self.token_for("metrics.read"))
        self.assertEqual(self.call("GET", "/domains", token=self.of("default")).document, [default])

    def test_another_domain_opens_no_door(self) -> None:
        """A token of another domain is refused wherever the query names no domain to work on."""
        other = self.of("elsewhere")
        for method, path in (
            ("GET", "/tokens"),
            ("GET", "/config"),
            ("GET", "/audit"),
            ("GET", "/remotes"),
            ("GET", "/status"),
            ("POST", "/keys/rotate"),
            ("POST", "/config/reload"),
        ):
            self.refused(403, method, f"{path}?domain=elsewhere", token=other)
        self.refused(404, "GET", "/aggregates?domain=elsewhere", token=other)

    def test_status_shows_no_domains_of_others(self) -> None:
        """A token of some tenants learns nothing of the domains that it may not use."""
        domains = self.place.workspace.folder / ".dbx" / "domains"
        (domains / "secret" / "event_store").mkdir(parents=True)
        self.good(200, "GET", "/aggregates?domain=secret")
        self.assertIn("secret", self.good(200, "GET", "/status")["domains"])
        status: Any = self.call("GET", "/status", token=self.of("default")).document
        self.assertEqual(list(status["domains"]), ["default"])

    def of(self, domain: str) -> str:
        """Return a token with all rights in one domain."""
        made = self.good(
            201, "POST", "/tokens",
            {"group": "g", "user": "u", "actions": ["*.*"], "tenants": [domain]},
        )  # fmt: skip
        return str(made["token"])
