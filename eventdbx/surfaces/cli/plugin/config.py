"""``dbx plugin config`` for each kind, and ``dbx plugin set`` for single options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from eventdbx.surfaces.cli.commands import DbxGroup
from eventdbx.surfaces.cli.failures import Failure, UsageFailure
from eventdbx.surfaces.cli.helptext import usage_line
from eventdbx.surfaces.cli.options import DOCUMENT, all_of, argument, option
from eventdbx.surfaces.cli.output import print_result
from eventdbx.surfaces.cli.plugin.calls import NAME, Document, operate
from eventdbx.surfaces.cli.plugin.install import installed_version
from eventdbx.surfaces.cli.plugin.marks import new_name
from eventdbx.surfaces.cli.plugin.options import DELIVERY, EMIT, PAYLOAD, delivery_members
from eventdbx.surfaces.cli.session import opened
from eventdbx.surfaces.cli.values import HEADER, U16, U32, KeyValue, Pair, json_value

REMOVED_KINDS = ("grpc", "json", "csv", "postgres", "sqlite")

OPTION = KeyValue("option", typed=True)
INSTANCE = option("--name", required=True, metavar="NAME", help="What the plugin is called")
DISABLE = option("--disable", is_flag=True, help="Configure it, but do not enable it")
START = option(
    "--from",
    "start",
    metavar="WHERE",
    help="Where a new one begins: start, end, a position, or a time (RFC 3339) [default: end]",
)
CERTIFICATES = all_of(
    option("--ca-file", metavar="FILE", help="Certificates to trust, PEM"),
    option("--client-cert", metavar="FILE", help="Own certificate, PEM"),
    option("--client-key", metavar="FILE", help="Its key, PEM"),
)


class KindGroup(DbxGroup):
    """The group: kinds that earlier releases had are named in a hint."""

    def unknown(self, ctx: click.Context, name: str) -> Exception:
        """Return what an unknown kind ends with."""
        if name not in REMOVED_KINDS:
            return super().unknown(ctx, name)
        return UsageFailure(
            f"unrecognized subcommand '{name}'",
            usage=usage_line(ctx.command_path, self),
            tip=f"kind '{name}' was removed; use http or process",
        )


def register(group: click.Group) -> None:
    """Add the commands to the group."""

    @group.group(
        "config",
        cls=KindGroup,
        epilog="A plugin that is configured again keeps its place in the log.",
        examples=(
            "dbx plugin config http --name hook --endpoint https://example.org/in",
            "dbx plugin config log --name audit --level info",
        ),
    )
    def config() -> None:
        """Configure plugins"""

    _register_socket(config, "tcp", "TCP", "Configure the TCP plugin")
    _register_socket(config, "capnp", "Cap'n Proto", "Configure the Cap'n Proto plugin")
    _register_http(config)
    _register_log(config)
    _register_process(config)
    _register_set(group)


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    return all_of(DISABLE, PAYLOAD, EMIT, START, DELIVERY, DOCUMENT)(click.pass_context(function))


def _configure(
    context: click.Context, title: str, name: str, config: Document, given: Document
) -> None:
    """Configure one plugin, and say so. Options that were not given stay as they are."""
    entry = {"enabled": not given["disable"], "name": name, **delivery_members(given)}
    operation: Document = {"do": "configure", "entry": {**entry, "config": config}}
    if given["start"] is not None:
        operation["from"] = given["start"]
    operate(context, operation, writes=True)
    print_result(
        {"plugin": name, "kind": config["type"], "enabled": not given["disable"]},
        f"{title} plugin '{name}' {'disabled' if given['disable'] else 'configured'}",
    )


def _set_members(given: Document, *names: str) -> Document:
    """Return the members of a config that were given; flags that were not are left out."""
    return {name: given[name] for name in names if given[name] not in (None, False, ())}


def _pairs(pairs: tuple[Pair, ...]) -> dict[str, str]:
    return {pair.key: pair.value for pair in pairs}


def _register_socket(group: click.Group, kind: str, title: str, phrase: str) -> None:
    @group.command(
        kind,
        help=phrase,
        examples=(f"dbx plugin config {kind} --name sink --host 127.0.0.1 --port 9000",),
    )
    @option("--host", required=True, metavar="HOST", help="Name or address to connect to")
    @option("--port", required=True, type=U16, metavar="PORT", help="Port to connect to")
    @INSTANCE
    @option("--tls", is_flag=True, help="Encrypt the connection")
    @option("--persistent", is_flag=True, help="Keep the connection between deliveries")
    @CERTIFICATES
    @_common
    def configure(context: click.Context, /, **given: Any) -> None:
        certificates = ("ca_file", "client_cert", "client_key")
        config = {
            "type": kind,
            "host": given["host"],
            "port": given["port"],
            **_set_members(given, "tls", *certificates, "persistent"),
        }
        _configure(context, title, new_name(given["name"]), config, given)


def _register_http(group: click.Group) -> None:
    @group.command(
        "http",
        examples=(
            "dbx plugin config http --name hook --endpoint https://example.org/in "
            "--header 'Authorization=env:HOOK_TOKEN' --secret env:HOOK_SECRET",
        ),
    )
    @option("--endpoint", required=True, metavar="ENDPOINT", help="URL that is POSTed to")
    @INSTANCE
    @option(
        "--header", "headers", multiple=True, type=HEADER, metavar="KEY=VALUE",
        help="Sent with every request; env:NAME and file:PATH are looked up for each delivery",
    )  # fmt: skip
    @option("--https", is_flag=True, help="https for an endpoint without a scheme")
    @option(
        "--secret", "secrets", multiple=True, metavar="SECRET",
        help="Sign deliveries: whsec_..., whsk_..., env:NAME or file:PATH; two while changing",
    )  # fmt: skip
    @option(
        "--format",
        type=click.Choice(["eventdbx", "cloudevents"]),
        metavar="FORMAT",
        help="Form of the requests [default: eventdbx]",
    )
    @option("--structured", is_flag=True, help="With cloudevents: one JSON document")
    @option("--no-private", is_flag=True, help="Never connect to private or loopback addresses")
    @option("--allow-link-local", is_flag=True, help="Connect to link-local addresses, too")
    @CERTIFICATES
    @_common
    def http(context: click.Context, /, **given: Any) -> None:
        """Configure the HTTP plugin"""
        name = new_name(given["name"])
        config: Document = {
            "type": "http",
            "endpoint": given["endpoint"],
            "headers": _pairs(given["headers"]),
            "https": given["https"],
        }
        if given["secrets"]:
            config["secrets"] = list(given["secrets"])
        config |= _set_members(given, "format", "structured", "ca_file", "client_cert")
        config |= _set_members(given, "client_key", "allow_link_local")
        if given["no_private"]:
            config["allow_private"] = False
        _configure(context, "HTTP", name, config, given)


def _register_log(group: click.Group) -> None:
    @group.command(
        "log",
        examples=("dbx plugin config log --name audit --template '{aggregate}/{id} {event}'",),
    )
    @INSTANCE
    @option(
        "--level", default="info", show_default=True, metavar="LEVEL", help="Level of the lines"
    )
    @option("--template", metavar="TEMPLATE", help="Line of an event: {aggregate}, {id}, {event}")
    @option(
        "--detail",
        type=click.Choice(["summary", "full"]),
        metavar="DETAIL",
        help="Whether lines have payloads (full) [default: summary for a new one]",
    )
    @option("--path", metavar="FILE", help="Write NDJSON to this file, rotated by size")
    @_common
    def log(context: click.Context, /, **given: Any) -> None:
        """Configure the logging plugin"""
        name = new_name(given["name"])
        config = {"type": "log", "level": given["level"], "template": given["template"]}
        config |= _set_members(given, "detail", "path")
        _configure(context, "Log", name, config, given)


def _register_process(group: click.Group) -> None:
    @group.command(
        "process",
        examples=(
            "dbx plugin config process orders-view --name view --arg=--db --arg=view.sqlite --ack",
        ),
    )
    @argument("plugin", required=False, help="Name of the installed program")
    @option("--plugin", "flag", metavar="PLUGIN", help="The same as an option")
    @option("--version", metavar="VERSION", help="Version of it [default: the latest installed]")
    @option(
        "--name", metavar="INSTANCE", help="What the plugin is called [default: as the program]"
    )
    @option(
        "--arg", "args", multiple=True, dashed_value=True, metavar="ARG",
        help="An argument of the program, in order",
    )  # fmt: skip
    @option(
        "--env",
        multiple=True,
        type=HEADER,
        metavar="KEY=VALUE",
        help="A variable of its environment",
    )
    @option("--working-dir", metavar="WORKING_DIR", help="Where it works [default: its folder]")
    @option("--ack", is_flag=True, help="It confirms what it has done on its standard output")
    @option(
        "--max-in-flight", type=U32, metavar="N", help="Most events not confirmed [default: 16]"
    )
    @option("--user", metavar="USER", help="Run it as this user")
    @option("--memory-mb", type=U32, metavar="MB", help="Most memory")
    @option("--open-files", type=U32, metavar="N", help="Most open files")
    @_common
    def process(context: click.Context, /, **given: Any) -> None:
        """Configure a subprocess plugin installed via the registry"""
        program = _program(given["plugin"], given["flag"])
        name = new_name(program if given["name"] is None else given["name"])
        version = installed_version(opened(context), program, given["version"])
        config: Document = {
            "type": "process",
            "name": program,
            "version": version,
            "args": list(given["args"]),
            "env": _pairs(given["env"]),
            "working_dir": given["working_dir"],
        }
        limits = ("user", "memory_mb", "open_files")
        config |= _set_members(given, "ack", "max_in_flight", *limits)
        _configure(context, "Process", name, config, given)


def _program(positional: str | None, flag: str | None) -> str:
    """Return the program that is meant. Raises Failure."""
    if positional is not None and flag is not None and positional != flag:
        raise Failure("conflicting plugin identifiers provided (flag vs positional)")
    program = positional if positional is not None else flag
    if program is None:
        raise Failure("plugin identifier is required")
    if not program.strip():
        raise Failure("plugin identifier cannot be empty")
    return program.strip()


def _register_set(group: click.Group) -> None:
    @group.command(
        "set",
        examples=(
            "dbx plugin set hook --concurrency 4 --batch 50",
            "dbx plugin set hook --unset batch,filter",
            "dbx plugin set view ack:=true memory_mb:=512",
        ),
    )
    @NAME
    @argument(
        "options",
        nargs=-1,
        required=False,
        metavar="KEY=VALUE",
        type=OPTION,
        help="Any option by its name in plugins.json; KEY:=JSON for values that are no texts",
    )
    @PAYLOAD
    @EMIT
    @DELIVERY
    @option("--unset", multiple=True, metavar="OPTIONS", help="Go back to the default of these")
    @DOCUMENT
    @click.pass_context
    def set_options(context: click.Context, /, **given: Any) -> None:
        """Change options of a plugin, and leave everything else as it is"""
        members = delivery_members(given)
        for key, text, typed in given["options"]:
            members[key] = json_value(text, key, "value") if typed else text
        names = (
            one.strip().replace("-", "_") for text in given["unset"] for one in text.split(",")
        )
        unset = [_MEMBER.get(one, one) for one in names if one]
        if not members and not unset:
            raise Failure(
                "no option was given",
                hint="`dbx plugin set --help` lists them; `dbx plugin show` prints those set",
            )
        name = given["name"]
        operate(
            context, {"do": "options", "name": name, "set": members, "unset": unset}, writes=True
        )
        done = {"plugin": name, "set": members, "unset": unset}
        print_result(done, f"Plugin '{name}' changed")


_MEMBER = {"timeout": "timeout_secs", "payload": "payload_mode"}
"""Options whose member of the entry has another name."""
