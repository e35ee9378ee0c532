"""Bundles of evidence on the control protocol: a row of the table of integrity operations.

The first request begins an export and is answered with the bundle's first line; each of the others
names the export and the place that the last answer ended at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from eventdbx import limits
from eventdbx.application.evidence import Asking, Page, Place, Selector, begin
from eventdbx.domain.canonical import JSON
from eventdbx.errors import ConfigError
from eventdbx.storage import keys
from eventdbx.surfaces.control.asked import Asked

if TYPE_CHECKING:
    from eventdbx.surfaces.control.integrity import Work

Document = dict[str, Any]


def evidence(work: Work) -> Deferred[Document]:
    """A page of a bundle of evidence: its lines, and where the next page begins."""
    number = work.asked.number("export")
    asking = Asking(work.grant, work.session.seen())
    if number is None:
        return Deferred.fromCoroutine(_begun(work, asking))
    exports = work.session.domain.exports
    export, place = exports.find(number, work.grant.jti), _place(work.asked)

    def made(page: Page) -> Document:
        if page.next is None:
            exports.end(number)
        return _answer(number, page, export.position)

    answer: Deferred[Page] = work.run_slowly(lambda: export.page(place, asking))
    return answer.addCallback(made)


async def _begun(work: Work, asking: Asking) -> Document:
    domain = work.session.domain
    export = await begin(domain, _selectors(work.asked), asking, work.run_slowly)
    return _answer(domain.exports.add(export), Page(export.header, Place()), export.position)


def _answer(number: int, page: Page, position: int) -> Document:
    place = None
    if page.next is not None:
        place = page.next._asdict()
        place["name"] = list(keys.split_name(page.next.name)) if page.next.name else None
    return {"export": number, "lines": page.lines.decode(), "next": place, "position": position}


def _place(asked: Asked) -> Place:
    """Return the place of an earlier answer's ``next``."""
    place = Asked(asked.members("after"), ConfigError)
    numbers = [place.number(name) or 0 for name in ("version", "aggregates", "events", "mark")]
    name = place.value("name")
    return Place(b"" if name is None else keys.name(*_names(name)), *numbers)


def _selectors(asked: Asked) -> list[Selector]:
    """Return what is to be exported; everything where nothing is named."""
    listed = asked.value("aggregates")
    if listed is None:
        return []
    if type(listed) is not list or not 0 < len(listed) <= limits.EVIDENCE_SELECTORS_MAX:
        raise ConfigError(
            f"'aggregates' must be an array of 1 to {limits.EVIDENCE_SELECTORS_MAX} aggregates"
        )
    return [_selector(one) for one in listed]


def _selector(one: JSON) -> Selector:
    if type(one) is list and len(one) == 2 and type(one[0]) is str and one[1] is None:
        return one[0], None
    return _names(one)


def _names(one: JSON) -> tuple[str, str]:
    if type(one) is list and len(one) == 2 and type(one[0]) is str and type(one[1]) is str:
        if "\x00" not in one[0] + one[1]:
            return one[0], one[1]
    raise ConfigError("an aggregate is an array of its type and its id, null for the whole type")
