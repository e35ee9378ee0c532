"""The catalogue of a domain's schemas: the set in force, its published versions, its audit.

Every change is one step of the store, so two publishers cannot interleave, a crash leaves the old
set or the new one, and the next append meets what the change left. A set is read, checked and
compiled before anything of it is stored. What a single change does to a set is in
:mod:`eventdbx.domain.schemas.changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, succeed

from eventdbx import limits
from eventdbx.application.referrers import reindex
from eventdbx.application.referring import Referring
from eventdbx.application.rules import ContractRules, InForce
from eventdbx.domain.schemas.changes import apply_change
from eventdbx.domain.schemas.contract import Contract, compile_schema
from eventdbx.domain.schemas.declaring import check, repair
from eventdbx.domain.schemas.history import (
    ALREADY_ACTIVE,
    AUTOSAVE,
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
from eventdbx.domain.schemas.reading import read_schemas
from eventdbx.domain.schemas.writing import schema_document, schemas_document, schemas_text
from eventdbx.domain.timestamps import format_ns
from eventdbx.errors import InvalidSchema, SchemaViolation
from eventdbx.settings import Restrict
from eventdbx.storage import catalog, keys
from eventdbx.storage.store import Store, Transaction

T = TypeVar("T")

OWN_TEXTS_MAX = 64
"""Texts of ``schemas.json`` that are known not to have been edited by hand."""

EMPTY = InForce({}, {}, sha256(b"").hexdigest()[:32])


class Origin(NamedTuple):
    """Who changes schemas and why, as they say themselves; kept with the change."""

    actor: str | None = None
    reason: str | None = None


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


class Prepared(NamedTuple):
    """A set that was read, checked and compiled, and what to warn of."""

    schemas: SchemaSet
    contracts: Mapping[str, Contract]
    warnings: tuple[str, ...]


class _Known(NamedTuple):
    """Everything the catalogue has in memory; replaced as a whole when a step succeeds."""

    in_force: InForce
    history: History
    changes: int
    files: tuple[str, ...]


class Catalogue:
    """All schemas of one domain.

    ``clock_ns`` returns Unix time in nanoseconds. ``export`` is called after each change is
    durable, and the change's Deferred waits for it. ``domain`` is the name that references
    use; for ``none_blocks`` see :class:`eventdbx.application.referring.Referring`.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock_ns: Callable[[], int],
        restrict: Restrict = "default",
        default_threshold: int | None = None,
        export: Export = lambda exported: succeed(None),
        domain: str = "default",
        none_blocks: bool = False,
    ) -> None:
        self._store = store
        self._clock_ns = clock_ns
        self._default_threshold = default_threshold
        self._export = export
        self._exports = 0
        self._known = self._load()
        self._domain = domain
        references = Referring(
            domain, lambda: self.in_force, off=restrict == "off", none_blocks=none_blocks
        )
        self.rules = ContractRules(restrict, lambda: self._known.in_force, references)
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

    def _load(self) -> _Known:
        view = self._store.view()
        state = catalog.load_state(view)
        history = catalog.load_history(view, state.active)
        text = catalog.load_set(view)
        in_force = EMPTY
        if text is not None:
            schemas, _warnings = read_schemas(text, now_ns=0)
            in_force = _compiled(schemas, EMPTY)
        return _Known(in_force, history, state.changes, state.files)

    def prepare(self, text: bytes | str, *, person: bool = False) -> Prepared:
        """Return a set as it would be stored; pure, and slow for large sets: run it on a thread.

        ``person`` refuses what machine paths accept with a warning. Raises SerializationError and
        InvalidSchema.
        """
        known = self._known.in_force
        if len(text) > limits.SCHEMA_SET_BYTES_MAX:
            raise _too_large()
        schemas, warnings = read_schemas(text, now_ns=self._clock_ns(), stored=known.schemas)
        if person:
            for schema in schemas.values():
                check(schema)
        else:
            repaired = {name: repair(schema) for name, schema in schemas.items()}
            schemas = {name: schema for name, (schema, _) in repaired.items()}
            warnings = [*warnings, *(one for _, (_, more) in repaired.items() for one in more)]
        contracts = _compiled(schemas, known).contracts
        return Prepared(schemas, contracts, tuple(warnings))

    def change(
        self,
        changes: Sequence[Mapping[str, Any]],
        *,
        origin: Origin = NOBODY,
        expect: str | None = None,
    ) -> Deferred[Changed]:
        """Carry out changes of single schemas, all or none (see ``domain.schemas.changes``).

        ``expect`` is the digest of the set that the caller has seen. Fails with SchemaExists,
        SchemaNotFound, InvalidSchema, SchemaViolation.
        """

        def step(transaction: Transaction) -> Changed:
            known = self._known
            _expect(known.in_force, expect)
            now = self._clock_ns()
            schemas: SchemaSet = known.in_force.schemas
            warnings: list[str] = []
            for change in changes:
                schemas, more = apply_change(
                    schemas, dict(change), now_ns=now, default_threshold=self._default_threshold
                )
                warnings += more
            work = _Work(transaction, known, now)
            names = work.put_in_force(_compiled(schemas, known.in_force), "change", origin)
            self._known = work.finish()
            return Changed(self._known.in_force, names, tuple(warnings))

        return self._transact(step)

    def replace(
        self, prepared: Prepared, *, origin: Origin = NOBODY, expect: str | None = None
    ) -> Deferred[Changed]:
        """Put a whole set in force in place of the present one."""

        def step(transaction: Transaction) -> Changed:
            known = self._known
            _expect(known.in_force, expect)
            work = _Work(transaction, known, self._clock_ns())
            names = work.put_in_force(_joined(prepared), "replace", origin)
            self._known = work.finish()
            return Changed(self._known.in_force, names, prepared.warnings)

        return self._transact(step)

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

        def step(transaction: Transaction) -> Published:
            known = self._known
            work = _Work(transaction, known, self._clock_ns())
            wanted = known.in_force if source is None else _joined(source)
            latest = known.history.latest
            warnings = () if source is None else source.warnings
            if latest is not None and latest.content == wanted.digest and not force:
                again = activate and known.history.active != latest.id
                if again:
                    work.put_in_force(wanted, "activate", origin)
                    work.audit("activate", latest.id, origin)
                self._known = work.finish()
                return Published(latest.id, again, True, again, warnings)
            version = work.publish(wanted, origin, labels)
            if activate:
                work.put_in_force(wanted, "activate", origin)
                work.audit("activate", version.id, origin)
            self._known = work.finish()
            return Published(version.id, activate, False, False, warnings)

        return self._transact(step)

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
        def step(transaction: Transaction) -> Activated:
            known = self._known
            version = target(known.history)
            work = _Work(transaction, known, self._clock_ns())
            saved = None
            if known.in_force.schemas and all(
                one.content != known.in_force.digest for one in known.history.versions
            ):
                saved = work.publish(known.in_force, Origin(origin.actor, AUTOSAVE), ()).id
            number = known.history.versions.index(version)
            text = transaction.get(keys.numbered(keys.SCHEMA_TEXT, number))
            assert text is not None, "a version lacks its text"
            schemas, _warnings = read_schemas(text[1:], now_ns=work.now_ns)
            already = known.history.active == version.id
            work.put_in_force(_compiled(schemas, known.in_force), action, origin)
            work.audit(action, version.id, origin, ALREADY_ACTIVE if already else None)
            self._known = work.finish()
            return Activated(version.id, already, saved)

        return self._transact(step)

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
        return _digest(text) in self._known.files

    def is_current_text(self, text: bytes) -> bool:
        """Say whether a text of ``schemas.json`` is that of the set in force."""
        return _digest(text) == _digest(schemas_text(self.in_force.schemas).encode())

    def look_at(self, prepared: Prepared) -> None:
        """Take a set for the one in force without storing it: for stores opened to be read."""
        self._known = self._known._replace(in_force=_joined(prepared))

    def export(self) -> Deferred[None]:
        """Write the files for other tools as of now."""
        self._exports += 1
        known = self._known
        text = schemas_text(known.in_force.schemas)
        text_of = partial(catalog.load_text, self._store.view())
        return self._export(Exported(self._exports, text, known.history, text_of))

    def _transact(self, step: Callable[[Transaction], T]) -> Deferred[T]:
        return Deferred.fromCoroutine(self._commit(step))

    async def _commit(self, step: Callable[[Transaction], T]) -> T:
        def followed(transaction: Transaction) -> T:
            before = self._known
            try:
                done = step(transaction)
                reindex(transaction, before.in_force, self.in_force, domain=self._domain)
            except BaseException:
                self._known = before
                raise
            return done

        result = await self._store.transact(followed)
        self.on_change()
        await self.export()
        return result


class _Work:
    """What one step changes; becomes the catalogue's memory when the step succeeds."""

    def __init__(self, transaction: Transaction, known: _Known, now_ns: int) -> None:
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
        document = schemas_document(wanted.schemas)
        if len(document) > limits.SCHEMA_SET_BYTES_MAX:
            raise _too_large()
        for name, contract in wanted.contracts.items():
            known = before.contracts.get(name)
            if known is not None and known.digest == contract.digest:
                continue
            if self._transaction.get(keys.schema_document(contract.digest)) is None:
                text = schema_document(contract.schema)
                catalog.put_document(self._transaction, contract.digest, text)
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
        text = schemas_text(wanted.schemas).encode()
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

    def finish(self) -> _Known:
        """Put the small part; return what the catalogue knows from now on."""
        text = schemas_text(self._in_force.schemas).encode()
        files = (*self._before.files, _digest(text))[-OWN_TEXTS_MAX:]
        history = self._history
        state = catalog.State(
            history.active, len(history.versions), len(history.audit), self._changes, files
        )
        catalog.put_state(self._transaction, state)
        return _Known(self._in_force, history, self._changes, files)


def _compiled(schemas: SchemaSet, known: InForce) -> InForce:
    """Compile what is not compiled yet."""
    contracts: dict[str, Contract] = {}
    for name, schema in schemas.items():
        contract = known.contracts.get(name)
        if contract is None or contract.schema != schema:
            contract = compile_schema(schema)
        contracts[name] = contract
    return InForce(schemas, contracts, _content(contracts))


def _joined(prepared: Prepared) -> InForce:
    return InForce(prepared.schemas, prepared.contracts, _content(prepared.contracts))


def _content(contracts: Mapping[str, Contract]) -> str:
    """Return the digest of a set without its times."""
    pieces = b"".join(
        name.encode() + b"\x00" + contracts[name].digest for name in sorted(contracts)
    )
    return sha256(pieces).hexdigest()[:32]


def _digest(text: bytes) -> str:
    return sha256(text.strip()).hexdigest()[:32]


def _expect(in_force: InForce, expect: str | None) -> None:
    if expect is not None and expect != in_force.digest:
        raise SchemaViolation(
            f"schemas have changed since they were read (expected {expect}, "
            f"found {in_force.digest}); read them again"
        )


def _too_large() -> InvalidSchema:
    return InvalidSchema(f"a set of schemas cannot exceed {limits.SCHEMA_SET_BYTES_MAX} bytes")
