"""Erased events under schemas: upcasters, references, hidden fields, rehearsals."""

from __future__ import annotations

from typing import Any

import orjson

from eventdbx import errors
from eventdbx.application.judging import Candidate, Judging
from eventdbx.application.referrers import referrers
from eventdbx.domain.schemas.references import Reference
from eventdbx.storage import eventlog, keys, records
from tests.erasure.places import OnDisk

RENAME = [{"op": "rename", "from": "/name", "to": "/full_name"}]


def order(*upcast: list[dict[str, Any]], **members: Any) -> str:
    """Return the schema of orders."""
    events = {"made": {"upcast": list(upcast)}} if upcast else {"made": {}}
    return orjson.dumps({"order": {"aggregate": "order", "events": events, **members}}).decode()


class UnderSchemas(OnDisk):
    """Orders, and schemas that change."""

    def put(self, text: str) -> None:
        """Put schemas in force."""
        schemas = self.domain.schemas
        self.successResultOf(schemas.replace(schemas.prepare(text)))

    def judged(self, text: str) -> int:
        """Return how often events break a rule of schemas."""
        judging = Judging(
            Candidate(self.domain.schemas.prepare(text).contracts, "default"),
            self.domain.store.view(),
            aggregates=None,
            accepted_by=lambda _digest: None,
        )
        while not judging.advance(self.domain.store.view(), lambda: False):
            pass
        return sum(found.count for _broken, found in judging.report())

    def test_upcasters_see_nothing_of_it(self) -> None:
        self.write("o-1", {"name": "Kim"})
        self.write("o-1", {"name": "Lee"}, subject="lee")
        self.put(order(RENAME, [{"op": "map", "path": "/full_name", "values": {"Lee": "L."}}]))
        self.assertEqual(self.state("o-1"), {"full_name": "L."})
        self.erase_subject("lee")
        self.assertEqual(self.state("o-1"), {"full_name": "Kim"})
        self.erase("o-1")
        self.assertEqual(self.state("o-1"), {})
        shown = [self.domain.seen().event(one) for one in self.events("o-1")]
        self.assertEqual([one.payload for one in shown[:2]], [b"null", b"null"])
        self.put(order(RENAME))
        self.assertEqual(self.state("o-1"), {})
        self.write("o-1", {"full_name": "Max"})
        self.assertEqual(self.state("o-1"), {"full_name": "Max"})
        self.reopen()
        self.assertEqual(self.state("o-1"), {"full_name": "Max"})
        self.assertEqual(self.findings(), [])

    def test_references_are_indexed_no_more(self) -> None:
        column = {"type": "text", "format": "reference"}
        self.put(order(column_types={"owner": column, "seller": column}))
        for number in (7, 8):
            self.write(f"o-{number}", {})
        self.write("o-1", {"seller": "default#order#o-8"})
        self.write("o-1", {"owner": "default#order#o-7"}, subject="lee")

        def to(target: str) -> list[str]:
            found = referrers(self.domain.store.view(), Reference("default", "order", target))
            return [one.aggregate_id for one in found]

        self.assertEqual((to("o-7"), to("o-8")), (["o-1"], ["o-1"]))
        self.erase_subject("lee")
        self.assertEqual((to("o-7"), to("o-8")), ([], ["o-1"]))
        self.erase("o-1")
        self.assertEqual((to("o-7"), to("o-8")), ([], []))
        self.assertEqual(self.findings(), [])
        self.archive("o-8", "nobody refers to it")

    def test_a_rehearsal_passes_over_it(self) -> None:
        self.write("o-1", {"name": 1})
        self.write("o-1", {"name": 2})
        self.erase("o-1")
        self.write("o-1", {"name": "Kim"})
        text = order(column_types={"name": "text", "must": {"type": "text", "required": True}})
        self.assertEqual(self.judged(text), 0)
        self.write("o-2", {"name": 3})
        self.assertEqual(self.judged(text), 2)  # What is missing, and a number.

    def test_the_event_takes_no_schema(self) -> None:
        schema = {"order": {"aggregate": "order", "events": {"dbx.erased": {}}}}
        text = orjson.dumps(schema).decode()
        failure = self.assertRaises(errors.EventDBXError, self.put, text)
        self.assertIn("erasures alone", str(failure))

    def test_hidden_fields(self) -> None:
        self.write("o-1", {"name": "Kim", "open": 1})
        self.put(order(hidden_fields=["name", "_value"]))
        self.erase("o-1")
        shown = self.domain.seen().event(self.events("o-1")[0])
        self.assertEqual((shown.payload, shown.erased), (b"null", True))

    def test_a_snapshot_threshold_takes_none_of_an_erasure(self) -> None:
        self.put(order(snapshot_threshold=2))
        self.write("o-1", {"a": 1})
        self.erase("o-1")
        view = self.domain.store.view()
        self.assertEqual(list(eventlog.snapshots(view, "order", "o-1")), [])
        self.write("o-1", {"a": 2})
        self.write("o-1", {"a": 3})
        kept = list(eventlog.snapshots(self.domain.store.view(), "order", "o-1"))
        self.assertEqual([(one.version, dict(one.state)) for one in kept], [(4, {"a": 3})])

    def test_an_old_copy_is_indexed_and_folded_anew(self) -> None:
        self.write("o-1", {"name": "Kim"})
        self.write("o-1", {"name": "Lee"}, subject="lee", tag="told")
        copy = self.copy()
        self.erase_subject("lee")
        self.with_keys_of_today(copy)
        self.successResultOf(self.domain.store.close())
        self.open(copy)
        self.put(order(RENAME))
        self.assertEqual(self.state("o-1"), {"full_name": "Kim"})
        self.write("o-1", {"full_name": "Max"})
        self.assertEqual(self.state("o-1"), {"full_name": "Max"})
        head = eventlog.load_head(self.domain.store.view(), keys.name("order", "o-1"))
        assert head is not None
        self.assertNotEqual(head.fold_mark, records.ERASED_FOLD)
        self.assertEqual(head.extensions, {})
