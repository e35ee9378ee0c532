"""What is counted of hellos and requests, under the names that dashboards know."""

from __future__ import annotations

from eventdbx import errors
from eventdbx.domain.commands import Write
from eventdbx.measures import Measures
from eventdbx.surfaces.control.calls import Calls
from eventdbx.surfaces.control.watching import OPERATIONS, Watch
from tests.storage.stepper import Stepper
from tests.surfaces.test_control_protocol import ProtocolCase

TRACE = {"@trace": {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}


class Told:
    """Keeps the requests that it is told of."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []

    def request(self, operation: str, status: str, metadata: str | bytes, seconds: float) -> None:
        text = metadata if isinstance(metadata, str) else metadata.decode()
        self.requests.append((operation, status, text))


class Watching(ProtocolCase):
    """A listener whose clock goes on a second at every look."""

    def setUp(self) -> None:
        super().setUp()
        self.now = 0.0
        self.watch()

    def watch(self) -> None:
        """Count from now on."""
        self.measures = Measures(self.tick)
        self.told = Told()
        self.factory.watch = Watch(self.measures, self.told)

    def tick(self) -> float:
        self.now += 1.0
        return self.now

    def counted(self) -> dict[tuple[str, ...], int]:
        """How often there was each operation and status."""
        return {
            tuple(value for _name, value in labels): series.count
            for labels, series in self.measures.control.series()
        }

    def test_requests_are_counted_by_operation_and_outcome(self) -> None:
        """Successes are ok, refusals have the code of their error, each took some time."""
        session = self.open()
        session.call(self.append(1))
        session.call(self.append(2))
        self.assertRaises(errors.SchemaViolation, session.call, self.append(3, expected_version=9))
        session.call(self.calls.get("order", "o-1"))
        counted = self.counted()
        self.assertEqual(counted["hello", "accepted"], 1)
        self.assertEqual(counted["append_event", "ok"], 2)
        self.assertEqual(counted["append_event", errors.VersionConflict.code], 1)
        self.assertEqual(counted["get_aggregate", "ok"], 1)
        for _labels, series in self.measures.control.series():
            self.assertGreaterEqual(series.total, series.count)

    def test_a_commit_of_one_write_counts_as_that_write(self) -> None:
        """Clients of today send commits where old ones sent single requests."""
        session = self.open()
        one = Write("append", "order", "o-1", "paid", "{}")
        other = Write("create", "order", "o-2", "made", "{}")
        for writes in ((one,), (other,), (one, one)):
            session.call(self.calls.commit_batch(writes, answer="receipts"))
        counted = self.counted()
        for operation in ("append_event", "create_aggregate", "commit_batch"):
            self.assertEqual(counted[operation, "ok"], 1, operation)

    def test_a_request_is_counted_when_it_is_answered(self) -> None:
        """A write that waits for the disk is not done yet, and counts even if nobody waits."""
        hop = Stepper()
        self.make(hop)
        self.watch()
        session = self.open()
        session.send(self.append(1))
        session.exchange()
        self.assertNotIn(("append_event", "ok"), self.counted())
        session.transport.loseConnection()
        hop.settle()
        self.assertEqual(self.counted()["append_event", "ok"], 1)

    def test_rejected_hellos_tell_the_cause(self) -> None:
        """The peer learns nothing, the operator does."""
        self.open("a.b.c")
        self.open("")
        self.assertEqual(self.counted(), {("hello", "rejected"): 2})
        failures = self.measures.auth_failures
        self.assertEqual(failures.get("control", errors.InvalidToken.code), 1)
        self.assertEqual(failures.get("control", errors.ConfigError.code), 1)

    def test_bad_tokens_of_requests_are_failures_of_authentication(self) -> None:
        """A session with a good hello may still carry a bad token."""
        session = self.open()
        self.calls = Calls("a.b.c")
        self.assertRaises(errors.InvalidToken, session.call, self.append(1))
        self.assertEqual(self.measures.auth_failures.get("control", "invalid_token"), 1)

    def test_requests_without_budget_are_failures_of_authentication(self) -> None:
        """Trying tokens on an open session is counted like trying them at the door."""
        session = self.open()
        for number in range(40):
            self.calls = Calls(f"a.b.{number}")
            self.assertRaises(errors.EventDBXError, session.call, self.append(1))
        failures = self.measures.auth_failures
        refused, limited = (
            failures.get("control", reason) for reason in ("invalid_token", "rate_limited")
        )
        self.assertEqual((refused + limited, limited > 0), (40, True))
        self.assertEqual(failures.get("control", errors.Unauthorized.code), 0)

    def test_traces_are_passed_on(self) -> None:
        """The metadata of the first event of a write goes to whoever traces, others do not."""
        session = self.open()
        session.call(self.append(1, metadata=TRACE))
        session.call(self.append(2))
        session.call(self.calls.get("order", "o-1"))
        ((operation, status, metadata),) = self.told.requests
        self.assertEqual((operation, status), ("append_event", "ok"))
        self.assertIn("0af7651916cd43dd", metadata)

    def test_every_request_has_a_label(self) -> None:
        """All operations have names of their own, those of old versions the old ones."""
        self.assertEqual(len(set(OPERATIONS.values())), len(OPERATIONS))
        self.assertLessEqual(
            {"list_aggregates", "get_aggregate", "list_events", "append_event", "patch_event",
             "verify_aggregate", "select_aggregate", "create_aggregate", "set_aggregate_archive",
             "list_referrers", "create_snapshot", "list_snapshots", "get_snapshot",
             "list_schemas", "replace_schemas", "tenant_assign", "tenant_unassign",
             "tenant_quota_set", "tenant_quota_clear", "tenant_quota_recalc", "tenant_reload",
             "tenant_schema_publish", "read_outbox", "parse"},
            set(OPERATIONS.values()),
        )  # fmt: skip
