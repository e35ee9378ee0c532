"""The suite and the reference's examples against the JSON Schema documents of their schemas."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.canonical import parse
from eventdbx.domain.identifiers import normalise_event_type
from eventdbx.domain.patches import apply_patch
from eventdbx.domain.schemas.contract import compile_schema
from eventdbx.domain.schemas.declaring import repair
from eventdbx.domain.schemas.json_schema import document
from eventdbx.domain.schemas.json_schema_check import DocumentCheck
from eventdbx.domain.schemas.reading import read_schema
from tests.conformance.suite import placed_cases
from tests.conformance.test_contract import Checked, contracts
from tests.conformance.test_documentation import examples


class DocumentTests(SynchronousTestCase):
    """Every case, decided by JSON Schema with our keywords."""

    def test_suite(self) -> None:
        """Each case comes out as in the table, with all violations of the validator."""
        wrong = []
        for one in placed_cases():
            case, checked = one.case, Checked(one)
            known = None if case.state is None else parse(case.state)
            assert known is None or isinstance(known, dict)
            payload = parse(case.payload)
            if known is not None:
                payload = apply_patch(known, payload)
            schema = contracts(case.restrict)[one.aggregate].schema
            check = DocumentCheck(
                document(schema, normalise_event_type(case.event), domain="default")
            )
            found = check.violations(payload, known, off=case.restrict == "off")
            first = found[0].message if found else None
            if first != one.expected or found != checked.violations:
                wrong.append((case.title, found, one.expected))
        self.assertEqual(wrong, [])

    def test_examples_of_the_reference(self) -> None:
        """Each example of the documentation comes out as it says there."""
        wrong = []
        for declared, event, payload, outcome in examples():
            schema, _warnings = repair(read_schema(declared, "order", now_ns=0))
            found = DocumentCheck(
                document(schema, normalise_event_type(event), domain="default")
            ).violations(parse(payload))
            if (found[0].message if found else "accepted") != outcome:
                wrong.append((declared, payload, found, outcome))
            self.assertEqual(
                found,
                compile_schema(schema).violations(normalise_event_type(event), parse(payload)),
            )
        self.assertEqual(wrong, [])
