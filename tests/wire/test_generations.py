"""Every generation of clients is understood: its requests, built by pycapnp in its own layout."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.commands import PublishTarget
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs
from eventdbx.wire.codec_requests import decode_request
from eventdbx.wire.codec_responses import encode_response
from tests.wire import peers

T = "token"


class Generation(SynchronousTestCase):
    """Reads requests of one layout."""

    kind = "ControlRequest"
    of = "control"
    hello_less = False

    def read(self, member: str, **fields: Any) -> tuple[Any, int | None]:
        """Build a request in one segment and in several; return what both are read as."""
        found = [
            decode_request(
                peers.request(
                    member, identifier=2**63, kind=self.kind, of=self.of,
                    segment_words=words, **fields,
                ),
                hello_less=self.hello_less,
            )
            for words in (None, 1)
        ]  # fmt: skip
        self.assertEqual(repr(found[0]), repr(found[1]))
        identifier, request, reply = found[0]
        self.assertEqual(identifier, 2**63)
        return request, reply

    def check(self, expected: rq.Request, member: str, **fields: Any) -> None:
        """Read a request that is answered as usual and compare."""
        self.assertEqual(self.read(member, **fields), (expected, None))


class First(Generation):
    """The first generation: skip and take, sort keys as structs, no publish targets."""

    kind = "FirstRequest"
    of = "generations"

    def test_list(self) -> None:
        """A list pages by skip and sorts by struct."""
        sort = [{"field": "merkleRoot", "descending": True}, {"field": "aggregateType"}]
        self.check(
            rq.ListAggregates(
                T, None, 7, "a = 1", None, True, True, skip=3,
                sort_keys=(("merkle_root", True), ("aggregate_type", False)),
            ),
            "listAggregates",
            token=T, skip=3, take=7, hasTake=True, filter=" a = 1 ", hasFilter=True,
            sort=sort, hasSort=True, includeArchived=True, archivedOnly=True,
        )  # fmt: skip

    def test_list_without_options(self) -> None:
        """What the flags turn off is absent, whatever its field holds."""
        self.check(
            rq.ListAggregates(T, skip=0),
            "listAggregates",
            token=T, take=7, filter="a = 1", sort=[{"field": "archived"}],
        )  # fmt: skip

    def test_unknown_sort_field(self) -> None:
        """A sort field of the future is an error of the request, not of the connection."""
        request, _reply = self.read(
            "listAggregates", token=T, sort=[{"field": "nobodyKnows"}], hasSort=True
        )
        self.assertEqual(
            str(request.error), "invalid schema: unknown aggregate sort field value: 5"
        )

    def test_events(self) -> None:
        """Events are paged by skip."""
        self.check(
            rq.ListEvents(T, "order", "o-1", None, 5, "version = 2", 4),
            "listEvents",
            token=T, aggregateType="order", aggregateId="o-1", skip=4, take=5, hasTake=True,
            filter="version = 2", hasFilter=True,
        )  # fmt: skip

    def test_get(self) -> None:
        """A get has no words for resolving references."""
        self.check(
            rq.GetAggregate(T, "order", "o-1"),
            "getAggregate", token=T, aggregateType="order", aggregateId="o-1",
        )  # fmt: skip

    def test_append(self) -> None:
        """An append ends before the publish targets."""
        self.check(
            rq.AppendEvent(T, "order", "o-1", "paid", "{}", "", None),
            "appendEvent",
            token=T, aggregateType="order", aggregateId="o-1", eventType="paid", payloadJson="{}",
            note="", hasNote=True, metadataJson="{}",
        )  # fmt: skip


class Newest(Generation):
    """The newest published generation, and our own fields."""

    def test_list(self) -> None:
        """Every option of a list."""
        self.check(
            rq.ListAggregates(T, "a:b:c", 0, "f", "s", True, True, True, 9),
            "listAggregates",
            token=T, cursor=" a:b:c ", hasCursor=True, take=0, hasTake=True, filter="f",
            hasFilter=True, sort="s", hasSort=True, includeArchived=True, archivedOnly=True,
            resolve=True, resolveDepth=9, hasResolveDepth=True,
        )  # fmt: skip

    def test_blank_is_absent(self) -> None:
        """A blank cursor, filter or sort is none at all."""
        self.check(
            rq.ListAggregates(T),
            "listAggregates",
            token=T, cursor=" ", hasCursor=True, filter="", hasFilter=True, sort="\t",
            hasSort=True,
        )  # fmt: skip

    def test_get(self) -> None:
        """A get may resolve references to a depth."""
        names = {"aggregateType": "order", "aggregateId": "o-1", "token": T}
        self.check(
            rq.GetAggregate(T, "order", "o-1", True, 3),
            "getAggregate", resolve=True, resolveDepth=3, hasResolveDepth=True, **names,
        )  # fmt: skip
        self.check(rq.GetAggregate(T, "order", "o-1"), "getAggregate", resolveDepth=3, **names)

    def test_writes(self) -> None:
        """Append, patch and create have the same fields, ours behind the published ones."""
        for kind, member, content in (
            (rq.AppendEvent, "appendEvent", "payloadJson"),
            (rq.CreateAggregate, "createAggregate", "payloadJson"),
            (rq.PatchEvent, "patchEvent", "patchJson"),
        ):
            targets = [{"plugin": "p", "mode": "all", "hasMode": True, "priority": "low"}, {}]
            expected = kind(
                T, "order", "o-1", "paid", "[]", "n", '{"@a":1}',
                (PublishTarget("p", "all", None), PublishTarget("", None, None)), 0, "key",
            )  # fmt: skip
            self.check(
                expected, member,
                token=T, aggregateType="order", aggregateId="o-1", eventType="paid",
                note="n", hasNote=True, metadataJson='{"@a":1}', hasMetadata=True,
                publishTargets=targets, hasPublishTargets=True,
                options={"hasExpectedVersion": True, "idempotencyKey": "key"},
                **{content: " []\n"},
            )  # fmt: skip
            plain = kind(T, "order", "o-1", "paid", None)
            self.check(
                plain, member,
                token=T, aggregateType="order", aggregateId="o-1", eventType="paid",
                options={"expectedVersion": 4}, metadataJson=" ", hasMetadata=True,
            )  # fmt: skip

    def test_not_text(self) -> None:
        """A text that is not UTF-8 is an error that names the field."""
        good = peers.request("createSnapshot", token=T, aggregateType="order", aggregateId="Xo-1")
        _id, request, _reply = decode_request(good.replace(b"Xo-1", b"\xffo-1"))
        assert isinstance(request, rq.Unreadable)
        self.assertIn("serialization error: invalid utf-8 in aggregate_id: ", str(request.error))

    def test_snapshots(self) -> None:
        """The three snapshot operations have numbers of their own."""
        names = {"token": T, "aggregateType": "order", "aggregateId": "o-1"}
        self.check(rq.CreateSnapshot(T, "order", "o-1"), "createSnapshot", comment="c", **names)
        self.check(
            rq.CreateSnapshot(T, "order", "o-1", "c"),
            "createSnapshot", comment=" c ", hasComment=True, **names,
        )  # fmt: skip
        self.check(
            rq.ListSnapshots(T, "order", None, 6),
            "listSnapshots", hasAggregateType=True, version=6, hasVersion=True, **names,
        )  # fmt: skip
        self.check(rq.GetSnapshot(T, 2**64 - 1), "getSnapshot", token=T, snapshotId=2**64 - 1)

    def test_the_rest(self) -> None:
        """The other reads, the archive, schemas and tenants."""
        names = {"token": T, "aggregateType": "order", "aggregateId": "o-1"}
        tenant = {"token": T, "tenantId": "acme"}
        for expected, member, fields in (
            (rq.ListEvents(T, "order", "o-1"), "listEvents", names),
            (rq.ListReferrers(T, "order", "o-1"), "listReferrers", names),
            (rq.ReadOutbox(T), "readOutbox", {"token": T, "afterEventId": 3, "take": 4}),
            (rq.ReadOutbox(T, 3, 4), "readOutbox", {"token": T, "afterEventId": 3, "take": 4,
                                                    "hasAfterEventId": True, "hasTake": True}),
            (rq.SelectAggregate(T, "order", "o-1", ("a", "", "b.c")), "selectAggregate",
             {**names, "fields": ["a", "", "b.c"]}),
            (rq.VerifyAggregate("a", "b"), "verifyAggregate",
             {"aggregateType": "a", "aggregateId": "b"}),
            (rq.SetAggregateArchive(T, "order", "o-1", True, "old"), "setAggregateArchive",
             {**names, "archived": True, "note": "old", "hasNote": True}),
            (rq.SetAggregateArchive(T, "order", "o-1", False), "setAggregateArchive",
             {**names, "note": "old"}),
            (rq.ListSchemas(T), "listSchemas", {"token": T}),
            (rq.ReplaceSchemas(T, "{}"), "replaceSchemas", {"token": T, "schemasJson": "{}"}),
            (rq.TenantAssign(T, "acme", "7"), "tenantAssign", {**tenant, "shardId": "7"}),
            (rq.TenantUnassign(T, "acme"), "tenantUnassign", tenant),
            (rq.TenantQuotaSet(T, "acme", 9), "tenantQuotaSet", {**tenant, "maxStorageMb": 9}),
            (rq.TenantQuotaClear(T, "acme"), "tenantQuotaClear", tenant),
            (rq.TenantQuotaRecalc(T, "acme"), "tenantQuotaRecalc", tenant),
            (rq.TenantReload(T, "acme"), "tenantReload", tenant),
            (rq.TenantSchemaPublish(T, "acme", labels=("x",), force=True), "tenantSchemaPublish",
             {**tenant, "reason": "r", "labels": ["x"], "force": True}),
        ):  # fmt: skip
            self.check(expected, member, **fields)


class Colliding(Generation):
    """A client that numbers its snapshot operations where others have schemas and tenants."""

    kind = "SnapshotsRequest"
    of = "generations"

    def answered(self, response: rs.Response, reply: int | None) -> tuple[int, Any]:
        """Return an answer as that client reads it."""
        (data,) = encode_response(1, response, reply)
        return peers.answer(data, kind="SnapshotsResponse", of="generations")

    def test_create(self) -> None:
        """Its createSnapshot is understood, and answered under the number that it uses."""
        request, reply = self.read(
            "createSnapshot", token=T, aggregateType="order", aggregateId="o-1"
        )
        self.assertEqual(request, rq.CreateSnapshot(T, "order", "o-1"))
        self.assertEqual(
            self.answered(rs.SnapshotReply(b"{}"), reply), (1, {"createSnapshot": {"json": "{}"}})
        )

    def test_list(self) -> None:
        """So is its listSnapshots."""
        request, reply = self.read("listSnapshots", token=T, version=3, hasVersion=True)
        self.assertEqual(request, rq.ListSnapshots(T, version=3))
        self.assertEqual(
            self.answered(rs.SnapshotsReply(b"[]"), reply), (1, {"listSnapshots": {"json": "[]"}})
        )

    def test_get(self) -> None:
        """So is its getSnapshot."""
        request, reply = self.read("getSnapshot", token=T, snapshotId=5)
        self.assertEqual(request, rq.GetSnapshot(T, 5))
        self.assertEqual(
            self.answered(rs.SnapshotFound(b"{}"), reply),
            (1, {"getSnapshot": {"found": True, "json": "{}"}}),
        )

    def test_error(self) -> None:
        """Its errors have the usual number."""
        failed = {"error": {"code": "unauthorized", "message": "m"}}
        for reply in (9, 10, 11):
            self.assertEqual(self.answered(rs.Failed("unauthorized", "m"), reply), (1, failed))


class HelloLess(Generation):
    """The generation that greets nobody and has an append with payload or patch."""

    kind = "HelloLessRequest"
    of = "generations"
    hello_less = True

    def test_reads(self) -> None:
        """Its reads carry no token."""
        names = {"aggregateType": "order", "aggregateId": "o-1"}
        self.check(
            rq.ListAggregates("", take=4, skip=2), "listAggregates", skip=2, take=4, hasTake=True
        )
        self.check(rq.GetAggregate("", "order", "o-1"), "getAggregate", **names)
        self.check(
            rq.ListEvents("", "order", "o-1", skip=1, take=2),
            "listEvents", skip=1, take=2, hasTake=True, **names,
        )  # fmt: skip
        self.check(rq.VerifyAggregate("order", "o-1"), "verifyAggregate", **names)

    def test_append_and_patch(self) -> None:
        """Its append is a patch when it brings one."""
        names = {"token": T, "aggregateType": "order", "aggregateId": "o-1", "eventType": "paid"}
        self.check(
            rq.AppendEvent(T, "order", "o-1", "paid", "{}", "n", None),
            "appendEvent", payloadJson="{}", note="n", hasNote=True, metadataJson="{}", **names,
        )  # fmt: skip
        self.check(
            rq.PatchEvent(T, "order", "o-1", "paid", "[]", None, '{"@a":1}'),
            "appendEvent", patchJson="[]", metadataJson='{"@a":1}', hasMetadata=True, **names,
        )  # fmt: skip

    def test_error(self) -> None:
        """Its errors have a number of their own."""
        (data,) = encode_response(3, rs.Failed("storage", "m"), None, hello_less=True)
        self.assertEqual(
            peers.answer(data, kind="HelloLessResponse", of="generations"),
            (3, {"error": {"code": "storage", "message": "m"}}),
        )


class Scattered(SynchronousTestCase):
    """Runtimes with small segments."""

    def test_double_far(self) -> None:
        """A request with every struct and text in a segment of its own reads the same."""
        texts = (b"token", b"order", b"o-1", b"paid", b"{}", b"n", b"x")
        data = peers.scattered(5, 3, (1,), texts)
        expected = rq.AppendEvent("token", "order", "o-1", "paid", "{}", "n")
        self.assertEqual(decode_request(data), (5, expected, None))
        with peers.schema("control").ControlRequest.from_bytes(data) as message:
            self.assertEqual(message.payload.appendEvent.note, "n")
