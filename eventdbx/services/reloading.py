"""The configuration of a running server: read again, checked, and put into force part by part.

What is live is said in :mod:`eventdbx.settings`; what each part of the server makes of a new value
is that part's own business (:class:`Part`), put in by the service tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred, DeferredLock, fail
from twisted.logger import Logger

from eventdbx.application.administering import Reloaded
from eventdbx.application.admission import Admission
from eventdbx.application.auditing import Action, Trail
from eventdbx.application.token_keys import verification_keys
from eventdbx.config import Config, Value, shown_document
from eventdbx.errors import ConfigError
from eventdbx.keys import Taken, taken_up, with_value
from eventdbx.services.remotes import Remotes
from eventdbx.services.workspace import Workspace

RunSlowly = Callable[[Callable[[], Any]], "Deferred[Any]"]


class Step(NamedTuple):
    """What a part made ready: ``commit`` puts it into force, ``cancel`` lets go of it. Neither
    may fail; one of them is called."""

    commit: Callable[[], None]
    cancel: Callable[[], None] = lambda: None


Part = Callable[[Config, Config], "Step | Deferred[Step]"]
"""Gets ready for a change from one configuration to another; an EventDBXError refuses it, and then
nothing of the change is put into force."""


def at_once(put_in_force: Callable[[Config], None]) -> Part:
    """Return the part of something that takes any valid configuration without further ado."""
    return lambda _old, new: Step(lambda: put_in_force(new))


def judging(admission: Admission) -> Part:
    """Return the part that judges tokens: keys, how far clocks may differ, and patience."""

    def prepare(_old: Config, new: Config) -> Step:
        auth, keys = new.auth, verification_keys(new)

        def commit() -> None:
            admission.verifier.take_up(keys, auth.issuer, auth.audience, auth.clock_skew_secs)
            admission.attempts.per_minute = auth.failures_per_minute

        return Step(commit)

    return prepare


class Keys(Protocol):
    """Who looks after the data keys of the stores."""

    def status(self) -> Deferred[dict[str, Any]]: ...

    def rotate(self) -> Deferred[Reloaded]: ...


class _NoKeys:
    def status(self) -> Deferred[dict[str, Any]]:
        return fail(ConfigError("no data keys are looked after here"))

    def rotate(self) -> Deferred[Reloaded]:
        return fail(ConfigError("no data keys are looked after here"))


class LiveConfiguration:
    """The configuration in force, as :class:`eventdbx.application.administering.Administration`.

    ``config`` is the one the server was started with, but for what has been taken up since. Files
    are read and written by ``run_slowly``, on a thread.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        *,
        run_slowly: RunSlowly,
        report: Callable[[], Deferred[dict[str, Any]]],
    ) -> None:
        self.config = config
        self.parts: list[Part] = []
        self.trail: Trail | None = None
        self.keys: Keys = _NoKeys()
        self.restart_required: tuple[str, ...] = ()
        self._workspace = workspace
        self._run_slowly = run_slowly
        self._report = report
        self._turns = DeferredLock()
        self._remotes = Remotes(workspace)
        self.listing: Callable[[], Deferred[list[dict[str, Any]]]] = self._named
        """Says which domains there are, with what is in them; by default their names alone."""

    def current(self) -> Config:
        """Return the configuration that is in force."""
        return self.config

    def configuration(self) -> dict[str, Any]:
        """Return every key that is in force, as nested tables, secrets as ``"<hidden>"``."""
        placed = with_value(self.config, "data_dir", str(self._workspace.data_dir))
        return shown_document(placed, everything=True)

    def waiting(self) -> tuple[str, ...]:
        """Return the keys that were changed in the file and count at the next start."""
        return self.restart_required

    def reload(self) -> Deferred[Reloaded]:
        """Read the configuration again and put into force what can be; all or nothing."""
        return self._in_turn(self._reload)

    def reload_on_signal(self) -> Deferred[Reloaded]:
        """Reload because the owner of the process said so; recorded as every change is."""

        async def reload() -> Reloaded:
            reloaded = await self.reload()
            if not reloaded.changed and not reloaded.restart_required:
                self.log.info("configuration read again: nothing has changed")
            if reloaded.changed and self.trail is not None:
                keys = ", ".join(reloaded.changed)
                await self.trail.record(Action("config", "config_reloaded", keys, "SIGHUP", None))
            return reloaded

        return Deferred.fromCoroutine(reload())

    def change(self, changes: Mapping[str, Value]) -> Deferred[Reloaded]:
        """Check and save keys (dotted path to value, None removes), then reload.

        Nothing is saved when a part of the server refuses the change.
        """

        async def change() -> Reloaded:
            wanted = await self._run_slowly(lambda: self._workspace.read(changes))
            taken, steps = await self._prepare(wanted)
            try:
                await self._run_slowly(lambda: self._workspace.save(changes))
            except BaseException:
                _cancel(steps)
                raise
            return self._commit(taken, steps)

        return self._in_turn(change)

    def remotes(self) -> dict[str, dict[str, Any]]:
        """Return the remotes by name, tokens sealed or ``"<redacted>"``, never plain."""
        return self._remotes.documents()

    def domain_names(self) -> list[str]:
        """Return the domains that there are; reads the disk."""
        return self._workspace.domain_names()

    def put_remote(
        self, name: str, endpoint: str, token: str | None, token_env: str | None = None
    ) -> Deferred[tuple[bool, dict[str, Any]]]:
        """Store a remote; fires with whether it is new, and its document."""

        async def put() -> tuple[bool, dict[str, Any]]:
            done: tuple[bool, dict[str, Any]] = await self._run_slowly(
                lambda: self._remotes.put(name, endpoint, token, token_env)
            )
            await self._reload()
            return done

        return self._in_turn(put)

    def delete_remote(self, name: str) -> Deferred[bool]:
        """Remove a remote; fires with False when there is none of that name."""

        async def delete() -> bool:
            found: bool = await self._run_slowly(lambda: self._remotes.delete(name))
            await self._reload()
            return found

        return self._in_turn(delete)

    def data_keys(self) -> Deferred[dict[str, Any]]:
        """Return how the data keys of each domain are wrapped, and what is not sealed yet."""
        return self.keys.status()

    def rotate_data_key(self) -> Deferred[Reloaded]:
        """Make a new key the present one; the stores follow in the background."""
        return self.keys.rotate()

    def status(self) -> Deferred[dict[str, Any]]:
        """Return version, mode, uptime, listeners, domains with size and lag, queue counts."""
        return self._report()

    def domains(self) -> Deferred[list[dict[str, Any]]]:
        """Return the domains by name, as ``domain_document`` shows them."""
        return self.listing()

    def _named(self) -> Deferred[list[dict[str, Any]]]:
        active = self.config.domain

        def look() -> list[dict[str, Any]]:
            names = sorted({active, *self._workspace.domain_names()})
            return [{"domain": name, "active": name == active} for name in names]

        return self._run_slowly(look)

    def _in_turn(self, work: Callable[[], Any]) -> Deferred[Any]:
        return self._turns.run(lambda: Deferred.fromCoroutine(work()))

    async def _reload(self) -> Reloaded:
        wanted = await self._run_slowly(self._workspace.read)
        taken, steps = await self._prepare(wanted)
        return self._commit(taken, steps)

    async def _prepare(self, wanted: Config) -> tuple[Taken, list[Step]]:
        """Let every part get ready, or none."""
        taken = taken_up(self.config, wanted)
        steps: list[Step] = []
        try:
            for part in self.parts:
                step = part(self.config, taken.config)
                steps.append(await step if isinstance(step, Deferred) else step)
        except BaseException:
            _cancel(steps)
            raise
        return taken, steps

    def _commit(self, taken: Taken, steps: list[Step]) -> Reloaded:
        self.config, self.restart_required = taken.config, taken.restart_required
        for step in steps:
            step.commit()
        for warning in taken.config.warnings:
            self.log.warn("{warning}", warning=warning)
        if taken.changed:
            self.log.info("configuration in force now: {keys}", keys=", ".join(taken.changed))
        if taken.restart_required:
            keys = ", ".join(taken.restart_required)
            self.log.info("restart required for: {keys}", keys=keys)
        return Reloaded(taken.changed, taken.restart_required)


def _cancel(steps: list[Step]) -> None:
    for step in steps:
        step.cancel()
