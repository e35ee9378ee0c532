"""``dbx context``: named servers, and which of them commands work with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from eventdbx.errors import ConfigError
from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.contexts import (
    LOCAL,
    VARIABLE,
    ContextFile,
    Known,
    ServerContext,
    checked_name,
    token_in,
)
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import AS_JSON, argument, option
from eventdbx.surfaces.cli.output import (
    note,
    note_on_terminal,
    print_array,
    print_json,
    print_line,
    warn_of_visible,
)

_TLS = "tls://"
_STORE = {"name": LOCAL, "server": None, "domain": None, "token": None, "token_file": None,
          "tls_ca": None, "no_noise": False}  # fmt: skip


def register(root: click.Group) -> None:
    """Add the group to the root."""

    @root.group(
        "context",
        cls=DbxGroup,
        examples=(
            "dbx context add staging --server 10.0.0.2:6363 --token-file staging.token",
            "dbx context use staging",
            "dbx context use local",
        ),
    )
    def context() -> None:
        """Manage named servers, and choose where commands work

        A chosen server is used by all commands that read and write data, unless --server, --config
        or --data-dir says otherwise. --context NAME, or EVENTDBX_CONTEXT, chooses for one command.
        """

    _register_reading(context)
    _register_add(context)
    _register_changes(context)


def _register_reading(group: click.Group) -> None:
    @group.command(
        "list",
        examples=("dbx context list", "dbx context list --json"),
        columns=("name", "current", "server", "domain", "token"),
    )
    @AS_JSON
    def list_(as_json: bool) -> None:
        """List the named servers; the one in use is marked"""
        known = ContextFile(os.environ).read()
        current = _current(known)
        documents = [{**_STORE, "current": current == LOCAL}]
        documents += [one.document(current=name == current) for name, one in _sorted(known)]
        if as_json:
            print_array(documents)
            return
        for one in documents:
            mark = "*" if one["current"] else " "
            print_line(f"{mark} {one['name']} {one['server'] or '-'}")
        if len(documents) == 1:
            note_on_terminal("no server has a name yet: dbx context add NAME --server HOST:PORT")

    @group.command("show", examples=("dbx context show", "dbx context show local --json"))
    @argument("name", required=False, help="Which one [default: the one in use]")
    @AS_JSON
    def show(name: str | None, as_json: bool) -> None:
        """Show a named server; never its token"""
        known = ContextFile(os.environ).read()
        current = _current(known)
        name = current if name is None else name.strip()
        document = {**_STORE, "current": current == LOCAL}
        if name != LOCAL:
            document = known.named(name).document(current=name == current)
        if as_json:
            print_json(document)
            return
        for key, value in document.items():
            if value not in (None, False):
                print_line(f"{key}: {'yes' if value is True else value}")


def _register_add(group: click.Group) -> None:
    @group.command(
        "add",
        examples=(
            "dbx context add prod --server db.example.org:6363 --token-file prod.token",
            "dbx context add staging --server tls://10.0.0.2:6364 --tls-ca ca.pem --use",
        ),
    )
    @argument("name", help="What to call it")
    @option("--server", required=True, metavar="HOST:PORT", help="Its address; tls://HOST:PORT "
            "for TLS [default port: 6363]")  # fmt: skip
    @option("--token-file", metavar="FILE", conflicts=("token_stdin", "token"),
            help="File that has its token, read with each use")  # fmt: skip
    @option("--token-stdin", is_flag=True, conflicts=("token",),
            help="Read its token from stdin, keep it sealed")  # fmt: skip
    @option("--token", metavar="TOKEN", help="Its token, kept sealed; others on this machine can "
            "read it on the command line")  # fmt: skip
    @option("--domain", metavar="DOMAIN", help="Domain (tenant) to work in [default: the server's]")
    @option("--tls-ca", metavar="FILE", help="Trust these certificates at tls://")
    @option("--no-noise", is_flag=True, help="Do not encrypt the connection")
    @option("--replace", is_flag=True, help="Take the place of a context of this name")
    @option("--use", is_flag=True, help="Use it from now on")
    @AS_JSON
    def add(name: str, as_json: bool, **given: Any) -> None:
        """Give a server a name"""
        _add(name, given, as_json=as_json)


def _add(name: str, given: dict[str, Any], *, as_json: bool) -> None:
    file = ContextFile(os.environ)
    one = _described(file, checked_name(name), given)
    with file.change() as (known, wanted):
        if one.name in known.contexts and not given["replace"]:
            raise Failure(f"context '{one.name}' already exists (use --replace to overwrite)")
        current = one.name if given["use"] else known.current
        wanted.append(Known({**known.contexts, one.name: one}, current))
    if as_json:
        print_json(one.document(current=current == one.name))
        return
    print_line(f"Context '{one.name}' is {one.server}.")
    if given["use"]:
        _say_used(one)
    elif current != one.name:
        note_on_terminal(f"`dbx context use {one.name}` chooses it")


def _described(file: ContextFile, name: str, given: dict[str, Any]) -> ServerContext:
    """Return the context that the options describe. Raises Failure, ConfigError."""
    token_file = given["token_file"]
    token = _token(given)
    if token_file is not None:
        token_file = os.path.abspath(token_file)
        token_in(Path(token_file))  # A mistyped path is told now.
    server = _address(given["server"])
    if given["tls_ca"] is not None and not server.startswith(_TLS):
        raise Failure("--tls-ca is for an address that begins with tls://")
    return ServerContext(
        name=name,
        server=server,
        token_file=token_file,
        token=None if token is None else file.sealed(token),
        domain=_domain(given["domain"]),
        tls_ca=None if given["tls_ca"] is None else os.path.abspath(given["tls_ca"]),
        no_noise=given["no_noise"],
    )


def _token(given: dict[str, Any]) -> str | None:
    if given["token_stdin"]:
        import sys

        found = sys.stdin.readline().strip()
        if not found:
            raise Failure("there is no token on stdin")
        return found
    text = (given["token"] or "").strip()
    if text:
        warn_of_visible("--token-file or --token-stdin")
    return text or None


def _address(text: str) -> str:
    from eventdbx.services.remotes import connect_address

    lead = _TLS if text.startswith(_TLS) else ""
    text = text.removeprefix(_TLS).strip()
    if "://" in text or not text:
        raise Failure(f"'{lead}{text}' is no address of a server: HOST:PORT or tls://HOST:PORT")
    try:
        return lead + connect_address(text, None)
    except ConfigError as error:
        raise Failure(f"'{lead}{text}' is no address of a server", error.detail) from None


def _domain(text: str | None) -> str | None:
    return None if text is None or not text.strip() else text.strip().lower()


def _register_changes(group: click.Group) -> None:
    @group.command("use", examples=("dbx context use staging", "dbx context use local"))
    @argument("name", help="Which one; local, or -, is the store of this machine")
    @AS_JSON
    def use(name: str, as_json: bool) -> None:
        """Choose where commands work from now on"""
        name = name.strip()
        one = None
        with ContextFile(os.environ).change() as (known, wanted):
            if name not in (LOCAL, "-"):
                one = known.named(name)
            wanted.append(known._replace(current=None if one is None else name))
        if as_json:
            shown = {**_STORE, "current": True} if one is None else one.document(current=True)
            print_json(shown)
        else:
            _say_used(one)

    @group.command("remove", examples=("dbx context remove staging",))
    @argument("name", help="Which one")
    @AS_JSON
    def remove(name: str, as_json: bool) -> None:
        """Forget a named server, with the token that is kept for it"""
        name = name.strip()
        with ContextFile(os.environ).change() as (known, wanted):
            known.named(name)
            others = {key: one for key, one in known.contexts.items() if key != name}
            was_current = known.current == name
            wanted.append(Known(others, None if was_current else known.current))
        if as_json:
            print_json({"name": name, "removed": True, "current": known.current})
            return
        print_line(f"Removed context '{name}'.")
        if was_current:
            note("note: it was in use; commands work on the store of this machine again")

    @group.command("rename", examples=("dbx context rename staging stage-2",))
    @argument("name", help="Which one")
    @argument("new_name", help="What to call it from now on")
    @AS_JSON
    def rename(name: str, new_name: str, as_json: bool) -> None:
        """Give a named server another name"""
        name, new_name = name.strip(), checked_name(new_name)
        with ContextFile(os.environ).change() as (known, wanted):
            one = known.named(name)._replace(name=new_name)
            if new_name in known.contexts and new_name != name:
                raise Failure(f"context '{new_name}' already exists")
            others = {key: each for key, each in known.contexts.items() if key != name}
            current = new_name if known.current == name else known.current
            wanted.append(Known({**others, new_name: one}, current))
        if as_json:
            print_json(one.document(current=current == new_name))
        else:
            print_line(f"Renamed context '{name}' to '{new_name}'.")


def _say_used(one: ServerContext | None) -> None:
    if one is None:
        print_line("Commands work on the store of this machine.")
    else:
        print_line(f"Commands work with {one.server} (context '{one.name}').")
    named = os.environ.get(VARIABLE, "").strip()
    if named:
        note(f"note: {VARIABLE} is set: in this terminal '{named}' counts")


def _current(known: Known) -> str:
    """Return the name of what commands use, as the environment has it and the file."""
    named = os.environ.get(VARIABLE, "").strip() or known.current
    return LOCAL if named in (None, "", "-") else named


def _sorted(known: Known) -> list[tuple[str, ServerContext]]:
    return sorted(known.contexts.items())
