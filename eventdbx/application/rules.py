"""What the writer asks of the schemas in force, and how the mode of restriction bears on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from eventdbx import limits
from eventdbx.application.views import Views
from eventdbx.domain.aggregate import Draft, Fold
from eventdbx.domain.canonical import JSON
from eventdbx.domain.schemas.contract import Contract
from eventdbx.domain.schemas.model import AggregateSchema, SchemaSet, Violation
from eventdbx.domain.schemas.references import ReferencePath, reference_paths
from eventdbx.domain.schemas.writing import set_document, set_text
from eventdbx.errors import ContractViolation, SchemaViolation
from eventdbx.settings import Restrict

if TYPE_CHECKING:
    from eventdbx.application.referring import Referring
    from eventdbx.domain.schemas.json_schema_check import DocumentChecks


class InForce:
    """The schemas of a domain at one moment, compiled. Never changes; a change makes another.

    ``digest`` names the content: two sets that differ in nothing but times have the same.
    """

    __slots__ = ("_reference_paths", "contracts", "digest", "schemas", "views")

    def __init__(
        self,
        schemas: SchemaSet,
        contracts: Mapping[str, Contract],
        digest: str,
        before: InForce | None = None,
    ) -> None:
        self.schemas = schemas
        self.contracts = contracts
        self.digest = digest
        self.views = Views(schemas)
        self._reference_paths: dict[str, tuple[ReferencePath, ...]] = {}
        if before is not None:
            self._reference_paths = {
                name: paths
                for name, paths in dict(before._reference_paths).items()
                if before.schemas[name] is schemas.get(name)
            }

    def schema(self, aggregate_type: str) -> AggregateSchema | None:
        """Return the schema of an aggregate type, or None."""
        return self.schemas.get(aggregate_type)

    def document(self) -> bytes:
        """Return the set as compact JSON."""
        return set_document({name: one.document for name, one in self.contracts.items()})

    def text(self) -> bytes:
        """Return the set as people and files have it."""
        return set_text({name: one.text for name, one in self.contracts.items()})

    def reference_paths(self, aggregate_type: str) -> tuple[ReferencePath, ...]:
        """Return where aggregates of a type hold references; worked out when first asked for."""
        paths = self._reference_paths.get(aggregate_type)
        if paths is None:
            schema = self.schemas.get(aggregate_type)
            if schema is None:
                return ()
            paths = self._reference_paths[aggregate_type] = reference_paths(schema)
        return paths


class SchemaRules(Protocol):
    """What the writer asks of the schemas in force."""

    def admit(self, aggregate_type: str, draft: Draft, known: Mapping[str, JSON] | None) -> Draft:
        """Return the draft with the mark of the schema that it fits.

        ``known`` is the state that a patch builds on; its keys need not be in the payload. Raises
        SchemaViolation when the draft does not fit.
        """

    def snapshot_threshold(self, aggregate_type: str) -> int:
        """Return every how many versions a snapshot is taken; 0 for never."""

    @property
    def upcasts(self) -> bool:
        """Whether any type has upcasters."""

    def fold(self, aggregate_type: str) -> Fold:
        """Return how the events of a type make its state."""

    @property
    def references(self) -> Referring:
        """What is asked of references."""


class ContractRules:
    """The rules that the schemas in force make, in one mode of restriction."""

    def __init__(self, restrict: Restrict, in_force: InForce, references: Referring) -> None:
        self.references = references
        self.put_in_force(in_force)
        self.bind(restrict)
        self._checks: DocumentChecks | None = None

    def bind(self, restrict: Restrict) -> None:
        """From now on let schemas bind so far."""
        self.restrict = restrict
        self._off = self.references.off = restrict == "off"

    def put_in_force(self, in_force: InForce) -> None:
        """From now on let these schemas make the rules."""
        self._in_force = in_force
        self.upcasts = bool(in_force.views.marks)

    def admit(self, aggregate_type: str, draft: Draft, known: Mapping[str, JSON] | None) -> Draft:
        """Validate a draft; the order of checks is that of docs/protocol.md."""
        contract = self._in_force.contracts.get(aggregate_type)
        if contract is None:
            if self.restrict == "strict":
                raise SchemaViolation(
                    f"aggregate {aggregate_type} requires a schema before events can be appended "
                    "when restrict=strict"
                )
            return draft
        message = contract.refuse(draft.event_type, draft.payload, known, off=self._off)
        if message is not None:
            found = self.violations(contract, draft.event_type, draft.payload, known)
            raise ContractViolation(message, [one._asdict() for one in found])
        return draft._replace(schema=contract.mark(draft.event_type))

    def violations(
        self,
        contract: Contract,
        event_type: str,
        payload: JSON,
        known: Mapping[str, JSON] | None = None,
    ) -> list[Violation]:
        """Return everything that is wrong with an event, VIOLATIONS_MAX at most.

        The contract decides in microseconds whether an event passes; what is wrong with one that
        does not is found by its JSON Schema. Tests prove that the two always agree.
        """
        if self._checks is None:
            from eventdbx.domain.schemas.json_schema_check import DocumentChecks  # 80 ms.

            self._checks = DocumentChecks()
        check = self._checks.check(contract, event_type)
        return check.violations(payload, known, off=self._off)[: limits.VIOLATIONS_MAX]

    def snapshot_threshold(self, aggregate_type: str) -> int:
        """Return every how many versions a snapshot is taken; 0 for never."""
        schema = self._in_force.schemas.get(aggregate_type)
        return 0 if schema is None else schema.snapshot_threshold or 0

    def fold(self, aggregate_type: str) -> Fold:
        """Return how the events of a type make its state."""
        return self._in_force.views.fold(aggregate_type)
