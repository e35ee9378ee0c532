"""Tokens and signing keys over the Admin API of a running server."""

from __future__ import annotations

import json
import time
from datetime import datetime
from http.client import HTTPConnection
from typing import Any

from tests.surfaces.admin.visiting import Visit


class TokenVisit(Visit):
    """Requests about tokens."""

    def issue(self, token: str | None = None, **members: Any) -> Any:
        """Issue a token that may read aggregates, unless something else is said."""
        body = {"group": "svc", "user": "bot", "actions": ["aggregate.read"], **members}
        answer = self.call("POST", "/tokens", body, token=token)
        self.assertEqual(answer.status, 201, answer.document)
        self.assertEqual(answer.headers["location"], f"/admin/tokens/{answer.document['jti']}")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        return answer.document

    def status_of(self, token: str) -> int:
        """Return what a token gets where every valid token that may read gets 200."""
        return self.call("GET", "/aggregates", token=token).status


class LifeTests(TokenVisit):
    """From issued to revoked."""

    def test_issue_show_list(self) -> None:
        """A token is shown once; afterwards there is its record, found by id and by filters."""
        made = self.issue(subject="svc:main", ttl_secs=600, write_limit=5, keep_alive=True)
        record = {name: value for name, value in made.items() if name != "token"}
        self.assertEqual(self.status_of(made["token"]), 200)
        self.assertEqual(self.good(200, "GET", f"/tokens/{made['jti']}"), record)
        self.assertEqual(self.good(200, "GET", "/tokens?subject=svc:main"), [record])
        self.assertIn(record, self.good(200, "GET", "/tokens?group=svc&status=active"))
        self.assertEqual(self.good(200, "GET", "/tokens?subject=svc:main&status=revoked"), [])
        self.assertEqual(self.refused(404, "GET", "/tokens/nope"), "token not found or inactive")

    def test_revoke(self) -> None:
        """By path or body, by token or id, as often as one likes; from then on it is refused."""
        for by in ("token", "jti"):
            for path, body in (
                ("/tokens/{}/revoke", None),
                ("/tokens/revoke", {"token": "{}", "reason": "test"}),
            ):
                made = self.issue()
                sent = body and {**body, "token": made[by]}
                for _time in range(2):
                    self.good(204, "POST", path.format(made[by]), sent)
                self.assertEqual(self.status_of(made["token"]), 401)
                record = self.good(200, "GET", f"/tokens/{made['jti']}")
                self.assertEqual(record["status"], "revoked")
        for path in ("/tokens/nope/revoke", "/tokens/a.b.c/revoke"):
            self.refused(404, "POST", path)

    def test_refresh(self) -> None:
        """The new one takes the place of the old; what has ended is not revived."""
        old = self.issue(ttl_secs=0)
        new = self.good(200, "POST", f"/tokens/{old['jti']}/refresh")
        self.assertIsNone(new["expires_at"])
        self.assertEqual((self.status_of(old["token"]), self.status_of(new["token"])), (401, 200))
        self.refused(409, "POST", f"/tokens/{old['jti']}/refresh", {})
        self.refused(409, "POST", "/tokens/refresh", {"token": old["token"]})
        last = self.good(200, "POST", "/tokens/refresh", {"token": new["token"], "ttl_secs": 60})
        self.assertIsNotNone(last["expires_at"])
        told = self.good(200, "GET", f"/audit?area=tokens&resource={last['jti']}")
        self.assertEqual([one["details"]["replaces"] for one in told], [new["jti"]])
        self.refused(404, "POST", "/tokens/nope/refresh", {})
        self.refused(400, "POST", f"/tokens/{last['jti']}/refresh", {"ttl_secs": 2**62})

    def test_not_before(self) -> None:
        """A token can be made for later; a time that is none is refused."""
        later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3000))
        made = self.issue(not_before=later)
        self.assertEqual(made["not_before"], later)
        self.assertEqual(self.status_of(made["token"]), 401)
        body = {"group": "g", "user": "u", "actions": ["a"], "not_before": "soon"}
        self.assertIn("/not_before", self.refused(422, "POST", "/tokens", body))

    def test_nobody_gives_more_than_they_have(self) -> None:
        """A token that may manage tokens issues only what it covers itself."""
        clerk = self.issue(actions=["token.manage", "aggregate.read"], resources=["*"])["token"]
        self.issue(token=clerk, resources=["aggregate:order:*"])
        for members in ({"actions": ["*.*"]}, {"actions": ["schema.write"]}):
            body = {"group": "g", "user": "u", **members}
            self.refused(403, "POST", "/tokens", body, token=clerk)
        root = self.good(200, "GET", "/tokens?subject=cli:bootstrap")[0]
        self.refused(403, "POST", f"/tokens/{root['jti']}/refresh", {}, token=clerk)
        self.refused(401, "GET", "/tokens", token=clerk)

    def test_no_actions(self) -> None:
        """A token for nothing is refused with the old words."""
        empty: list[dict[str, Any]] = [{}, {"actions": []}]
        for members in empty:
            text = self.refused(400, "POST", "/tokens", {"group": "g", "user": "u", **members})
            self.assertEqual(
                text, "configuration error: actions must be provided when issuing a token"
            )

    def test_a_repeated_request(self) -> None:
        """A client that lost the answer gets the same token again, not a second one."""
        body = {"group": "once", "user": "u", "actions": ["aggregate.read"]}
        first = self.good(201, "POST", "/tokens", body, Idempotency_Key="k-1")
        again = self.good(201, "POST", "/tokens", body, Idempotency_Key="k-1")
        self.assertEqual(first, again)
        self.assertEqual(len(self.good(200, "GET", "/tokens?group=once")), 1)

    def test_nothing_secret_in_the_log(self) -> None:
        """Neither tokens of answers nor those of paths are written down by the server."""
        made = self.issue()
        self.good(200, "POST", f"/tokens/{made['token']}/refresh", {})
        self.refused(409, "POST", f"/tokens/{made['token']}/refresh", {})
        self.refused(404, "POST", "/tokens/aaa.bbb.ccc/revoke")
        for secret in (made["token"], made["token"].split(".")[2], "aaa.bbb"):
            self.assertNotIn(secret, self.place.workspace.log)


class KeyTests(TokenVisit):
    """Keys that sign."""

    def test_rotation_locks_nobody_out(self) -> None:
        """Tokens of the old key go on, new ones are signed with the new, and both are published."""
        old = self.issue()
        before = self.well_known()
        rotated = self.good(200, "POST", "/keys/rotate")
        new = self.issue()
        self.assertEqual((self.status_of(old["token"]), self.status_of(new["token"])), (200, 200))
        after = self.well_known()
        self.assertEqual(after - before, {rotated["key_id"]})
        self.assertLessEqual(before, after)
        self.refused(401, "POST", "/keys/rotate", token=new["token"])

    def test_overlap(self) -> None:
        """The old key verifies for as long as is asked for; nonsense rotates nothing."""
        bodies: tuple[Any, ...] = (
            {"overlap_secs": -1}, {"overlap_secs": "7d"}, {"overlap_secs": 10**12}, [],
        )  # fmt: skip
        for wrong in bodies:
            before = self.well_known()
            self.refused(422, "POST", "/keys/rotate", wrong)
            self.assertEqual(self.well_known(), before)
        latest = time.time() + 3600
        retired = self.good(200, "POST", "/keys/rotate", {"overlap_secs": 3600})["previous"][-1]
        until = datetime.fromisoformat(retired["not_after"][:19] + "+00:00").timestamp()
        self.assertTrue(latest - 2 <= until <= time.time() + 3600, retired)

    def test_some_tenants_do_not_rule_all(self) -> None:
        """A token for one tenant changes nothing that all of them share, whatever its actions."""
        one = self.issue(actions=["*.*"], tenants=["default"])["token"]
        self.assertEqual(self.call("GET", "/config", token=one).status, 200)
        remote = {"endpoint": "h", "token_env": "X"}
        for method, path, body in (
            ("POST", "/keys/rotate", None),
            ("PATCH", "/config", {"page_limit": 500}),
            ("POST", "/config/reload", None),
            ("PUT", "/remotes/r", remote),
            ("DELETE", "/remotes/r", None),
        ):
            self.refused(403, method, path, body, token=one)
        schema = {"aggregate": "tenant_case", "events": ["made"]}
        self.assertEqual(self.call("POST", "/schemas", schema, token=one).status, 201)

    def test_some_tenants_know_no_others(self) -> None:
        """Who has some tenants sees and revokes their tokens; of all others there is no sign."""
        one = self.issue(actions=["*.*"], tenants=["default"])
        theirs = self.issue(actions=["aggregate.read"], tenants=["Default"])
        others = self.issue(actions=["aggregate.read"], tenants=["default", "other"])
        all_of_them = self.issue(actions=["aggregate.read"])
        listed = self.call("GET", "/tokens", token=one["token"]).document
        seen = {record["jti"] for record in listed}
        self.assertLessEqual({one["jti"], theirs["jti"]}, seen)
        self.assertTrue(seen.isdisjoint({others["jti"], all_of_them["jti"]}))
        for hidden in (others, all_of_them):
            self.refused(404, "GET", f"/tokens/{hidden['jti']}", token=one["token"])
            for name in (hidden["jti"], hidden["token"]):
                asked = {"token": name}
                self.refused(404, "POST", "/tokens/revoke", asked, token=one["token"])
            self.assertEqual(self.good(200, "GET", f"/tokens/{hidden['jti']}")["status"], "active")
        gone = self.call("POST", f"/tokens/{theirs['jti']}/revoke", token=one["token"])
        self.assertEqual(gone.status, 204)

    def well_known(self) -> set[str]:
        """Return the ids of the published keys, asked for without a token."""
        connection = HTTPConnection("127.0.0.1", self.place.port, timeout=30)
        self.addCleanup(connection.close)
        connection.request("GET", "/.well-known/jwks.json")
        return {key["kid"] for key in json.loads(connection.getresponse().read())["keys"]}
