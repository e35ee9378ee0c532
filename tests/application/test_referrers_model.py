"""The index of referrers against a model: whatever happens, it is what a full scan would give."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from eventdbx import limits
from eventdbx.domain.aggregate import Head
from eventdbx.errors import IndexUnfinished
from eventdbx.storage import eventlog
from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import synchronous
from tests.application.referencing import ReferenceCase, link, names, schema

KINDS = ("farm", "person")
CASCADES = st.sampled_from(["none", "restrict", "nullify"])
INTEGRITY = st.sampled_from(["strong", "weak", "weak"])
PLACES = st.builds("{}/{}".format, st.sampled_from(KINDS), st.sampled_from("abc"))
TEXTS = st.builds(
    "{}#{}".format,
    st.sampled_from(["", "farm", "person", "person", "default#farm", "default#person", "geo#farm"]),
    st.sampled_from("abc"),
)
VALUES = TEXTS | TEXTS | st.sampled_from([None, "nonsense", "##"])
PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "x": VALUES,
        "y": VALUES,
        "site": st.fixed_dictionaries({}, optional={"x": VALUES, "y": VALUES}) | VALUES,
        "n": st.integers(0, 3),
    },
)
LINKS = st.builds(link, integrity=INTEGRITY, cascade=CASCADES)
COLUMNS = st.fixed_dictionaries(
    {},
    optional={
        "x": LINKS,
        "y": LINKS,
        "site": st.builds(
            lambda properties: {"type": "object", "properties": properties},
            st.fixed_dictionaries({}, optional={"x": LINKS, "y": LINKS}),
        ),
    },
)


FIELDS = st.sampled_from(["/x", "/y", "/site", "/site/x", "/n"])
STEPS = st.builds(
    lambda source, target: {"op": "rename", "from": source, "to": target}, FIELDS, FIELDS
) | st.builds(lambda path, text: {"op": "default", "path": path, "value": text}, FIELDS, TEXTS)
UPCASTS = st.lists(st.lists(STEPS, min_size=1, max_size=2), max_size=2)


class World(ReferenceCase):
    """The case without a test of its own: what the machine works on."""

    durability = "never"  # Nothing pulls a plug here; the disk would only be waited for.

    def runTest(self) -> None:
        """Nothing."""


class ReferrersMachine(RuleBasedStateMachine):
    """Writes, patches, archives, schema changes and restarts, on the real store, while the index
    follows the schemas one aggregate at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.now = 0
        self.folder = tempfile.mkdtemp()
        self.columns: dict[str, dict[str, Any]] = {}
        self.upcasts: dict[str, list[Any]] = {}
        self.open()

    def open(self) -> None:
        """Open the store that the folder holds."""
        self.world.backend = RocksStore.open(f"{self.folder}/store")
        self.world.open(synchronous())

    def close(self) -> None:
        """Give the store back."""
        self.world.successResultOf(self.world.store.close())

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.close()
        shutil.rmtree(self.folder)

    @initialize(payloads=st.tuples(*[PAYLOADS] * 6), at_once=st.sampled_from([0, 0, 1, 1_000]))
    def begin(self, payloads: tuple[Any, ...], at_once: int) -> None:
        """Aggregates from before any schema, and how many are indexed in the step itself."""
        limits.INDEX_AT_ONCE_HEADS = at_once  # The test puts back what was there.
        places = [f"{kind}/{identifier}" for kind in KINDS for identifier in "abc"]
        for place, payload in zip(places, payloads, strict=True):
            assert ended(self.world.writing(place, payload))

    @rule(place=PLACES, payload=PAYLOADS)
    def write(self, place: str, payload: Any) -> None:
        """An event, which may be refused."""
        ended(self.world.writing(place, payload))

    @rule(place=PLACES, field=st.sampled_from(["x", "y"]), text=VALUES)
    def patch(self, place: str, field: str, text: Any) -> None:
        """A patch inside an object, where there is one."""
        operation = {"op": "add", "path": f"/site/{field}", "value": text}
        ended(self.world.writing(place, [operation], kind="patch"))

    @rule(place=PLACES, archived=st.booleans())
    def archive(self, place: str, archived: bool) -> None:
        """Archive or restore, which may be refused and may clear references."""
        kind, identifier = names(place)
        head = self.world.reader.aggregate(kind, identifier)
        took_leave = archived and head is not None and not head.archived
        if ended(self.world.archiving(place, archived)) and took_leave:
            for cascade in self.cascades(kind, identifier):
                assert cascade == "none", cascade

    def cascades(self, kind: str, identifier: str) -> Iterator[str]:
        """Yield the cascades of all references that active aggregates hold to another."""
        for *target, holder, by, path in self.scanned():
            head = self.world.reader.aggregate(holder, by)
            assert head is not None
            if target == ["default", kind, identifier] and not head.archived:
                if (holder, by) != (kind, identifier):
                    columns = self.columns[holder]
                    *outer, last = path.split(".")
                    for name in outer:
                        columns = columns[name]["properties"]
                    yield columns[last]["reference"]["cascade"]

    @rule(kind=st.sampled_from(KINDS))
    def index_some(self, kind: str) -> None:
        """The background gets one aggregate further."""
        self.world.index_some(kind)

    @rule()
    def follow(self) -> None:
        """The background has all the time that it needs."""
        self.world.follow()

    @rule(kind=st.sampled_from(KINDS), columns=COLUMNS)
    def declare(self, kind: str, columns: dict[str, Any]) -> None:
        """Other reference columns for a type that may have aggregates."""
        self.columns[kind] = columns
        self.put_in_force()

    @rule(kind=st.sampled_from(KINDS), upcast=UPCASTS)
    def upcast(self, kind: str, upcast: list[Any]) -> None:
        """Other upcasters for a type that may have events, or none."""
        self.upcasts[kind] = upcast
        self.put_in_force()

    def put_in_force(self) -> None:
        """Put what was declared in force."""
        schemas = [schema(name, **own) for name, own in self.columns.items()]
        for one in schemas:
            one["events"]["changed"]["upcast"] = self.upcasts.get(one["aggregate"], [])
        self.world.declare(*schemas)

    @rule()
    def restart(self) -> None:
        """Close the store and begin with nothing in memory."""
        self.close()
        self.open()

    @invariant()
    def index_is_what_a_scan_gives(self) -> None:
        """Each entry is one place of one state, and each place has its entry; types that are not
        indexed yet are known as such, and nobody is told half of the truth."""
        work = self.world.schemas.indexing.unindexed
        scanned = set(self.scanned())
        settled = {one for one in self.world.index() if one[3] not in work}
        assert settled == {one for one in scanned if one[3] not in work}
        assert self.world.faults() == []
        waits = any(self.world.schemas.in_force.reference_paths(kind) for kind in work)
        for place in ("farm/a", "person/b"):
            wanted_here = sorted(
                one[3:] for one in scanned if one[:3] == ("default", *names(place))
            )
            try:
                assert self.world.referrers(place) == wanted_here
                assert not waits
            except IndexUnfinished:
                assert waits

    def scanned(self) -> Iterator[tuple[str, ...]]:
        """Yield every reference of every state, found without the code under test."""
        for stored in heads(self.world):
            head = self.world.reader.aggregate(stored.aggregate_type, stored.aggregate_id)
            assert head is not None
            columns = self.columns.get(head.aggregate_type, {})
            for path, value in places(head.state, columns):
                parts = value.split("#") if isinstance(value, str) else []
                if len(parts) == 2:
                    parts = ["default", parts[0] or head.aggregate_type, parts[1]]
                if len(parts) == 3 and all(parts):
                    yield (*parts, head.aggregate_type, head.aggregate_id, path)


def heads(world: World) -> Iterator[Head]:
    """Yield all aggregates."""
    for archived in (False, True):
        yield from eventlog.heads(world.store.view(), archived=archived)


def places(state: Any, columns: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what lies where the columns say that references are."""
    for name, column in columns.items():
        value = state.get(name) if isinstance(state, dict) else None
        if column["type"] == "object":
            for path, inner in places(value, column["properties"]):
                yield f"{name}.{path}", inner
        else:
            yield name, value


def ended(deferred: Deferred[Any]) -> bool:
    """See that a step has ended, well (true) or refused, but not by a mistake of ours."""
    refusals: list[Any] = []
    deferred.addErrback(refusals.append)
    for failure in refusals:
        assert failure.check("eventdbx.errors.EventDBXError"), failure
        assert not failure.check("eventdbx.errors.StorageError"), failure
    return not refusals


class ReferrersModelTests(SynchronousTestCase):
    """The machine, run."""

    def test_index_and_states_agree(self) -> None:
        """No order of writes, archives, schema changes and restarts parts index and states."""
        self.patch(limits, "INDEX_AT_ONCE_HEADS", limits.INDEX_AT_ONCE_HEADS)
        self.patch(limits, "INDEX_HEADS", 1)
        run_state_machine_as_test(
            ReferrersMachine,
            settings=settings(max_examples=60, stateful_step_count=40, deadline=None),
        )
