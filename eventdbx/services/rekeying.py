"""Data keys in a running server: wrapped by the present key, and everything sealed, unasked.

What is done to one store is in :mod:`eventdbx.application.datakeys`. Here it is begun: when a
domain is opened, and when the configuration brings another key. Texts that are sealed with the
configured key itself follow when all stores have (:mod:`eventdbx.services.keyuse`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from eventdbx.application.administering import Reloaded
from eventdbx.application.domains import Domain
from eventdbx.config import Config, decode_data_key
from eventdbx.errors import ConfigError
from eventdbx.services import keyuse
from eventdbx.services.reloading import LiveConfiguration, Step
from eventdbx.services.workspace import Workspace

PAUSE_S = 0.01
"""Between two steps, which may take a few milliseconds: requests come first."""

AGAIN_S = 60.0
"""After which what went wrong is tried again."""


class RekeyingService(Service):
    """Looks after the data keys of all domains that were added.

    What goes wrong is in the log and in the status, and tried again.
    """

    log = Logger()

    def __init__(
        self,
        workspace: Workspace,
        live: LiveConfiguration,
        *,
        run_slowly: Callable[[Callable[[], Any]], Deferred[Any]],
        run_on_files: Callable[[Callable[[], Any]], Deferred[Any]],
        clock: IReactorTime,
    ) -> None:
        self._workspace = workspace
        self._live = live
        self._run_slowly = run_slowly
        self._run_on_files = run_on_files
        self._clock = clock
        self._domains: dict[str, Domain] = {}
        self._troubles: dict[str, str] = {}
        self._pausing: Deferred[None] = succeed(None)
        self._turn: Deferred[None] | None = None
        self._again = False
        self._timer: IDelayedCall | None = None

    def add(self, domain: Domain) -> None:
        """Look after the keys of a domain, too."""
        self._domains[domain.name] = domain
        self.wake()

    def take_up(self, _old: Config, new: Config) -> Step:
        """Get ready for other keys. Raises ConfigError when a store would have none of them."""
        keys = keyuse.configured(new)
        wrappings = [decode_data_key(key) for key in keys]
        for domain in self._domains.values():
            if not any(map(domain.data_keys.is_wrapped_by, wrappings)) and domain.data_keys.slots:
                raise ConfigError(
                    f"the data keys of domain '{domain.name}' are wrapped by a key that would not "
                    "be configured any more: leave it in data_encryption_keys until `dbx keys "
                    "status` says that it can be removed"
                )

        def commit() -> None:
            if keys != self._workspace.data_keys:
                self._workspace.take_up_keys(keys)
                self.wake()

        return Step(commit)

    def rotate(self) -> Deferred[Reloaded]:
        """Make a new key the present one; the stores follow. Fires when it is in force.

        Fails with ConfigError where the key does not come from the configuration file.
        """
        return self._live.change(keyuse.new_key(self._workspace, self._live.config))

    def status(self) -> Deferred[dict[str, Any]]:
        """Return what there is to say of the keys of all domains, also of those not open."""
        opened = {name: keyuse.of_domain(one) for name, one in self._domains.items()}
        troubles, config = dict(self._troubles), self._live.config
        return self._run_slowly(lambda: keyuse.report(self._workspace, config, opened, troubles))

    def wake(self) -> None:
        """See soon whether there is something to do."""
        self._again = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.running and self._turn is None:
            turn = self._turn = Deferred()
            Deferred.fromCoroutine(self._work()).addErrback(
                lambda failure: self.log.failure("data keys were left alone", failure=failure)
            ).addBoth(lambda _none: self._over(turn))

    def startService(self) -> None:
        """Begin with what is to be done."""
        super().startService()  # type: ignore[no-untyped-call]
        self.wake()

    def stopService(self) -> Deferred[None]:
        """Begin nothing more; fires when the step under way is over."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pausing.cancel()
        return succeed(None) if self._turn is None else self._turn

    def _over(self, turn: Deferred[None]) -> None:
        self._turn = None
        if self.running and self._again:
            self.wake()
        elif self.running and self._troubles:
            self._timer = self._clock.callLater(AGAIN_S, self._due)
        turn.callback(None)

    def _due(self) -> None:
        self._timer = None
        self.wake()

    async def _work(self) -> None:
        while self.running and self._again:
            self._again = False
            for name, domain in tuple(self._domains.items()):
                try:
                    await self._look_after(domain)
                    self._troubles.pop(name, None)
                    domain.data_keys.trouble = None
                except CancelledError:
                    return
                except Exception as error:
                    domain.data_keys.trouble = str(error)
                    self._tell(name, str(error))
                finally:
                    domain.data_keys.give_up()
            if self.running and not self._again and not self._troubles:
                await self._follow()

    async def _look_after(self, domain: Domain) -> None:
        keys = domain.data_keys
        present = self._live.config.data_encryption_key
        begun = present is not None and not keys.is_wrapped_by(decode_data_key(present))
        while self.running and present is not None:
            if not await keys.rewrap_some(decode_data_key(present), self._run_slowly):
                break
            await self._pause()
        if begun and self.running:
            self.log.info("{name}: the data keys are wrapped by the present key", name=domain.name)
        sealed = keys.has_plain
        while self.running and await keys.seal_some(self._run_slowly):
            await self._pause()
        if sealed and keys.all_sealed:
            self.log.info("{name}: everything that was plain is sealed", name=domain.name)

    async def _follow(self) -> None:
        """Seal with the present key what is sealed with an older one outside of the stores."""
        config = self._live.config
        if not config.data_encryption_keys:
            return
        try:
            await self._run_on_files(lambda: keyuse.seal_anew(self._workspace, config))
            self._troubles.pop("", None)
        except Exception as error:
            self._tell("", str(error))

    async def _pause(self) -> None:
        if not self.running:
            return
        self._pausing = deferLater(self._clock, PAUSE_S)
        await self._pausing

    def _tell(self, name: str, reason: str) -> None:
        if self.running and self._troubles.get(name) != reason:
            self._troubles[name] = reason
            where = name or "tokens and remotes"
            self.log.error("{where}: data keys: {reason}", where=where, reason=reason)
