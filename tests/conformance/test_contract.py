"""The suite against the validator itself."""

from __future__ import annotations

from functools import cache

import orjson
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.canonical import JSON, parse
from eventdbx.domain.identifiers import normalise_event_type
from eventdbx.domain.patches import apply_patch
from eventdbx.domain.schemas.contract import Contract, compile_schema
from eventdbx.domain.schemas.declaring import repair
from eventdbx.domain.schemas.reading import read_schemas
from tests.conformance.suite import Placed, placed_cases, schema_document

MODES = ("default", "off", "strict")
CASES_MIN = 300


@cache
def contracts(restrict: str) -> dict[str, Contract]:
    """Return the compiled schemas of a mode, read as a server reads those of a peer."""
    schemas, _warnings = read_schemas(orjson.dumps(schema_document(restrict)), now_ns=0)
    return {name: compile_schema(repair(schema)[0]) for name, schema in schemas.items()}


class Checked:
    """What the validator says of a case."""

    def __init__(self, placed: Placed) -> None:
        case = placed.case
        payload = parse(case.payload)
        known: dict[str, JSON] | None = None
        if case.state is not None:
            state = parse(case.state)
            assert isinstance(state, dict)
            payload, known = apply_patch(state, payload), state
        event, off = normalise_event_type(case.event), case.restrict == "off"
        contract = contracts(case.restrict)[placed.aggregate]
        before = orjson.dumps(payload)
        self.message = contract.refuse(event, payload, known, off=off)
        self.violations = contract.violations(event, payload, known, off=off)
        self.payload: JSON = payload
        self.unchanged = orjson.dumps(payload) == before


class ConformanceTests(SynchronousTestCase):
    """Every case, decided by the validator."""

    def test_size(self) -> None:
        """The suite holds hundreds of cases, of both kinds, each with a name of its own."""
        placed = placed_cases()
        self.assertGreaterEqual(len(placed), CASES_MIN)
        titles = [one.case.title for one in placed]
        self.assertEqual(len(titles), len(set(titles)))
        for refused in (True, False):
            count = sum((one.expected is not None) is refused for one in placed)
            self.assertGreater(count, CASES_MIN // 3)

    def test_first_message(self) -> None:
        """Each case is accepted, or refused in the words of the table."""
        wrong = [
            (one.case.title, found, one.expected)
            for one in placed_cases()
            if (found := Checked(one).message) != one.expected
        ]
        self.assertEqual(wrong, [])

    def test_all_violations(self) -> None:
        """The list of all violations begins with the one that is told first."""
        wrong = []
        for one in placed_cases():
            found = Checked(one).violations
            first = found[0].message if found else None
            if first != one.expected:
                wrong.append((one.case.title, first, one.expected))
        self.assertEqual(wrong, [])

    def test_payloads_stay(self) -> None:
        """Validation changes nothing in a payload."""
        self.assertEqual([one for one in placed_cases() if not Checked(one).unchanged], [])

    def test_pointers(self) -> None:
        """Each violation's pointer leads into the payload, or to where a member is missing."""
        wrong = []
        for one in placed_cases():
            checked = Checked(one)
            for violation in checked.violations:
                absent = violation.rule in ("required", "missing", "reference")
                if not leads_somewhere(checked.payload, violation.pointer, absent=absent):
                    wrong.append((one.case.title, violation))
        self.assertEqual(wrong, [])


def leads_somewhere(value: JSON, pointer: str, *, absent: bool) -> bool:
    """Say whether a JSON Pointer names a member; the last one may be ``absent``."""
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    for place, token in enumerate(tokens):
        if not isinstance(value, dict) or token not in value:
            return absent and place == len(tokens) - 1
        value = value[token]
    return True
