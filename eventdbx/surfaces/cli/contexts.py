"""Named servers: where ``dbx`` works when it is not the store of this machine.

They are kept in ``contexts.json`` beside the default configuration, for the person and not for a
workspace. What may be done to them is in :mod:`eventdbx.surfaces.cli.context_commands`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import click

from eventdbx.errors import EventDBXError
from eventdbx.services.files import locked_directory, make_directory, read_text, replace_text
from eventdbx.services.workspace import CONFIG_NAME, HOME_NAME, Place, Workspace, home, open_place
from eventdbx.surfaces.cli.failures import Failure, UsageFailure
from eventdbx.surfaces.cli.output import note

FILE_NAME = "contexts.json"
VARIABLE = "EVENTDBX_CONTEXT"

LOCAL = "local"
"""The name of no server: the store of this machine."""

NOT_FOUND = "unknown_name"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_CHOSEN = "eventdbx.context"

_OF_THIS_MACHINE = frozenset(
    (
        "start", "stop", "status", "restart", "destroy", "serve", "init", "config", "token", "auth",
        "remote", "doctor", "backup", "restore", "checkout", "merge", "domain create", "conflicts",
        "push", "pull", "watch", "keys backup", "keys restore", "plugin install",
    )
)  # fmt: skip
"""Commands that work on files and processes here, whatever server is chosen."""

_OF_NEITHER = frozenset(("context", "completion", "shell", "upgrade", "proof check", "audit check"))
"""Commands that need neither a store nor a server."""


class ServerContext(NamedTuple):
    """One named server; ``token`` is sealed, where there is a key to seal with."""

    name: str
    server: str
    token_file: str | None = None
    token: str | None = None
    domain: str | None = None
    tls_ca: str | None = None
    no_noise: bool = False

    def document(self, *, current: bool) -> dict[str, Any]:
        """Return what is shown of it: never the token."""
        kept = "sealed" if self.token and self.token.startswith("ENCv1:") else "plain"
        return {
            "name": self.name,
            "current": current,
            "server": self.server,
            "domain": self.domain,
            "token": "file" if self.token_file else kept if self.token else None,
            "token_file": self.token_file,
            "tls_ca": self.tls_ca,
            "no_noise": self.no_noise,
        }


class Known(NamedTuple):
    """Everything that is kept: the contexts by name, and which one is current."""

    contexts: dict[str, ServerContext]
    current: str | None

    def named(self, name: str) -> ServerContext:
        """Return a context. Raises Failure when there is none of that name."""
        found = self.contexts.get(name)
        if found is None:
            raise Failure(f"no context named '{name}' is configured", code=NOT_FOUND)
        return found


class ContextFile:
    """The file; every method reads it anew."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.folder = home(environ) / HOME_NAME
        self.path = self.folder / FILE_NAME
        self._environ = environ

    def read(self) -> Known:
        """Return what is kept. Raises Failure if the file is broken."""
        text = read_text(self.path)
        if text is None:
            return Known({}, None)
        try:
            found = json.loads(text)
            fields = ServerContext._fields
            contexts = {
                name: ServerContext(name, **{key: one[key] for key in fields if key in one})
                for name, one in found["contexts"].items()
            }
            return Known(contexts, found.get("current"))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Failure(f"{self.path} is damaged", hint="mend it, or remove it") from None

    @contextmanager
    def change(self) -> Iterator[tuple[Known, list[Known]]]:
        """Hold the file; yields what it has, and a list for what is to be in it."""
        make_directory(self.folder)
        with locked_directory(self.folder):
            wanted: list[Known] = []
            yield self.read(), wanted
            if wanted:
                contexts = {
                    name: {key: value for key, value in one._asdict().items()
                           if key != "name" and value not in (None, False)}
                    for name, one in sorted(wanted[-1].contexts.items())
                }  # fmt: skip
                document = {"current": wanted[-1].current, "contexts": contexts}
                replace_text(self.path, json.dumps(document, indent=2) + "\n")

    def sealed(self, token: str) -> str:
        """Return a token as it is kept: sealed with the data key of the default configuration."""
        from eventdbx.application.sealing import seal

        keys = self._workspace().data_keys
        if keys:
            return seal(token, keys[0], os.urandom(12))
        note("warning: there is no data encryption key, the token is stored in clear")
        return token

    def token_of(self, one: ServerContext) -> str | None:
        """Return the token of a context, None if it has none. Raises Failure if it is lost."""
        if one.token_file is not None:
            return token_in(Path(one.token_file))
        if one.token is None:
            return None
        from eventdbx.application.sealing import unseal

        keys = self._workspace().data_keys
        try:
            return unseal(one.token, keys[:1], "contexts")
        except EventDBXError:
            pass
        try:
            token = unseal(one.token, keys, "contexts")
        except EventDBXError:
            raise Failure(
                f"the token of context '{one.name}' was sealed with another data encryption key",
                hint=f"dbx context add {one.name} --server {one.server} --token-file FILE "
                "--replace",
            ) from None
        # The older key is there until it is removed: who removes it does not know of this file.
        with suppress(EventDBXError), self.change() as (known, wanted):
            if known.contexts.get(one.name) == one:
                anew = one._replace(token=self.sealed(token))
                wanted.append(known._replace(contexts={**known.contexts, one.name: anew}))
        return token

    def _workspace(self) -> Workspace:
        place = Place(self.folder / CONFIG_NAME, self.folder, False)
        return open_place(place, environ=self._environ).workspace


def checked_name(name: str) -> str:
    """Return the name of a context, trimmed. Raises Failure."""
    name = name.strip()
    if name == LOCAL:
        raise Failure(f"'{LOCAL}' is the store of this machine; give the context another name")
    if not _NAME.fullmatch(name):
        raise Failure(
            f"'{name}' is no name for a context: letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit, 64 at most"
        )
    return name


def token_in(path: Path) -> str:
    """Return the token in a file. Raises Failure if there is none."""
    found = (read_text(path) or "").strip()
    if not found:
        raise Failure(f"{path} has no token")
    return found


def chosen(context: click.Context) -> ServerContext | None:
    """Return the context that a command works in, None for what the command line says otherwise.

    ``--context`` counts most, then an address or a store on the command line, then the
    environment, then what ``dbx context use`` chose. Commands of this machine have none, and say
    so when another place was chosen.
    """
    meta = context.find_root().meta
    if _CHOSEN not in meta:
        if _is_of(context, _OF_THIS_MACHINE | _OF_NEITHER):
            meta[_CHOSEN] = None
            _say_where(context)
        else:
            meta[_CHOSEN] = looked_up(context.find_root().params)
    one: ServerContext | None = meta[_CHOSEN]
    return one


def _say_where(context: click.Context) -> None:
    """Tell that a command is about this machine, if another place was chosen."""
    params = context.find_root().params
    try:
        found = looked_up(params)
    except Failure:
        if params.get("context") is not None:
            raise
        return  # Whatever is wrong with the file, this command needs no name in it.
    if found is not None and _is_of(context, _OF_THIS_MACHINE):
        note(
            f"note: `{context.command_path}` is about this machine, "
            f"not about {found.server} of context '{found.name}'"
        )


def looked_up(params: Mapping[str, Any]) -> ServerContext | None:
    """Return the context that options of the root, the environment and the file name."""
    name = params.get("context")
    if name is not None and params.get("socket") is not None:
        raise UsageFailure("the argument '--context <NAME>' cannot be used with '--server <ADDR>'")
    if name is None:
        if any(params.get(one) is not None for one in ("socket", "config", "data_dir")):
            return None
        name = os.environ.get(VARIABLE, "").strip() or None
    contexts = ContextFile(os.environ)
    if name is None:
        name = contexts.read().current
    return None if name in (None, LOCAL, "-") else contexts.read().named(name)


def _is_of(context: click.Context, commands: frozenset[str]) -> bool:
    words = context.command_path.split()[1:]
    return any(" ".join(words[:count]) in commands for count in (1, 2))
