"""Which workspace a command works in, and whether a server runs there.

Nothing here imports Twisted, the store or the wire: commands about files and processes need no
more than this. The way to the data is in :mod:`eventdbx.surfaces.cli.session`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from eventdbx.config import Value
from eventdbx.errors import ConfigError, StillInUse, UnknownName
from eventdbx.services import domains
from eventdbx.services.pidfile import AlreadyRunning, ServerRecord, read_record
from eventdbx.services.workspace import Opened, open_workspace
from eventdbx.surfaces.cli.contexts import chosen
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.output import note


def opened(
    context: click.Context, *, create: bool = True, overrides: Mapping[str, Value] | None = None
) -> Opened:
    """Return the workspace that the command line and the environment name.

    ``overrides`` (dotted path to value) beat the options of the root; ``create`` False refuses to
    make a configuration. Raises what :func:`~eventdbx.services.workspace.open_workspace` raises.
    """
    chosen(context)  # Says so, if the command is of this machine and another place was chosen.
    options = context.find_root().params
    shared: dict[str, Value] = {}
    if options.get("data_dir"):
        shared["data_dir"] = os.path.abspath(options["data_dir"])
    if options.get("no_noise"):
        shared["no_noise"] = True
    if options.get("domain") is not None:
        shared["domain"] = domains.domain_name(options["domain"])
    place = open_workspace(
        options.get("config"), create=create, overrides={**shared, **(overrides or {})}
    )
    if "domain" in shared and _is_local(context):
        _check_domain(place)
    if options.get("verbose"):
        note(f"config: {place.workspace.config_path}")
        note(f"data directory: {place.workspace.data_dir}")
    return place


def _is_local(context: click.Context) -> bool:
    return context.find_root().params.get("socket") is None and chosen(context) is None


def _check_domain(place: Opened) -> None:
    """Refuse a domain that was named for one call and is not there: it may be a slip."""
    name, workspace = place.config.domain, place.workspace
    if not domains.exists(workspace, name):
        raise Failure(
            f"domain '{name}' does not exist",
            hint=domains.similar(workspace, name) or f"dbx checkout --create {name}",
            code=UnknownName.code,
        )


def opened_anyway(context: click.Context, *, create: bool = True) -> Opened:
    """Like :func:`opened`, but values of the file that are wrong count as absent, with a warning.

    Whoever looks after a server that runs needs none of them.
    """
    absent: dict[str, Value] = {}
    while True:
        try:
            return opened(context, create=create, overrides=absent)
        except ConfigError as error:
            if error.key is None or error.key in absent:
                raise
            absent[error.key] = None
            note(f"warning: {error.detail}")


def server_record(place: Opened) -> ServerRecord | None:
    """Return what the pid file says. Raises Failure, in the words scripts know, if it is broken."""
    try:
        return read_record(place.workspace.pid_path)
    except ConfigError as error:
        raise Failure(error.detail) from None


def server_to_ask(place: Opened) -> bool:
    """Say whether a live server holds the data directory. Raises Failure while a command does that
    must have the data to itself: neither would answer."""
    record = server_record(place)
    if record is None or not record.alive:
        return False
    if record.doing is not None and record.pid != os.getpid():
        raise Failure(AlreadyRunning(record.pid, record.doing).detail, code=StillInUse.code)
    return record.serves


def daemon_runs(place: Opened) -> bool:
    """Say whether a live server holds the data directory."""
    record = server_record(place)
    return record is not None and record.serves
