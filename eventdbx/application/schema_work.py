"""One change of a domain's schemas at work: what a step of the store puts for it.

What is slow about a set (compiling it, writing its texts) is done here before the step, from any
thread, so that the step itself only stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from eventdbx import limits
from eventdbx.application.rules import InForce
from eventdbx.domain.schemas.contract import Contract, compile_schema
from eventdbx.domain.schemas.history import (
    Action,
    AuditEntry,
    History,
    Version,
    checksum,
    cleaned,
    cleaned_labels,
    version_id,
)
from eventdbx.domain.schemas.model import SchemaSet
from eventdbx.domain.timestamps import format_ns
from eventdbx.errors import InvalidSchema
from eventdbx.storage import catalog, keys
from eventdbx.storage.store import Transaction

OWN_TEXTS_MAX = 64
"""Texts of ``schemas.json`` that are known not to have been edited by hand."""

EMPTY = InForce({}, {}, sha256(b"").hexdigest()[:32])


class Origin(NamedTuple):
    """Who changes schemas and why, as they say themselves; kept with the change."""

    actor: str | None = None
    reason: str | None = None


class Prepared(NamedTuple):
    """A set that was read, checked and compiled, and what to warn of."""

    in_force: InForce
    warnings: tuple[str, ...]

    @property
    def schemas(self) -> SchemaSet:
        """The schemas of the set."""
        return self.in_force.schemas

    @property
    def contracts(self) -> Mapping[str, Contract]:
        """The schemas, compiled."""
        return self.in_force.contracts


class Known(NamedTuple):
    """Everything the catalogue has in memory; replaced as a whole when a step succeeds."""

    in_force: InForce
    history: History
    changes: int
    files: tuple[str, ...]


class Work:
    """What one step changes; becomes the catalogue's memory when the step succeeds."""

    def __init__(self, transaction: Transaction, known: Known, now_ns: int) -> None:
        self._transaction = transaction
        self._before = known
        self._in_force = known.in_force
        self._history = known.history
        self._changes = known.changes
        self.now_ns = now_ns

    def put_in_force(self, wanted: InForce, what: str, origin: Origin) -> tuple[str, ...]:
        """Make a compiled set the one in force; return the names of the schemas that differ."""
        before = self._in_force
        names = tuple(
            name
            for name in sorted({*before.schemas, *wanted.schemas})
            if before.schemas.get(name) != wanted.schemas.get(name)
        )
        document = wanted.document()
        for name, contract in wanted.contracts.items():
            known = before.contracts.get(name)
            if known is not None and known.digest == contract.digest:
                continue
            if self._transaction.get(keys.schema_document(contract.digest)) is None:
                catalog.put_document(self._transaction, contract.digest, contract.document)
        catalog.put_set(self._transaction, document)
        change = {
            "timestamp": format_ns(self.now_ns),
            "actor": cleaned(origin.actor),
            "reason": cleaned(origin.reason),
            "action": what,
            "aggregates": list(names),
            "from": before.digest,
            "to": wanted.digest,
        }
        catalog.put_change(self._transaction, self._changes, change)
        self._changes += 1
        self._in_force = wanted
        return names

    def publish(self, wanted: InForce, origin: Origin, labels: Sequence[str]) -> Version:
        """Keep a compiled set as a version."""
        history = self._history
        text = wanted.text()
        version = Version(
            version_id(self.now_ns, {one.id for one in history.versions}),
            self.now_ns,
            cleaned(origin.actor),
            cleaned(origin.reason),
            None if history.latest is None else history.latest.id,
            checksum(text),
            cleaned_labels(labels),
            wanted.digest,
        )
        catalog.put_version(self._transaction, len(history.versions), version, text)
        self._history = history._replace(versions=(*history.versions, version))
        self.audit("publish", version.id, origin)
        return version

    def audit(
        self, action: Action, version: str, origin: Origin, details: str | None = None
    ) -> None:
        """Note what was done with a version."""
        history = self._history
        entry = AuditEntry(
            self.now_ns, cleaned(origin.actor), action, version, cleaned(origin.reason), details
        )
        catalog.put_audit(self._transaction, len(history.audit), entry)
        active = history.active if action == "publish" else version
        self._history = history._replace(audit=(*history.audit, entry), active=active)

    def finish(self) -> Known:
        """Put the small part; return what the catalogue knows from now on."""
        text = self._in_force.text()
        files = (*self._before.files, digest_of(text))[-OWN_TEXTS_MAX:]
        history = self._history
        state = catalog.State(
            history.active, len(history.versions), len(history.audit), self._changes, files
        )
        catalog.put_state(self._transaction, state)
        return Known(self._in_force, history, self._changes, files)


def compiled(schemas: SchemaSet, known: InForce) -> InForce:
    """Compile what is not compiled yet, and work out all that a step asks of a set.

    Slow for large sets: run it on a thread. Raises InvalidSchema for a set that is too large.
    """
    contracts: dict[str, Contract] = {}
    weight, weight_max = 0, limits.PATTERNS_COMPILED_BYTES_MAX
    for name, schema in schemas.items():
        contract = known.contracts.get(name)
        if contract is None or contract.schema != schema:
            contract = compile_schema(schema)
        contracts[name] = contract
        weight += contract.patterns_weight
        if weight > weight_max:
            raise InvalidSchema(
                f"the patterns of a set of schemas cannot be larger than {weight_max} bytes "
                "when compiled"
            )
    in_force = InForce({name: one.schema for name, one in contracts.items()}, contracts,
                       _content(contracts), known)  # fmt: skip
    if len(in_force.document()) > limits.SCHEMA_SET_BYTES_MAX:
        size = limits.SCHEMA_SET_BYTES_MAX
        raise InvalidSchema(f"a set of schemas cannot exceed {size} bytes")
    in_force.text()
    for name in contracts:
        in_force.reference_paths(name)
    return in_force


def _content(contracts: Mapping[str, Contract]) -> str:
    """Return the digest of a set without its times."""
    pieces = b"".join(
        name.encode() + b"\x00" + contracts[name].digest for name in sorted(contracts)
    )
    return sha256(pieces).hexdigest()[:32]


def digest_of(text: bytes) -> str:
    """Return what is kept of an exported text to know it again."""
    return sha256(text.strip()).hexdigest()[:32]
