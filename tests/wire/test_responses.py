"""Responses on the wire: pycapnp reads what was meant, in the size that was promised."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.errors import FrameTooLarge
from eventdbx.wire import responses as rs
from eventdbx.wire.codec_client import any_reply
from eventdbx.wire.codec_responses import encode_hello_response, encode_response
from tests.wire import peers

JSON = st.text(alphabet='a9"{ä\U0001f600', max_size=17)
DOCUMENT = JSON.map(str.encode)
MAYBE = st.none() | DOCUMENT
TEXT = st.none() | JSON
U64 = st.integers(0, 2**64 - 1)


def text(value: bytes | str | None) -> str:
    """Return what an absent or present text is on the wire."""
    return value.decode() if isinstance(value, bytes) else value or ""


def page(r: rs.AggregatesPage) -> dict[str, Any]:
    """Return the fields of a page of aggregates."""
    return {
        "aggregatesJson": text(r.json),
        "nextCursor": text(r.next_cursor),
        "hasNextCursor": r.next_cursor is not None,
        "resolvedJson": text(r.resolved_json),
        "hasResolvedJson": r.resolved_json is not None,
    }


CASES: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "listAggregates": (st.builds(rs.AggregatesPage, DOCUMENT, TEXT, MAYBE), page),
    "getAggregate": (
        st.builds(rs.AggregateFound, MAYBE, MAYBE),
        lambda r: {
            "found": r.json is not None,
            "aggregateJson": text(r.json),
            "resolvedJson": text(r.resolved_json),
            "hasResolvedJson": r.resolved_json is not None,
        },
    ),
    "listEvents": (
        st.builds(rs.EventsPage, DOCUMENT, TEXT),
        lambda r: {
            "eventsJson": text(r.json),
            "nextCursor": text(r.next_cursor),
            "hasNextCursor": r.next_cursor is not None,
        },
    ),
    "appendEvent": (
        st.builds(rs.EventReply, DOCUMENT),
        lambda r: {"eventJson": text(r.json)},
    ),
    "verifyAggregate": (st.builds(rs.VerifyReply, JSON), lambda r: {"merkleRoot": r.root}),
    "selectAggregate": (
        st.builds(rs.Selection, MAYBE),
        lambda r: {"found": r.json is not None, "selectionJson": text(r.json)},
    ),
    "error": (
        st.builds(rs.Failed, JSON, JSON, st.just(b"")),
        lambda r: {"code": r.code, "message": r.message},
    ),
    "createAggregate": (
        st.builds(rs.AggregateReply, DOCUMENT),
        lambda r: {"aggregateJson": text(r.json)},
    ),
    "setAggregateArchive": (
        st.builds(rs.ArchiveReply, DOCUMENT),
        lambda r: {"aggregateJson": text(r.json)},
    ),
    "listSchemas": (
        st.builds(rs.SchemasReply, DOCUMENT),
        lambda r: {"schemasJson": text(r.json)},
    ),
    "replaceSchemas": (
        st.builds(rs.SchemasReplaced, st.integers(0, 2**32 - 1)),
        lambda r: r._asdict(),
    ),
    "tenantAssign": (
        st.builds(rs.TenantAssigned, st.booleans(), JSON),
        lambda r: {"changed": r.changed, "shardId": r.shard},
    ),
    "tenantUnassign": (st.builds(rs.TenantUnassigned, st.booleans()), lambda r: r._asdict()),
    "tenantQuotaSet": (
        st.builds(rs.TenantQuota, st.booleans(), st.none() | U64),
        lambda r: {
            "changed": r.changed,
            "quotaMb": r.quota_mib or 0,
            "hasQuota": r.quota_mib is not None,
        },
    ),
    "tenantQuotaClear": (st.builds(rs.TenantQuotaCleared, st.booleans()), lambda r: r._asdict()),
    "tenantQuotaRecalc": (
        st.builds(rs.TenantStorage, U64),
        lambda r: {"storageBytes": r.storage_bytes},
    ),
    "tenantReload": (st.builds(rs.TenantReloaded, st.booleans()), lambda r: r._asdict()),
    "tenantSchemaPublish": (
        st.builds(rs.TenantSchemaPublished, JSON, st.booleans(), st.booleans()),
        lambda r: {"versionId": r.version, "activated": r.activated, "skipped": r.skipped},
    ),
    "createSnapshot": (
        st.builds(rs.SnapshotReply, DOCUMENT),
        lambda r: {"snapshotJson": text(r.json)},
    ),
    "listSnapshots": (
        st.builds(rs.SnapshotsReply, DOCUMENT),
        lambda r: {"snapshotsJson": text(r.json)},
    ),
    "getSnapshot": (
        st.builds(rs.SnapshotFound, MAYBE),
        lambda r: {"found": r.json is not None, "snapshotJson": text(r.json)},
    ),
    "listReferrers": (
        st.builds(rs.ReferrersReply, DOCUMENT),
        lambda r: {"referrersJson": text(r.json)},
    ),
    "readOutbox": (
        st.builds(rs.OutboxPage, DOCUMENT, st.none() | U64),
        lambda r: {
            "eventsJson": text(r.json),
            "nextAfterEventId": r.next_after or 0,
            "hasNextAfterEventId": r.next_after is not None,
        },
    ),
}


class Bytes(SynchronousTestCase):
    """The bytes are those that the schemas describe."""

    def test_every_member_has_a_case(self) -> None:
        """No response of the published union is left out below."""
        members = set(
            peers.schema("control").ControlResponse.schema.fields["payload"].schema.fields
        )
        self.assertEqual(members - {"extension"}, set(CASES))

    @settings(deadline=None, max_examples=200)
    @given(st.data(), st.sampled_from(sorted(CASES)), U64)
    def test_agrees_with_the_schema(
        self, data: st.DataObject, member: str, identifier: int
    ) -> None:
        """Read by pycapnp, an answer has exactly the fields that were put in, and the size told."""
        strategy, fields = CASES[member]
        response = data.draw(strategy)
        (encoded,) = encode_response(identifier, response, None)
        self.assertEqual(peers.answer(encoded), (identifier, {member: fields(response)}))
        self.assertEqual(len(encoded), rs.message_bytes(response))
        built = peers.schema("control").ControlResponse.new_message(id=identifier)
        built.payload.init(member)
        for name, value in fields(response).items():
            setattr(getattr(built.payload, member), name, value)
        by_schema = built.to_bytes()
        self.assertEqual(encoded[:40], by_schema[:40])
        self.assertEqual(len(encoded), len(by_schema))

    @given(JSON, JSON, st.binary(min_size=1, max_size=9), U64)
    def test_details(self, code: str, message: str, raw: bytes, identifier: int) -> None:
        """Details stand behind what the published error has, and do not change how that reads."""
        failed = rs.Failed(code, message, raw.hex().encode())
        (encoded,) = encode_response(identifier, failed, None)
        self.assertEqual(
            peers.answer(encoded), (identifier, {"error": {"code": code, "message": message}})
        )
        self.assertEqual(any_reply(encoded).texts[2].decode(), raw.hex())
        self.assertEqual(len(encoded), rs.message_bytes(failed))

    def test_hello(self) -> None:
        """An answer to a hello says whether, why, and whether without encryption."""
        for accepted in (True, False):
            for no_noise in (True, False):
                data = encode_hello_response(accepted=accepted, message="why", no_noise=no_noise)
                with peers.schema("control").ControlHelloResponse.from_bytes(data) as read:
                    self.assertEqual(
                        read.to_dict(),
                        {"accepted": accepted, "message": "why", "noNoise": no_noise},
                    )


class Sizes(SynchronousTestCase):
    """What fits a frame."""

    def test_largest(self) -> None:
        """One byte decides whether an answer fits; one that does not is never sent."""
        size = limits.FRAME_PLAINTEXT_BYTES_MAX // 8 * 8 - 48 - 1
        fitting, larger = rs.EventReply(b"x" * size), rs.EventReply(b"x" * (size + 1))
        self.assertTrue(rs.fits(fitting))
        (encoded,) = encode_response(1, fitting, None)
        self.assertLessEqual(len(encoded), limits.FRAME_PLAINTEXT_BYTES_MAX)
        self.assertFalse(rs.fits(larger))
        self.assertRaises(FrameTooLarge, encode_response, 1, larger, None)

    def joined(self, json: bytes) -> list[int]:
        """Check that the parts of an extension answer make up the document; return their sizes."""
        parts = encode_response(9, rs.Extension(json), None)
        read = [peers.answer(part) for part in parts]
        self.assertEqual({identifier for identifier, _fields in read}, {9})
        bodies = [fields["extension"] for _identifier, fields in read]
        self.assertEqual(b"".join(body.get("json", b"") for body in bodies), json)
        self.assertEqual([body["more"] for body in bodies], [True] * (len(bodies) - 1) + [False])
        return [len(part) for part in parts]

    def test_parts(self) -> None:
        """An extension answer of any length goes out in parts that each fit a frame."""
        self.assertEqual(len(self.joined(b"")), 1)
        self.assertEqual(len(self.joined(b"[1]")), 1)
        for size in (65_456, 65_457, 200_001):
            sizes = self.joined(b"x" * size)
            self.assertLessEqual(max(sizes), limits.FRAME_PLAINTEXT_BYTES_MAX)
            self.assertEqual(len(sizes), -(-size // 65_456))

    def test_bound(self) -> None:
        """An extension answer beyond the bound is refused as a whole."""
        huge = rs.Extension(bytes(limits.RESPONSE_BYTES_MAX + 1))
        self.assertFalse(rs.fits(huge))
        self.assertRaises(FrameTooLarge, encode_response, 1, huge, None)
