"""The HTTP listeners: the main one (health and metrics), and those of the Admin API.

Which there are follows from the configuration, and may change while the server runs. The Admin
API has listeners of its own, or shares the main one, where it is found below ``/admin``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource

from eventdbx.config import Config
from eventdbx.errors import ConfigError
from eventdbx.keys import check_admin_place
from eventdbx.services.listening import exposure, shown
from eventdbx.services.reloading import Step
from eventdbx.surfaces.admin.api import Api
from eventdbx.surfaces.site import BoundedSite


class Wanted(NamedTuple):
    """A listener to have: its endpoint, how people name it, and what it serves."""

    endpoint: str
    address: str
    serves: str


def wanted_listeners(config: Config, *, main: bool) -> list[Wanted]:
    """Return the listeners of a configuration; ``main`` says whether there is anything on the
    main port beside the Admin API. Raises ConfigError for an Admin API without a place."""
    admin, found = config.admin, []
    mounted = admin.enabled and admin.port in (0, config.port)
    if config.port and (main or mounted):
        found.append(_tcp(config.http.bind_addr, config.port, "main"))
    if not admin.enabled:
        return found
    check_admin_place(config)
    if not mounted:
        found.append(_tcp(admin.bind_addr, admin.port, "admin"))
    return found + [Wanted(_private(text), shown(text), "admin") for text in admin.endpoints]


def _tcp(host: str, port: int, serves: str) -> Wanted:
    bare = host.strip().removeprefix("[").removesuffix("]")
    kind = "tcp6" if ":" in bare else "tcp"
    escaped = bare.replace(":", "\\:")
    address = f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"
    return Wanted(f"{kind}:{port}:interface={escaped}:backlog=128", address, serves)


def _private(endpoint: str) -> str:
    """Keep a Unix socket to the server's own account unless its endpoint says otherwise."""
    if endpoint.startswith("unix:") and ":mode=" not in endpoint:
        return endpoint + ":mode=600"
    return endpoint


class _Shared(Resource):
    """The main port: the paths of the Admin API while it is served there, else the main ones."""

    isLeaf = True

    def __init__(self, admin: Api, main: IResource | None, mounted: Callable[[], bool]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._admin = admin
        self._main = main
        self._mounted = mounted

    def render(self, request: Any) -> Any:
        """Pass the request on."""
        ours = self._main is None or self._mounted() and self._admin.owns(request.path)
        chosen = self._admin.resource if ours or self._main is None else self._main
        return chosen.render(request)


class WebService(Service):
    """All HTTP listeners.

    ``listening`` fires once all of them accept connections, and fails with ConfigError when one
    cannot.
    """

    log = Logger()

    def __init__(self, reactor: Any, config: Config, admin: Api, main: IResource | None) -> None:
        self._reactor = reactor
        self._config = config
        self._main = main is not None
        shared = _Shared(admin, main, self._is_mounted)
        self._sites = {
            "admin": BoundedSite(admin.resource, reactor),
            "main": BoundedSite(shared, reactor),
        }
        self._ports: dict[Wanted, IListeningPort] = {}
        self.listening: Deferred[None] = Deferred()

    def _is_mounted(self) -> bool:
        admin = self._config.admin
        return admin.enabled and admin.port in (0, self._config.port)

    @property
    def addresses(self) -> dict[str, list[str]]:
        """What listens now: addresses of ``main`` and of ``admin``."""
        found: dict[str, list[str]] = {}
        for wanted in self._ports:
            found.setdefault(wanted.serves, []).append(wanted.address)
        return found

    @property
    def connections(self) -> dict[str, int]:
        """How many connections are open now, on the main port and on those of the Admin API."""
        return {
            "http": self._sites["main"].connection_count,
            "admin": self._sites["admin"].connection_count,
        }

    @property
    def busy(self) -> int:
        """How many requests wait for their answers now."""
        return sum(site.busy for site in self._sites.values())

    def startService(self) -> None:
        """Begin to listen; the outcome is told by ``listening``."""
        super().startService()  # type: ignore[no-untyped-call]
        ready = self.take_up(self._config, self._config).addCallback(lambda step: step.commit())
        ready.addCallbacks(self.listening.callback, self.listening.errback)

    def take_up(self, _old: Config, new: Config) -> Deferred[Step]:
        """Begin the listeners that another configuration asks for beside the present ones.

        Committing ends those that it does not ask for. Fails with ConfigError, and all stays as
        it was, if one of them cannot be had.
        """
        return Deferred.fromCoroutine(self._take_up(new))

    async def _take_up(self, config: Config) -> Step:
        begun: dict[Wanted, IListeningPort] = {}
        wanted = wanted_listeners(config, main=self._main)
        try:
            for one in wanted:
                if one not in self._ports:
                    begun[one] = await self._listen(one)
        except ConfigError:
            await _stop_ports(begun.values())
            raise

        def commit() -> None:
            had, was_mounted = self._serves_admin, self._is_mounted()
            ended = {one: port for one, port in self._ports.items() if one not in wanted}
            kept = {one: port for one, port in self._ports.items() if one in wanted}
            self._ports = kept | begun
            self._config = config
            _stop_ports(ended.values())
            for serves in {one.serves for one in ended}:
                # Or whoever keeps a connection would be served for as long as they like.
                self._sites[serves].let_go()
            for one in self._ports:
                if one in begun:
                    self._tell(one)
                elif one.serves == "main" and self._is_mounted() and not was_mounted:
                    self._tell_of_admin(one)
            if had and not self._serves_admin:
                self.log.info("admin API server stopped")

        def cancel() -> None:
            _stop_ports(begun.values())

        return Step(commit, cancel)

    async def _listen(self, wanted: Wanted) -> IListeningPort:
        try:
            endpoint = serverFromString(self._reactor, wanted.endpoint)
            port: IListeningPort = await endpoint.listen(self._sites[wanted.serves])
        except Exception as error:  # Whatever the kind of endpoint, or its certificates, say.
            what = "admin API" if wanted.serves == "admin" else "HTTP"
            cause = str(getattr(error, "socketError", error)) or type(error).__name__
            raise ConfigError(
                f"failed to bind {what} listener on {wanted.address}: {cause}"
            ) from None
        return port

    @property
    def _serves_admin(self) -> bool:
        return bool(self._ports) and (self._is_mounted() or "admin" in self.addresses)

    # Operators look for these texts.

    def _tell(self, wanted: Wanted) -> None:
        if wanted.serves == "main":
            self.log.info("HTTP server listening on {address}", address=wanted.address)
        if wanted.serves == "admin" or self._is_mounted():
            self._tell_of_admin(wanted)

    def _tell_of_admin(self, wanted: Wanted) -> None:
        self.log.info("Starting admin API server on {address}", address=wanted.address)
        if exposure(wanted.endpoint) is not None:
            self.log.warn(
                "the Admin API on {address} is not encrypted: whoever listens on the network reads "
                "the tokens that are sent and issued there; use an ssl: endpoint in "
                "admin.endpoints, or bind to 127.0.0.1",
                address=wanted.address,
            )

    def stopService(self) -> Deferred[None]:
        """Stop listening; answer what is in flight, at most for the configured time."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        had = self._serves_admin
        ports, self._ports = list(self._ports.values()), {}
        await _stop_ports(ports)
        await gatherResults(
            [site.drain(self._config.limits.drain_timeout_secs) for site in self._sites.values()]
        )
        if had:
            self.log.info("admin API server stopped")


def _stop_ports(ports: Iterable[IListeningPort]) -> Deferred[Any]:
    return gatherResults([maybeDeferred(port.stopListening) for port in ports])
