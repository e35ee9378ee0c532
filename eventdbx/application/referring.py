"""References at write: their canonical form, their integrity, and what archiving does to them.

Everything here runs inside a step of the writer, against everything accepted so far. The index of
who refers to whom is in ``application.referrers``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from eventdbx import limits
from eventdbx.application.drafting import check_payload_size
from eventdbx.application.indexing import Indexing
from eventdbx.application.referrers import (
    Referrer,
    entries,
    referrers,
    replace_entries,
    unfinished,
)
from eventdbx.application.rules import InForce
from eventdbx.domain.aggregate import Draft, Head
from eventdbx.domain.canonical import JSON, dump
from eventdbx.domain.schemas.model import ReferenceRule
from eventdbx.domain.schemas.references import (
    Reference,
    ReferencePath,
    nulled,
    parse_reference,
    parsed_or_none,
    rule_fault,
    texts_at,
    with_values,
)
from eventdbx.errors import IndexUnfinished, SchemaViolation, Unauthorized
from eventdbx.storage import keys
from eventdbx.storage.store import Transaction

NULLIFY_EVENT = "_ref_nullify"
"""The event that clears references to an archived aggregate; no client can send it."""

_NAMED_BLOCKERS = 5
_UNKNOWN_RULE = ReferenceRule()

Authorise = Callable[[str, str], None]
Load = Callable[[bytes], "Head | None"]
"""Returns the head under a canonical name, as of everything accepted so far."""


class Clearing(NamedTuple):
    """The event that an aggregate gets when one that it refers to is archived."""

    name: bytes
    head: Head
    draft: Draft


class Referring:
    """The references of one domain, under the schemas in force, indexed by ``indexing``.

    ``off`` leaves malformed references alone and looks at no target; ``none_blocks`` lets
    references with cascade ``none`` block an archive, as the reference implementation does.
    """

    def __init__(
        self,
        domain: str,
        in_force: Callable[[], InForce],
        indexing: Indexing,
        *,
        off: bool = False,
        none_blocks: bool = False,
    ) -> None:
        self._domain = domain
        self._in_force = in_force
        self._indexing = indexing
        self.off = off
        self._none_blocks = none_blocks

    def paths(self, aggregate_type: str) -> tuple[ReferencePath, ...]:
        """Return where aggregates of a type hold references; empty for most types."""
        return self._in_force().reference_paths(aggregate_type)

    def canonical(self, head: Head, draft: Draft, load: Load, authorise: Authorise) -> Draft:
        """Return a draft whose references are in canonical form and may be written.

        Raises SchemaViolation for the first that is malformed, names what its column does not
        admit, or is strong and names what is missing or closed to the caller; InvalidSchema when
        the canonical payload is too large.
        """
        paths = self.paths(head.aggregate_type)
        payload = draft.payload
        if not paths or type(payload) is not dict:
            return draft
        changes: list[tuple[ReferencePath, JSON]] = []
        for path, text in texts_at(payload, paths, payload=True):
            reference = self._admitted(path, text, head, load, authorise)
            if reference is not None and str(reference) != text:
                changes.append((path, str(reference)))
        if not changes:
            return draft
        rewritten = with_values(payload, changes)
        document = dump(rewritten)
        check_payload_size(document)
        return draft._replace(payload=rewritten, payload_json=document)

    def _admitted(
        self, path: ReferencePath, text: str, head: Head, load: Load, authorise: Authorise
    ) -> Reference | None:
        domain, aggregate_type = self._domain, head.aggregate_type
        if self.off:
            return parsed_or_none(text, domain=domain, aggregate_type=aggregate_type)
        reference = parse_reference(text, domain=domain, aggregate_type=aggregate_type)
        fault = rule_fault(path, reference)
        if fault is None and path.rule.integrity == "strong":
            fault = self._target_fault(path, reference, load, authorise)
        if fault is not None:
            raise SchemaViolation(fault)
        return reference

    def _target_fault(
        self, path: ReferencePath, reference: Reference, load: Load, authorise: Authorise
    ) -> str | None:
        closed = f"reference {path.text} points to an aggregate the caller cannot access "
        if reference.domain != self._domain:
            return f"{closed}({reference})"
        names = reference.aggregate_type, reference.aggregate_id
        try:
            authorise("aggregate.read", f"aggregate:{names[0]}:{names[1]}")
        except Unauthorized:
            return f"{closed}({reference})"
        if load(keys.name(*names)) is None:
            return f"reference {path.text} points to missing aggregate {reference}"
        return None

    def index(
        self, transaction: Transaction, name: bytes, before: Head, payload: JSON, after: Head
    ) -> None:
        """Make the index follow an event that led from one head to another."""
        paths = self.paths(after.aggregate_type)
        if self._indexing.moved(transaction, name, paths, before.state, after):
            return
        if not paths or type(payload) is not dict:
            return
        old = before.state
        touched = [
            path
            for path in paths
            if (field := path.segments[0]) in payload and old.get(field) != payload[field]
        ]
        if touched:
            place = self._domain, after.aggregate_type
            replace_entries(
                transaction,
                entries(name, touched, before.state, *place),
                entries(name, touched, after.state, *place),
            )

    def refolded(self, transaction: Transaction, name: bytes, stored: Head, head: Head) -> None:
        """Make the index follow a stored state that was folded anew."""
        paths = self.paths(head.aggregate_type)
        self._indexing.moved(transaction, name, paths, stored.state, head)

    def replaced(self, transaction: Transaction, name: bytes, before: Head, after: Head) -> None:
        """Make the index follow a state that has changed without an event."""
        paths = self.paths(after.aggregate_type)
        if self._indexing.moved(transaction, name, paths, before.state, after) or not paths:
            return
        place = self._domain, after.aggregate_type
        replace_entries(
            transaction,
            entries(name, paths, before.state, *place),
            entries(name, paths, after.state, *place),
        )

    def clearings(self, transaction: Transaction, target: Head, load: Load) -> list[Clearing]:
        """Return what the aggregates that refer to one get when it is archived, by (type, id).

        Raises SchemaViolation, naming the first, when references forbid it, and IndexUnfinished
        while it is not known which there are. The aggregate's own references, and those of
        archived aggregates, neither forbid it nor are cleared.
        """
        self._need_index(target)
        wanted = self._reference_to(target)
        blockers: list[Referrer] = []
        cleared: dict[bytes, tuple[Head, list[ReferencePath]]] = {}
        for referrer in referrers(transaction, wanted):
            if referrer.aggregate_type in self._indexing.unindexed:
                continue
            name = keys.name(referrer.aggregate_type, referrer.aggregate_id)
            holder = load(name)
            if holder is None or holder.archived or holder[:2] == target[:2]:
                continue
            paths = [one for one in self.paths(holder.aggregate_type) if one.text == referrer.path]
            cascades = {path.rule.cascade for path in paths or [_gone(referrer.path)]}
            if "restrict" in cascades or (self._none_blocks and "none" in cascades):
                blockers.append(referrer)
                if len(blockers) == _NAMED_BLOCKERS:
                    break
            elif "nullify" in cascades:
                cleared.setdefault(name, (holder, []))[1].extend(paths)
                if len(cleared) > limits.NULLIFIED_AGGREGATES_MAX:
                    raise SchemaViolation(_too_many(target))
        if blockers:
            raise SchemaViolation(self._blocked(target, blockers))
        return [
            Clearing(name, holder, self._clearing(holder, paths, wanted))
            for name, (holder, paths) in cleared.items()
        ]

    def _need_index(self, target: Head) -> None:
        """Raise IndexUnfinished while a type is unindexed whose references could decide.

        Of the others the old entries say nothing either.
        """
        deciding = {"restrict", "nullify", "none" if self._none_blocks else "restrict"}
        for name, work in self._indexing.unindexed.items():
            if any(path.rule.cascade in deciding for path in self.paths(name)):
                raise IndexUnfinished(
                    f"aggregate {target.aggregate_type}:{target.aggregate_id} cannot be archived "
                    f"yet: {unfinished(name, work)}"
                )

    def _clearing(self, holder: Head, paths: list[ReferencePath], target: Reference) -> Draft:
        """Return the event that clears the references to a target at some paths."""
        there = [
            path
            for path, text in texts_at(holder.state, paths)
            if self._names(text, holder.aggregate_type) == target
        ]
        payload: Mapping[str, JSON] = nulled(holder.state, there)
        return Draft(
            NULLIFY_EVENT,
            NULLIFY_EVENT,
            dict(payload),
            dump(payload),
            None,
            None,
            None,
            f"auto-nullify due to {target}",
        )

    def _names(self, text: str, aggregate_type: str) -> Reference | None:
        return parsed_or_none(text, domain=self._domain, aggregate_type=aggregate_type)

    def _reference_to(self, head: Head) -> Reference:
        return Reference(self._domain, head.aggregate_type, head.aggregate_id)

    def _blocked(self, target: Head, blockers: list[Referrer]) -> str:
        seen = self._in_force().views.seen()
        named = ", ".join(
            f"{self._domain}:{one.aggregate_type}:{one.aggregate_id} ({one.path})"
            if seen.shows_path(one.aggregate_type, one.path)
            else "one that is hidden"
            for one in blockers
        )
        return (
            f"aggregate {target.aggregate_type}:{target.aggregate_id} cannot be archived; "
            f"referenced by {named}"
        )


def _too_many(target: Head) -> str:
    return (
        f"aggregate {target.aggregate_type}:{target.aggregate_id} cannot be archived; references "
        f"of more than {limits.NULLIFIED_AGGREGATES_MAX} aggregates would have to be cleared"
    )


def _gone(path: str) -> ReferencePath:
    return ReferencePath((path,), _UNKNOWN_RULE)
