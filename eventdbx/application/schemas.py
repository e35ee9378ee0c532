"""The catalogue of a domain's schemas: the set in force, its published versions, its audit.

Every change is one step of the store, so two publishers cannot interleave, a crash leaves the old
set or the new one, and the next append meets what the change left. A set is read, checked and
compiled before anything of it is stored. What a single change does to a set is in
:mod:`eventdbx.domain.schemas.changes`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, succeed

from eventdbx.application.indexing import Indexing
from eventdbx.application.referring import Referring
from eventdbx.application.rules import ContractRules, InForce
from eventdbx.application.schema_work import (
    EMPTY,
    Known,
    Origin,
    Prepared,
    Work,
    compiled,
    digest_of,
)
from eventdbx.domain.schemas.changes import apply_change
from eventdbx.domain.schemas.declaring import check, repair
from eventdbx.domain.schemas.history import ALREADY_ACTIVE, AUTOSAVE, Action, History, Version
from eventdbx.domain.schemas.model import SchemaSet
from eventdbx.domain.schemas.reading import read_schemas
from eventdbx.errors import SchemaViolation
from eventdbx.settings import Restrict
from eventdbx.storage import catalog, keys
from eventdbx.storage.store import Store, Transaction

T = TypeVar("T")
_Plan: TypeAlias = Callable[[Known], Awaitable[Callable[[Work], T]]]

NOBODY = Origin()


class Changed(NamedTuple):
    """What a change came to: the set in force now, which names it touched, what to warn of."""

    in_force: InForce
    names: tuple[str, ...]
    warnings: tuple[str, ...]


class Published(NamedTuple):
    """The version that stands for the published set."""

    version: str
    activated: bool
    skipped: bool
    reactivated: bool
    warnings: tuple[str, ...]


class Activated(NamedTuple):
    """The version in force now, and the one that keeps what was edited before."""

    version: str
    already_active: bool
    autosaved: str | None


class Exported(NamedTuple):
    """What the files for other tools say after a change; ``number`` grows with every change.

    ``text_of`` returns the text of the version with a number, from any thread.
    """

    number: int
    text: str
    history: History
    text_of: Callable[[int], bytes]


Export = Callable[[Exported], "Deferred[None]"]
RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]
Check = Callable[[InForce], None]
"""Raises when the set in force is not the one that a change is meant for; from any thread."""


def _at_once(work: Callable[[], Any]) -> Deferred[Any]:
    return succeed(work())


class Catalogue:
    """All schemas of one domain.

    ``clock_ns`` returns Unix time in nanoseconds. ``export`` is called after each change is
    durable, and the change's Deferred waits for it. ``run_slowly`` runs a function on a thread: a
    change is planned there, and its step only stores what was planned. ``domain`` is the name
    that references use; for ``none_blocks`` see :class:`eventdbx.application.referring.Referring`.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock_ns: Callable[[], int],
        restrict: Restrict = "default",
        default_threshold: int | None = None,
        export: Export = lambda exported: succeed(None),
        run_slowly: RunSlowly = _at_once,
        domain: str = "default",
        none_blocks: bool = False,
    ) -> None:
        self._store = store
        self._clock_ns = clock_ns
        self._default_threshold = default_threshold
        self._export = export
        self._run_slowly = run_slowly
        self._turns = DeferredLock()
        self._exports = 0
        self._known = self._load()
        self.indexing = Indexing(domain, store.view())
        references = Referring(
            domain,
            lambda: self.in_force,
            self.indexing,
            off=restrict == "off",
            none_blocks=none_blocks,
        )
        self.rules = ContractRules(restrict, self._known.in_force, references)
        self.on_change: Callable[[], None] = lambda: None  # Called when a change is durable.

    @property
    def in_force(self) -> InForce:
        """The set that the next append must fit."""
        return self._known.in_force

    @property
    def history(self) -> History:
        """Published versions and their audit."""
        return self._known.history

    @property
    def restrict(self) -> Restrict:
        """The mode of restriction."""
        return self.rules.restrict

    def take_up(self, restrict: Restrict, default_threshold: int | None) -> None:
        """From now on let schemas bind so far, and new ones ask for snapshots so often."""
        self.rules.bind(restrict)
        self._default_threshold = default_threshold

    def _load(self) -> Known:
        view = self._store.view()
        state = catalog.load_state(view)
        history = catalog.load_history(view, state.active)
        text = catalog.load_set(view)
        in_force = EMPTY
        if text is not None:
            schemas, _warnings = read_schemas(text, now_ns=0, bytes_max=len(text))
            in_force = compiled(schemas, EMPTY)
        return Known(in_force, history, state.changes, state.files)

    def prepare(self, text: bytes | str, *, person: bool = False) -> Prepared:
        """Return a set as it would be stored; pure, and slow for large sets: run it on a thread.

        ``person`` refuses what machine paths accept with a warning. Raises SerializationError and
        InvalidSchema.
        """
        known = self._known.in_force
        schemas, warnings = read_schemas(text, now_ns=self._clock_ns(), stored=known.schemas)
        if person:
            for schema in schemas.values():
                check(schema)
        else:
            repaired = {name: repair(schema) for name, schema in schemas.items()}
            schemas = {name: schema for name, (schema, _) in repaired.items()}
            warnings = [*warnings, *(one for _, (_, more) in repaired.items() for one in more)]
        return Prepared(compiled(schemas, known), tuple(warnings))

    def change(
        self,
        changes: Sequence[Mapping[str, Any]],
        *,
        origin: Origin = NOBODY,
        expect: str | None = None,
        check: Check = lambda in_force: None,
    ) -> Deferred[Changed]:
        """Carry out changes of single schemas, all or none (see ``domain.schemas.changes``).

        ``expect`` is the digest of the set that the caller has seen; ``check`` may refuse the set
        that is to be changed. Fails with SchemaExists, SchemaNotFound, InvalidSchema,
        SchemaViolation.
        """

        def plan(known: Known) -> Callable[[Work], Changed]:
            _expect(known.in_force, expect)
            check(known.in_force)
            now = self._clock_ns()
            schemas: SchemaSet = known.in_force.schemas
            warnings: list[str] = []
            for change in changes:
                schemas, more = apply_change(
                    schemas, dict(change), now_ns=now, default_threshold=self._default_threshold
                )
                warnings += more
            wanted = compiled(schemas, known.in_force)

            def carry_out(work: Work) -> Changed:
                names = work.put_in_force(wanted, "change", origin)
                return Changed(wanted, names, tuple(warnings))

            return carry_out

        return self._in_turn(lambda known: self._run_slowly(partial(plan, known)))

    def replace(
        self,
        prepared: Prepared,
        *,
        origin: Origin = NOBODY,
        expect: str | None = None,
        check: Check = lambda in_force: None,
    ) -> Deferred[Changed]:
        """Put a whole set in force in place of the present one, which ``check`` may refuse."""

        def carry_out(work: Work) -> Changed:
            _expect(self.in_force, expect)
            check(self.in_force)
            names = work.put_in_force(prepared.in_force, "replace", origin)
            return Changed(prepared.in_force, names, prepared.warnings)

        return self._in_turn(lambda _known: succeed(carry_out))

    def publish(
        self,
        source: Prepared | None = None,
        *,
        origin: Origin = NOBODY,
        labels: Sequence[str] = (),
        activate: bool = False,
        force: bool = False,
    ) -> Deferred[Published]:
        """Keep a set (by default the one in force) as a version; optionally put it in force.

        A set that equals the latest version but for times is not kept again unless ``force``.
        """

        def carry_out(work: Work) -> Published:
            known = self._known
            wanted = known.in_force if source is None else source.in_force
            latest = known.history.latest
            warnings = () if source is None else source.warnings
            if latest is not None and latest.content == wanted.digest and not force:
                again = activate and known.history.active != latest.id
                if again:
                    work.put_in_force(wanted, "activate", origin)
                    work.audit("activate", latest.id, origin)
                return Published(latest.id, again, True, again, warnings)
            version = work.publish(wanted, origin, labels)
            if activate:
                work.put_in_force(wanted, "activate", origin)
                work.audit("activate", version.id, origin)
            return Published(version.id, activate, False, False, warnings)

        return self._in_turn(lambda _known: succeed(carry_out))

    def activate(self, version: str = "latest", *, origin: Origin = NOBODY) -> Deferred[Activated]:
        """Put a published version in force. What was edited since is published first.

        Fails with ConfigError for a version that does not exist.
        """
        return self._switch("activate", lambda history: history.find(version), origin)

    def rollback(
        self, version: str | None = None, *, origin: Origin = NOBODY
    ) -> Deferred[Activated]:
        """Put an earlier version in force, by default the one before the active one."""

        def target(history: History) -> Version:
            return history.before_active() if version is None else history.find(version)

        return self._switch("rollback", target, origin)

    def _switch(
        self, action: Action, target: Callable[[History], Version], origin: Origin
    ) -> Deferred[Activated]:
        def plan(text: bytes, version: Version, known: Known) -> Callable[[Work], Activated]:
            schemas, _ = read_schemas(text, now_ns=self._clock_ns(), bytes_max=len(text))
            wanted = compiled(schemas, known.in_force)

            def carry_out(work: Work) -> Activated:
                saved = None
                if known.in_force.schemas and all(
                    one.content != known.in_force.digest for one in known.history.versions
                ):
                    saved = work.publish(known.in_force, Origin(origin.actor, AUTOSAVE), ()).id
                already = known.history.active == version.id
                work.put_in_force(wanted, action, origin)
                work.audit(action, version.id, origin, ALREADY_ACTIVE if already else None)
                return Activated(version.id, already, saved)

            return carry_out

        async def planned(known: Known) -> Callable[[Work], Activated]:
            version = target(known.history)
            record = keys.numbered(keys.SCHEMA_TEXT, known.history.versions.index(version))
            # A step sees what is not durable yet, unlike a view.
            text = await self._store.transact(lambda transaction: transaction.get(record))
            assert text is not None, "a version lacks its text"
            carry_out: Callable[[Work], Activated] = await self._run_slowly(
                partial(plan, text[1:], version, known)
            )
            return carry_out

        return self._in_turn(planned)

    def text_of(self, word: str) -> tuple[Version, bytes]:
        """Return a version by id, ``active`` or ``latest``, and its text. Raises ConfigError."""
        version = self._known.history.find(word)
        number = self._known.history.versions.index(version)
        return version, catalog.load_text(self._store.view(), number)

    def document_of(self, digest: bytes) -> bytes | None:
        """Return the JSON of the schema with a digest (16 bytes), as events' marks name it."""
        return catalog.load_document(self._store.view(), digest)

    def changes(self) -> list[dict[str, Any]]:
        """Return the log of changes of the set in force, oldest first."""
        return list(catalog.changes(self._store.view()))

    def is_own_text(self, text: bytes) -> bool:
        """Say whether a text of ``schemas.json`` is one that was exported from here."""
        return digest_of(text) in self._known.files

    def is_current_text(self, text: bytes) -> bool:
        """Say whether a text of ``schemas.json`` is that of the set in force."""
        return digest_of(text) == digest_of(self.in_force.text())

    def look_at(self, prepared: Prepared) -> None:
        """Take a set for the one in force without storing it: for stores opened to be read."""
        self._know(self._known._replace(in_force=prepared.in_force))

    def _know(self, known: Known) -> None:
        self._known = known
        self.rules.put_in_force(known.in_force)

    def export(self) -> Deferred[None]:
        """Write the files for other tools as of now."""
        # Once all that is known is durable: the texts of versions are read from the store.
        durable: Deferred[None] = self._store.transact(lambda _transaction: None)
        return durable.addCallback(lambda _none, known: self._written(known), self._known)

    def _written(self, known: Known) -> Deferred[None]:
        self._exports += 1
        text = known.in_force.text().decode()
        text_of = partial(catalog.load_text, self._store.view())
        return self._export(Exported(self._exports, text, known.history, text_of))

    def _in_turn(self, plan: _Plan[T]) -> Deferred[T]:
        """Plan a change of what is known, and store it in a step; one change after the other."""
        return Deferred.fromCoroutine(self._take_turn(plan))

    async def _take_turn(self, plan: _Plan[T]) -> T:
        await self._turns.acquire()
        try:
            before = self._known
            carry_out = await plan(before)
            assert self._known is before, "the schemas changed out of turn"
            stored = self._store.transact(partial(self._step, carry_out))
            known = self._known
        finally:
            self._turns.release()
        result = await stored
        self.on_change()
        # Not what is known by now: a later change may not be durable yet.
        await self._written(known)
        return result

    def _step(self, carry_out: Callable[[Work], T], transaction: Transaction) -> T:
        before = self._known
        work = Work(transaction, before, self._clock_ns())
        done = carry_out(work)
        known = work.finish()
        self.indexing.follow(transaction, before.in_force, known.in_force)
        self._know(known)
        return done


def _expect(in_force: InForce, expect: str | None) -> None:
    if expect is not None and expect != in_force.digest:
        raise SchemaViolation(
            f"schemas have changed since they were read (expected {expect}, "
            f"found {in_force.digest}); read them again"
        )
