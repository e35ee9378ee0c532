"""Tests of events as CloudEvents."""

from __future__ import annotations

import orjson
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.delivery import cloudevents
from eventdbx.domain.delivery.envelopes import json_body, sample_parts


class Attributes(SynchronousTestCase):
    """Context attributes, and how they travel in headers."""

    def test_the_context_says_where_an_event_belongs(self) -> None:
        """Every attribute, by name."""
        self.assertEqual(
            cloudevents.attributes(sample_parts("all")),
            {
                "specversion": "1.0",
                "id": "1234567890",
                "source": "/eventdbx/default/patient",
                "type": "patient-updated",
                "subject": "p-001",
                "partitionkey": "patient/p-001",
                "sequence": "5",
                "time": "2024-12-01T17:22:43.512345Z",
            },
        )

    def test_the_time_is_missing_where_the_mode_hides_it(self) -> None:
        """An optional attribute is better missing than wrong."""
        self.assertNotIn("time", cloudevents.attributes(sample_parts("schema-only")))

    def test_headers_hold_printable_ascii(self) -> None:
        """Others are percent-encoded, as the binding for HTTP says; a source is a URI."""
        parts = sample_parts("all")._replace(aggregate_id='ö "%\r\n', domain="a b/c")
        found = cloudevents.headers(parts)
        self.assertEqual(found["ce-subject"], "%C3%B6%20%22%25%0D%0A")
        self.assertEqual(cloudevents.attributes(parts)["source"], "/eventdbx/a%20b%2Fc/patient")
        self.assertEqual(found["ce-source"], "/eventdbx/a%2520b%252Fc/patient")


class Bodies(SynchronousTestCase):
    """What is sent."""

    def test_the_body_of_binary_mode_is_what_the_mode_is_about(self) -> None:
        """The payload of an event, else the state, the extensions or the schema."""
        payload = {"comment": "Archived via API", "status": "inactive"}
        for mode in ("all", "event-only", "event-and-schema"):
            self.assertEqual(orjson.loads(cloudevents.data(sample_parts(mode))), payload)
        state = orjson.loads(cloudevents.data(sample_parts("state-only")))
        self.assertEqual((state["aggregate_id"], state["version"]), ("p-001", 5))
        parts = sample_parts("extensions-only")
        self.assertEqual(cloudevents.data(parts), b"null")
        assert parts.record is not None
        extended = parts._replace(record=parts.record._replace(extensions=b'{"@x":1}'))
        self.assertEqual(cloudevents.data(extended), b'{"@x":1}')
        schema = sample_parts("schema-only")._replace(schema=b'{"aggregate":"patient"}')
        self.assertEqual(cloudevents.data(schema), b'{"aggregate":"patient"}')

    def test_an_erased_payload_is_null(self) -> None:
        """Whatever bytes are left of it."""
        parts = sample_parts("all")
        assert parts.record is not None
        erased = parts._replace(record=parts.record._replace(salt=b""))
        self.assertEqual(cloudevents.data(erased), b"null")

    def test_a_structured_document_holds_what_others_get(self) -> None:
        """Attributes beside the document of other plugins."""
        parts = sample_parts("all")
        document = orjson.loads(cloudevents.structured(parts))
        self.assertEqual(document.pop("data"), orjson.loads(json_body(parts)))
        self.assertEqual(document.pop("datacontenttype"), "application/json")
        self.assertEqual(document, cloudevents.attributes(parts))
