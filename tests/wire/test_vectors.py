"""Messages whose bytes are known: those of the protocol's description, and recorded ones."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.commands import PublishTarget
from eventdbx.wire import requests as rq
from eventdbx.wire import responses as rs
from eventdbx.wire.codec_hello import decode_hello
from eventdbx.wire.codec_requests import decode_request
from eventdbx.wire.codec_responses import (
    encode_cli_response,
    encode_hello_response,
    encode_response,
)
from eventdbx.wire.events import CliRequestReceived, HelloReceived
from eventdbx.wire.pointers import Message

FIRST_HELLO = """0000000004000000 0000000001000100 0100000000000000 0100000032000000
    612e622e63000000"""
HELLO = """0000000006000000 0000000001000200 0100010000000000 0500000032000000
    0500000042000000 7474747474000000 64656661756c7400"""
ACCEPTED = "0000000004000000 0000000001000100 0100000000000000 010000001a000000 6f6b000000000000"
COMMAND_LINE = """0000000006000000 0000000000000100 0100000016000000 0500000012000000
    0500000012000000 6100000000000000 6200000000000000"""

TOKEN = "<TOKEN>"
"""What stands for the token in recorded bytes."""

APPEND = """000000001a000000 0000000002000100 0100000000000000 0300000000000000
    0000000001000800 0300000000000000 1d00000042000000 1d00000032000000 1d00000022000000
    1d00000062000000 210000005a000000 2500000012000000 250000003a010000 0000000000000000
    3c544f4b454e3e00 6f72646572000000 6f2d310000000000 6f726465725f6e6f 7465640000000000
    7b226e223a6e756c 6c7d000000000000 7800000000000000 7b2240736f757263 65223a2277656222
    2c22407472616365 4964223a7b226122 3a5b315d7d7d0000"""
PUBLISHED = """000000001c000000 0000000002000100 0100000000000000 0300000000000000
    0000000001000800 0400000000000000 1d00000042000000 1d00000032000000 1d00000022000000
    1d0000005a000000 210000001a000000 0000000000000000 0000000000000000 1900000027000000
    3c544f4b454e3e00 6f72646572000000 6f2d310000000000 6f726465725f7061 6964000000000000
    7b7d000000000000 0400000001000300 0300000000000000 0900000032000000 090000005a000000
    0d0000002a000000 6175646974000000 6576656e742d6f6e 6c79000000000000 4849474800000000"""
LIST_FIRST = """000000000b000000 0000000002000100 0100000000000000 0000000000000000
    0000000003000300 0000000000000000 0000000000000000 0000000000000000 0000000000000000
    0000000000000000 0100000042000000 3c544f4b454e3e00"""
LIST_BY_CURSOR = """000000000f000000 0000000002000100 0100000000000000 0000000000000000
    0000000002000400 0900000000000000 0000000000000000 1900000072000000 0000000000000000
    090000005a000000 0100000042000000 3c544f4b454e3e00 637265617465645f 6174000000000000
    74733a6f72646572 3a6f2d3130000000"""
EVENTS_BY_CURSOR = """0000000010000000 0000000002000100 0100000000000000 0200000000000000
    0000000002000500 0300000000000000 0200000000000000 1500000032000000 1500000022000000
    1500000072000000 0000000000000000 0100000042000000 3c544f4b454e3e00 6f72646572000000
    6f2d310000000000 613a6f726465723a 6f2d313a32000000"""
SELECT = """000000000d000000 0000000002000100 0100000000000000 0600000000000000
    0000000000000400 1900000032000000 1900000022000000 090000000e000000 0100000042000000
    3c544f4b454e3e00 0100000012000000 6e00000000000000 6f72646572000000 6f2d310000000000"""
SNAPSHOTS_OF_ONE = """000000000c000000 0000000002000100 0100000000000000 1300000000000000
    0000000002000300 0300000000000000 0000000000000000 0900000042000000 0900000032000000
    0900000022000000 3c544f4b454e3e00 6f72646572000000 6f2d310000000000"""
PUBLISH_SCHEMAS = """0000000012000000 0000000002000100 0100000000000000 1100000000000000
    0000000001000500 1700000000000000 1100000042000000 1100000042000000 1100000032000000
    1100000022000000 1100000016000000 3c544f4b454e3e00 64656661756c7400 6669727374000000
    616e6e0000000000 0500000012000000 0500000012000000 6100000000000000 6200000000000000"""
UNKNOWN = "0000000004000000 0000000002000100 0700000000000000 6300000000000000 0000000000000000"

NO_SNAPSHOT = """0000000007000000 0000000002000100 0100000000000000 1400000000000000
    0000000001000100 0000000000000000 010000000a000000 0000000000000000"""
NO_AGGREGATE = """0000000009000000 0000000002000100 0100000000000000 0100000000000000
    0000000001000200 0000000000000000 050000000a000000 050000000a000000 0000000000000000
    0000000000000000"""
SELECTED = """0000000007000000 0000000002000100 0100000000000000 0500000000000000
    0000000001000100 0100000000000000 0100000042000000 7b226e223a307d00"""
QUOTA_SET = """0000000006000000 0000000002000100 0100000000000000 0d00000000000000
    0000000002000000 0300000000000000 0500000000000000"""
UNAUTHORIZED = """000000000a000000 0000000002000100 0100000000000000 0600000000000000
    0000000000000200 050000006a000000 090000006a000000 756e617574686f72 697a656400000000
    756e617574686f72 697a656400000000"""


def first(data: str) -> HelloReceived | CliRequestReceived:
    """Return what a first message is."""
    return decode_hello(Message(bytes.fromhex(data)), framed=False)


class FirstMessages(SynchronousTestCase):
    """What opens a connection."""

    def test_hello_of_the_first_generation(self) -> None:
        """A hello of the first generation names no tenant."""
        self.assertEqual(
            first(FIRST_HELLO), HelloReceived(1, "a.b.c", None, "", None, False, False)
        )

    def test_hello(self) -> None:
        """A hello says version, token, tenant, and whether it wants to go without encryption."""
        self.assertEqual(
            first(HELLO), HelloReceived(1, "ttttt", None, "default", None, True, False)
        )

    def test_hello_response(self) -> None:
        """The answer to an accepted hello has the bytes that every client knows."""
        self.assertEqual(
            encode_hello_response(accepted=True, message="ok", no_noise=False),
            bytes.fromhex(ACCEPTED),
        )

    def test_command_line(self) -> None:
        """A command line is told from a hello by its shape."""
        self.assertEqual(first(COMMAND_LINE), CliRequestReceived(("a", "b")))

    def test_command_line_response(self) -> None:
        """A negative exit code fills the lower half of its word."""
        encoded = encode_cli_response(-1, "", "no")
        self.assertEqual(
            encoded[:32].hex(" ", 8),
            "0000000006000000 0000000001000200 ffffffff00000000 050000000a000000",
        )


class Requests(SynchronousTestCase):
    """Requests as published clients sent them."""

    def check(self, data: str, expected: rq.Request) -> None:
        """Read recorded bytes and compare."""
        self.assertEqual(decode_request(bytes.fromhex(data)), (1, expected, None))

    def test_append(self) -> None:
        """An append carries payload, note and metadata."""
        self.check(
            APPEND,
            rq.AppendEvent(
                TOKEN, "order", "o-1", "order_noted", '{"n":null}', "x",
                '{"@source":"web","@traceId":{"a":[1]}}',
            ),
        )  # fmt: skip

    def test_publish_targets(self) -> None:
        """An append may name the plugins that are to hear of it."""
        targets = (PublishTarget("audit", "event-only", "HIGH"),)
        self.check(
            PUBLISHED,
            rq.AppendEvent(TOKEN, "order", "o-1", "order_paid", "{}", publish_targets=targets),
        )

    def test_list_of_the_first_generation(self) -> None:
        """A list of the first generation pages by skip."""
        self.check(LIST_FIRST, rq.ListAggregates(TOKEN, skip=0))

    def test_list_by_cursor(self) -> None:
        """A list of later generations pages by cursor."""
        self.check(
            LIST_BY_CURSOR, rq.ListAggregates(TOKEN, cursor="ts:order:o-10", sort="created_at")
        )

    def test_events_by_cursor(self) -> None:
        """Events are paged by cursor and take."""
        self.check(EVENTS_BY_CURSOR, rq.ListEvents(TOKEN, "order", "o-1", "a:order:o-1:2", 2))

    def test_select(self) -> None:
        """A selection lists its fields."""
        self.check(SELECT, rq.SelectAggregate(TOKEN, "order", "o-1", ("n",)))

    def test_snapshots(self) -> None:
        """Snapshots may be asked for of one aggregate."""
        self.check(SNAPSHOTS_OF_ONE, rq.ListSnapshots(TOKEN, "order", "o-1"))

    def test_publish_schemas(self) -> None:
        """A publication of schemas has a reason, an actor, labels and three switches."""
        self.check(
            PUBLISH_SCHEMAS,
            rq.TenantSchemaPublish(TOKEN, "default", "first", "ann", ("a", "b"), True, False, True),
        )

    def test_unknown(self) -> None:
        """An operation that nobody knows has an id to be answered under, and an error."""
        identifier, request, _reply = decode_request(bytes.fromhex(UNKNOWN))
        assert isinstance(request, rq.Unreadable)
        self.assertEqual(identifier, 7)
        self.assertEqual(
            str(request.error),
            "serialization error: Enum value or union discriminant 99 was not present in the "
            "schema.",
        )


class Responses(SynchronousTestCase):
    """Answers as published servers sent them."""

    def check(self, response: rs.Response, data: str) -> None:
        """Make the bytes of an answer and compare."""
        self.assertEqual(encode_response(1, response, None), [bytes.fromhex(data)])

    def test_nothing_found(self) -> None:
        """What is not there is answered with a flag and empty texts."""
        self.check(rs.SnapshotFound(None), NO_SNAPSHOT)
        self.check(rs.AggregateFound(None), NO_AGGREGATE)

    def test_selection(self) -> None:
        """A selection is a JSON object."""
        self.check(rs.Selection(b'{"n":0}'), SELECTED)

    def test_quota(self) -> None:
        """A quota is a number with a flag."""
        self.check(rs.TenantQuota(True, 5), QUOTA_SET)

    def test_error(self) -> None:
        """An error has a code and a message."""
        self.check(rs.Failed("unauthorized", "unauthorized"), UNAUTHORIZED)
