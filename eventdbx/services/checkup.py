"""Looking over an installation from outside: its files, keys, ports, disk and clock.

Nothing is changed. What only whoever has the store can tell (format, queue, events) is asked by
``dbx doctor`` itself.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from eventdbx import limits
from eventdbx.config import split_address
from eventdbx.errors import EventDBXError
from eventdbx.services.auditspool import Spool
from eventdbx.services.pidfile import read_record
from eventdbx.services.workspace import Opened

Status = Literal["ok", "warn", "fail"]

SECRET_FILES = (
    "cli.token",
    "tokens.json",
    "tokens.journal",
    "jwt_revocations.json",
    "plugins.json",
    "remote.json",
    "audit.spool",
    "audit.spool.taken",
    "data_keys",
)
"""Files of the data directory with something in them that strangers must not have."""

COMFORTABLE_BYTES = 1 << 30
FILES_BESIDE_CONNECTIONS = 512
"""Open files that the store and the plugins need, about."""

_EARLIEST_S = 1_735_689_600
"""2025-01-01: a clock that is before this was never set."""
_AHEAD_S = 300


class Finding(NamedTuple):
    """What one check came to; ``advice`` says what to do about it."""

    check: str
    status: Status
    message: str
    advice: str | None = None


def examine(place: Opened) -> Iterator[Finding]:
    """Yield what there is to say of everything but the content of the store."""
    for check in (_config, _permissions, _keys, _data_keys, _operator, _ledger, _pid, _ports,
                  _exposure, _disk, _clock, _files, _log, _audit, _tenants):  # fmt: skip
        yield from _guarded(check, place)


def _guarded(check: Callable[[Opened], Iterator[Finding]], place: Opened) -> Iterator[Finding]:
    """A check that cannot be made is a finding, and the others go on."""
    name = check.__name__.lstrip("_")
    try:
        yield from check(place)
    except EventDBXError as error:
        yield Finding(name, "fail", str(error), "see what the message names")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        yield Finding(name, "fail", f"{where}{error.strerror}", "run as the owner of the files")


def _config(place: Opened) -> Iterator[Finding]:
    path = place.workspace.config_path
    for warning in place.config.warnings:
        yield Finding("config", "warn", warning, "`dbx config --check` shows it, too")
    if not place.config.warnings:
        yield Finding("config", "ok", f"{path} is understood")


def _permissions(place: Opened) -> Iterator[Finding]:
    workspace = place.workspace
    folders = {workspace.data_dir, workspace.domain_dir(place.config.domain)}
    files = [workspace.config_path]
    files += [folder / name for folder in sorted(folders) for name in SECRET_FILES]
    wrong = False
    for path in files:
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            wrong = True
            message = f"{path} holds secrets and others may use it (mode {mode:04o})"
            yield Finding("permissions", "fail", message, f"chmod 600 {path}")
        if found.st_uid != os.geteuid():
            wrong = True
            yield Finding(
                "permissions", "warn", f"{path} belongs to user {found.st_uid}, not to you",
                f"run as that user, or chown {os.geteuid()} {path}",
            )  # fmt: skip
    if not os.access(workspace.data_dir, os.R_OK | os.W_OK | os.X_OK):
        wrong = True
        message = f"{workspace.data_dir} cannot be written"
        yield Finding("permissions", "fail", message, f"chown {os.geteuid()} {workspace.data_dir}")
    if not wrong:
        yield Finding("permissions", "ok", "only the owner reads what is secret")


def _keys(place: Opened) -> Iterator[Finding]:
    from eventdbx.application.token_keys import signing_key, verification_keys
    from eventdbx.config import decode_data_key

    config = place.config
    for key in (config.data_encryption_key, *config.data_encryption_keys):
        if key is not None:
            decode_data_key(key)
    if config.data_encryption_key is None:
        yield Finding("keys", "fail", "there is no data encryption key",
                      "`dbx config --dek KEY` (32 bytes as base64)")  # fmt: skip
    if config.auth.private_key is not None:
        signing_key(config.auth)  # Says what is wrong with the pair.
    else:
        yield Finding("keys", "warn", "there is no private key: tokens are verified, none issued")
    now = time.time()
    ended = [key for key in verification_keys(config)[1:] if key.until < now]
    if ended:
        yield Finding(
            "keys", "warn", f"{len(ended)} retired signing keys have ended",
            "remove their [[auth.previous_keys]] from the configuration",
        )  # fmt: skip
    yield Finding("keys", "ok", "the signing pair fits and the data key is whole")


def _data_keys(place: Opened) -> Iterator[Finding]:
    from eventdbx.services.keyuse import report

    found = report(place.workspace, place.config, {}, {})
    sound = True
    for one in found["domains"]:
        name = one["domain"]
        problem: tuple[Status, str, str] | None = None
        if one["trouble"]:
            advice = "put the file back (dbx keys restore), or configure the key that fits"
            problem = "fail", f"{name}: {one['trouble']}", advice
        elif one["wrapped_by"] == "older":
            message = f"{name}: the data keys are wrapped by an older key"
            problem = "warn", message, "a server, or the next command that writes, changes it"
        elif found["encryption"] and one["plain"]:
            message = f"{name}: {one['plain']} stored values are not encrypted"
            problem = "warn", message, "a server encrypts them; without one, `dbx keys seal`"
        if problem is not None:
            sound = False
            yield Finding("data keys", *problem)
    if not found["encryption"]:
        yield Finding("data keys", "warn", "encryption is off: what is written now is plain",
                      "set encryption = true")  # fmt: skip
    elif sound and found["older_keys"] and not found["older_keys_needed"]:
        yield Finding("data keys", "ok", "older data encryption keys are not needed any more: "
                      "`dbx config --unset data_encryption_keys`")  # fmt: skip
    elif sound:
        yield Finding("data keys", "ok", "the present key wraps all data keys")


def _operator(place: Opened) -> Iterator[Finding]:
    from eventdbx.application.token_keys import verification_keys
    from eventdbx.application.tokens import Verifier

    workspace, auth = place.workspace, place.config.auth
    try:
        token = workspace.token_path.read_text().strip()
    except FileNotFoundError:
        yield Finding("cli.token", "ok", "there is none yet; the first command that needs it "
                      "makes it")  # fmt: skip
        return
    keys = verification_keys(place.config)
    verifier = Verifier(keys, auth.issuer, auth.audience, auth.clock_skew_secs, time.time,
                        workspace.is_revoked)  # fmt: skip
    try:
        verifier.verify(token)
    except EventDBXError as error:
        yield Finding("cli.token", "warn", f"the operator's token does not count: {error}",
                      "`dbx token bootstrap` makes a new one")  # fmt: skip
        return
    yield Finding("cli.token", "ok", "the operator's token counts")


def _ledger(place: Opened) -> Iterator[Finding]:
    ledger = place.workspace.token_files(lambda _line: None).read()
    yield Finding("tokens", "ok", f"{len(list(ledger.records))} tokens in the ledger")


def _pid(place: Opened) -> Iterator[Finding]:
    path = place.workspace.pid_path
    record = read_record(path)
    if record is None:
        yield Finding("pid", "ok", "no server runs")
    elif record.alive:
        yield Finding("pid", "ok", f"a server runs (pid {record.pid})")
    else:
        message = f"{path} is left of a server that ended without stopping (pid {record.pid})"
        yield Finding("pid", "warn", message, "`dbx status` removes it; the log says why it ended")


def _ports(place: Opened) -> Iterator[Finding]:
    record = read_record(place.workspace.pid_path)
    if record is not None and record.alive:
        return
    config = place.config
    wanted = {"socket.bind_addr": config.socket.bind_addr}
    if config.port:
        wanted["port"] = f"{config.http.bind_addr}:{config.port}"
    if config.admin.enabled and config.admin.port not in (0, config.port):
        wanted["admin.port"] = f"{config.admin.bind_addr}:{config.admin.port}"
    taken = False
    for key, address in wanted.items():
        reason = _cannot_bind(address)
        if reason is not None:
            taken = True
            message = f"{address} cannot be listened on: {reason}"
            yield Finding("ports", "fail", message, f"stop what uses it, or change {key}")
    if not taken:
        yield Finding("ports", "ok", f"free: {', '.join(wanted.values())}")


def _cannot_bind(address: str) -> str | None:
    try:
        host, port = split_address(address)
    except ValueError:
        return None  # An endpoint string: its own kind knows.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trying:
            trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trying.bind((host, port))
            trying.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _exposure(place: Opened) -> Iterator[Finding]:
    from eventdbx.services.listening import addresses, exposure

    for text in addresses(place.config.socket):
        reason = exposure(text)
        if reason is not None:
            yield Finding("exposure", "warn", reason, "bind to 127.0.0.1, or use TLS")


def _disk(place: Opened) -> Iterator[Finding]:
    folder = place.workspace.data_dir
    found = shutil.disk_usage(folder)
    free = f"{found.free // 1_048_576} MiB of {found.total // 1_048_576} MiB are free for {folder}"
    if found.free < limits.DISK_RESERVE_BYTES:
        yield Finding("disk", "fail", free, "make room: a full disk ends the server")
    elif found.free < COMFORTABLE_BYTES:
        yield Finding("disk", "warn", free, "make room soon")
    else:
        yield Finding("disk", "ok", free)
    entries = os.statvfs(folder)
    if entries.f_files and entries.f_favail < 1_000:
        message = f"only {entries.f_favail} more files fit on the disk"
        yield Finding("disk", "fail", message, "remove small files")


def _clock(place: Opened) -> Iterator[Finding]:
    now = time.time()
    if now < _EARLIEST_S:
        yield Finding("clock", "fail", "the clock was never set", "set it, run an NTP service")
        return
    written = max(_written(place.workspace.config_path), _written(place.workspace.token_path))
    if written > now + _AHEAD_S:
        message = f"the clock is {written - now:.0f} s behind files that were written here"
        yield Finding("clock", "fail", message, "set it; tokens and times depend on it")
    else:
        yield Finding("clock", "ok", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _files(place: Opened) -> Iterator[Finding]:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    wanted = place.config.limits.connections_max + FILES_BESIDE_CONNECTIONS
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        message = f"{allowed} open files are allowed, limits.connections_max wants {wanted}"
        yield Finding("files", "warn", message, f"ulimit -n {wanted}, or LimitNOFILE={wanted}")
    else:
        yield Finding("files", "ok", "enough open files are allowed")


def _log(place: Opened) -> Iterator[Finding]:
    folder = place.workspace.log_dir
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        yield Finding("log", "ok", f"the log goes to {folder}")
    else:
        message = f"{folder} cannot be written: a server there logs nothing"
        yield Finding("log", "fail", message, "set log.dir, or give the folder to its user")


def _tenants(place: Opened) -> Iterator[Finding]:
    from eventdbx.domain.tenants import MIB, check_shard
    from eventdbx.services.tenantfiles import TenantFile

    records = TenantFile.of(*place).load()
    sound = True
    for tenant, one in sorted(records.items()):
        if one.shard is not None:
            try:
                check_shard(one.shard, place.config.tenants.shard_count)
            except EventDBXError as error:
                sound = False
                advice = f"`dbx tenant assign {tenant}`, or raise tenants.shard_count"
                yield Finding("tenants", "warn", f"{tenant}: {error}", advice)
        if one.quota_mib is not None and (one.usage_bytes or 0) >= one.quota_mib * MIB:
            sound = False
            message = f"{tenant}: the quota of {one.quota_mib} MB is reached, as measured last"
            advice = f"`dbx tenant quota recalc {tenant}`, or set a larger one"
            yield Finding("tenants", "warn", message, advice)
    if records and sound:
        yield Finding("tenants", "ok", f"{len(records)} tenants have shards or quotas of their own")


def _audit(place: Opened) -> Iterator[Finding]:
    spool, record = Spool(place.workspace.data_dir), read_record(place.workspace.pid_path)
    if not spool.holds_something:
        return
    if record is None or not record.alive:
        yield Finding("audit", "ok", "actions wait for the trail: the server, or `dbx audit log`, "
                      "takes them over")  # fmt: skip
    elif time.time() - spool.written_at > 10:
        yield Finding("audit", "warn", "the server does not take the audit spool over",
                      "see its log")  # fmt: skip
