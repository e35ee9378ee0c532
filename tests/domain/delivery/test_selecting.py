"""Which events a plugin gets, by the options of its entry."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.delivery.entries import LogConfig, PluginEntry
from eventdbx.domain.delivery.selecting import selector
from eventdbx.errors import InvalidSchema
from tests.domain.delivery.test_envelopes import parts_of


def selected(payload: dict[str, Any], **options: Any) -> bool:
    """Say whether an entry with some options wants the event ``order.paid`` of an order."""
    event = parts_of(payload).record
    assert event is not None
    return selector(PluginEntry(enabled=True, config=LogConfig(), **options))(event)


class SelectingTests(SynchronousTestCase):
    """Types, event types and filters."""

    def test_without_options(self) -> None:
        """Without options every event is wanted."""
        self.assertTrue(selected({}))

    def test_aggregates(self) -> None:
        """A list of aggregate types is all that is wanted."""
        self.assertTrue(selected({}, aggregates=("patient", "order")))
        self.assertFalse(selected({}, aggregates=("patient", "ord")))

    def test_events(self) -> None:
        """Event types are meant whichever way they are spelled."""
        self.assertTrue(selected({}, events=("order.paid",)))
        self.assertTrue(selected({}, events=("x", "order_paid")))
        self.assertFalse(selected({}, events=("order",)))

    def test_filter(self) -> None:
        """A filter is that of the event lists; all options must agree."""
        self.assertTrue(selected({"total": 12}, filter="payload.total > 10"))
        self.assertFalse(selected({"total": 9}, filter="payload.total > 10"))
        self.assertFalse(selected({"total": 12}, filter="payload.total > 10", events=("x",)))

    def test_no_filter(self) -> None:
        """A text that is no filter is refused when the selector is made."""
        with self.assertRaises(InvalidSchema):
            selected({}, filter="total >")
