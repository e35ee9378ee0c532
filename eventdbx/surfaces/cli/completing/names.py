"""Names that exist: domains, remotes, plugins, aggregate types and their events, contexts, keys.

For completion and for hints, so they cost little and never fail: files are read, a store is never
opened, a server is asked only where it is the one that knows, and then for a moment. What cannot
be told is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eventdbx.errors import EventDBXError
from eventdbx.surfaces.cli.failures import Failure, UsageFailure

if TYPE_CHECKING:
    from eventdbx.services.workspace import Opened
    from eventdbx.surfaces.cli.contexts import ServerContext
    from eventdbx.surfaces.control.blocking import BlockingClient
    from eventdbx.surfaces.control.calls import Calls

ANSWER_S = 0.5
"""A server that takes longer is no help to somebody who types."""

NAMES_MAX = 200
_TYPES_ASKED = 50
_IDS_ASKED = 50
_LAST = "\U0010ffff"


class Names:
    """The names around one command line; ``context`` holds the options of its root."""

    def __init__(self, context: click.Context) -> None:
        self._context = context
        self._place: Opened | None = None

    def of(self, kind: str, *, within: str | None = None, begin: str = "") -> list[str]:
        """Return the names of a kind (a method of this class); none where anything is amiss.

        ``within`` is the aggregate type for the names of events and aggregates, ``begin`` what
        they begin with.
        """
        kinds: dict[str, Callable[[], Iterable[str]]] = {
            "domain": self._domains,
            "remote": self._remotes,
            "plugin": self._plugins,
            "type": self._types,
            "event": lambda: self._events(within),
            "aggregate": lambda: self._aggregates(within, begin),
            "context": self._contexts,
            "key": self._keys,
        }
        try:
            return list(kinds[kind]())[:NAMES_MAX]
        except (EventDBXError, Failure, UsageFailure, OSError, ValueError, KeyError, TypeError):
            return []

    def _opened(self) -> Opened:
        from eventdbx.services.workspace import open_workspace

        if self._place is None:
            options = self._context.find_root().params
            shared: dict[str, Any] = {}
            if options.get("data_dir"):
                shared["data_dir"] = os.path.abspath(options["data_dir"])
            if options.get("domain"):
                shared["domain"] = options["domain"].strip().lower()
            self._place = open_workspace(options.get("config"), create=False, overrides=shared)
        return self._place

    def _elsewhere(self) -> ServerContext | str | None:
        """Return the server that the command line or a context names, None for the local store."""
        from eventdbx.surfaces.cli.contexts import looked_up

        params = self._context.find_root().params
        return params.get("socket") or looked_up(params)

    def _folder(self) -> Path:
        place = self._opened()
        return place.workspace.domain_dir(place.config.domain)

    def _domains(self) -> list[str]:
        return self._opened().workspace.domain_names()

    def _remotes(self) -> list[str]:
        from eventdbx.services.remotes import Remotes

        return list(Remotes(self._opened().workspace).documents())

    def _contexts(self) -> list[str]:
        from eventdbx.surfaces.cli.contexts import LOCAL, ContextFile

        return [LOCAL, *ContextFile(os.environ).read().contexts]

    def _keys(self) -> list[str]:
        from eventdbx.keys import declared

        return [one.path for one in declared()]

    def _plugins(self) -> list[str]:
        if self._elsewhere() is not None:
            found = self._asked(lambda client, calls: client.call(calls.plugins({"do": "list"})))
            return [one.get("name") or one["config"]["type"] for one in found["plugins"]]
        place = self._opened()
        entries = json.loads(place.workspace.plugins_path(place.config.domain).read_bytes())
        return [one.get("name") or one["config"]["type"] for one in entries]

    def _schemas(self) -> dict[str, Any]:
        if self._elsewhere() is not None:
            found = self._asked(lambda client, calls: client.call(calls.schema({"do": "list"})))
            return dict(found["schemas"])
        schemas: dict[str, Any] = json.loads((self._folder() / "schemas.json").read_bytes())
        return schemas

    def _types(self) -> list[str]:
        try:
            found = set(self._schemas())
        except (EventDBXError, Failure, OSError, ValueError, KeyError):
            found = set()
        if self._served():
            found |= set(self._asked(_types_there))
        return sorted(found)

    def _events(self, aggregate_type: str | None) -> list[str]:
        schemas = self._schemas()
        chosen = list(schemas.values())
        if aggregate_type in schemas:
            chosen = [schemas[aggregate_type]]
        return sorted({event for one in chosen for event in one["events"]})

    def _aggregates(self, aggregate_type: str | None, begin: str) -> list[str]:
        if aggregate_type is None or not self._served():
            return []
        kind = aggregate_type
        return list(self._asked(lambda client, calls: _ids_there(client, calls, kind, begin)))

    def _served(self) -> bool:
        """Say whether a server answers for the store."""
        from eventdbx.surfaces.cli.places import daemon_runs

        return self._elsewhere() is not None or daemon_runs(self._opened())

    def _asked(self, ask: Callable[[BlockingClient, Calls], Any]) -> Any:
        from eventdbx.surfaces.cli import dialling
        from eventdbx.surfaces.cli.live_status import present_token
        from eventdbx.surfaces.cli.session import tenant_of
        from eventdbx.surfaces.control.calls import Calls

        there, place = self._elsewhere(), self._opened()
        options = self._context.find_root().params
        chosen = None if there is None or isinstance(there, str) else there
        address = place.config.socket.bind_addr
        if there is not None:
            address = there if isinstance(there, str) else there.server
        token = dialling.token_of_line(options, None)
        if token is None and chosen is None:
            token = present_token(place)
        if token is None and (chosen is None or chosen.token_file is None is chosen.token):
            return []
        client, text = dialling.connect(
            options, place, address, token, chosen=chosen,
            tenant=tenant_of(options, place, chosen), failing="", timeout_s=ANSWER_S,
        )  # fmt: skip
        with client:
            return ask(client, Calls(text))


def _types_there(client: BlockingClient, calls: Calls) -> list[str]:
    """Return the types that have aggregates, by going from the last of one to the next."""
    found: list[str] = []
    cursor = None
    while len(found) < _TYPES_ASKED:
        items = client.call(calls.scan_aggregates(take=1, cursor=cursor)).items
        if not items:
            break
        found.append(items[0]["aggregate_type"])
        cursor = f"a:{found[-1]}:{_LAST}"
    return found


def _ids_there(client: BlockingClient, calls: Calls, kind: str, begin: str) -> list[str]:
    cursor = f"a:{kind}:{begin}" if begin else None
    page = calls.scan_aggregates(aggregate_type=kind, take=_IDS_ASKED, cursor=cursor)
    ids = [one["aggregate_id"] for one in client.call(page).items]
    return [one for one in ids if one.startswith(begin)]
