"""Following references: aggregates with those that they name, to a depth.

A target is shown only to who may read it, in its own domain, and what one request fetches is
bounded. Statuses and shapes are those of docs/references.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from eventdbx import limits
from eventdbx.application.reader import Reader, Visible
from eventdbx.domain.aggregate import Head, aggregate_document
from eventdbx.domain.canonical import dump
from eventdbx.domain.schemas.references import Reference, ReferencePath, parsed_or_none, texts_at

Paths = Callable[[str], tuple[ReferencePath, ...]]
"""Returns where aggregates of a type hold references."""


class Place(NamedTuple):
    """A domain as one caller sees it."""

    domain: str
    reader: Reader
    paths: Paths
    visible: Visible


class Resolver:
    """Resolved forms of the aggregates of one answer.

    ``places`` are the domains that are open to the caller, None for one that is not. References
    to a domain which is not among them are taken for closed, and its name is put in ``missed``:
    a caller that can look the domain up does so and resolves again. That way domains are opened
    on one thread, whichever one resolves.
    """

    def __init__(
        self,
        home: Place,
        places: Mapping[str, Place | None] | None = None,
        *,
        fetches_max: int = limits.RESOLVED_AGGREGATES_MAX,
        bytes_max: int = limits.RESOLVED_BYTES_MAX,
    ) -> None:
        self._home = home
        self._places = {**(places or {}), home.domain: home}
        self._fetches_left = fetches_max
        self._bytes_left = bytes_max
        self.missed: set[str] = set()

    def form(self, head: Head, plain: bytes, *, depth: int) -> bytes:
        """Return the resolved form of an aggregate of the home domain, as JSON.

        ``plain`` is its document. Depth 0 lists its references without following them.
        """
        return self._form(self._home, head, plain, depth, ())

    def _form(
        self,
        place: Place,
        head: Head,
        plain: bytes,
        depth: int,
        above: tuple[Reference, ...],
    ) -> bytes:
        form = b'{"domain":%b,"aggregate":%b' % (dump(place.domain), plain)
        here = (*above, Reference(place.domain, head.aggregate_type, head.aggregate_id))
        found = [
            self._followed(place, head, path, text, depth, here)
            for path, text in texts_at(head.state, place.paths(head.aggregate_type))
            if text  # Cleared by the reference implementation, which stores no null.
        ]
        if found:
            form += b',"references":[%b]' % b",".join(found)
        return form + b"}"

    def _followed(
        self,
        place: Place,
        head: Head,
        path: ReferencePath,
        text: str,
        depth: int,
        here: tuple[Reference, ...],
    ) -> bytes:
        target = parsed_or_none(text, domain=place.domain, aggregate_type=head.aggregate_type)
        if target is None:
            # A text that names nothing is shown where an id would be.
            return _entry(path, Reference(place.domain, "", text), "not_found")
        if depth == 0:
            return _entry(path, target, "depth_exceeded")
        if target in here:
            return _entry(path, target, "cycle")
        there = self._place(target.domain)
        if there is None or not there.visible(target.aggregate_type, target.aggregate_id):
            return _entry(path, target, "forbidden")
        if self._fetches_left <= 0 or self._bytes_left <= 0:
            return _entry(path, target, "depth_exceeded")
        self._fetches_left -= 1
        found = there.reader.aggregate(target.aggregate_type, target.aggregate_id)
        if found is None:
            return _entry(path, target, "not_found")
        plain = aggregate_document(found)
        self._bytes_left -= len(plain)
        return _entry(path, target, "ok", self._form(there, found, plain, depth - 1, here))

    def _place(self, domain: str) -> Place | None:
        if domain not in self._places:
            self.missed.add(domain)
        return self._places.get(domain)


def _entry(
    path: ReferencePath, target: Reference, status: str, resolved: bytes | None = None
) -> bytes:
    entry = b'{"path":%b,"reference":{"domain":%b,"aggregate_type":%b,"aggregate_id":%b}' % (
        dump(path.text),
        *map(dump, target),
    )
    entry += b',"status":"%b"' % status.encode()
    return entry + (b"}" if resolved is None else b',"resolved":%b}' % resolved)
