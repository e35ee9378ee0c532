"""The workspace: which configuration is in use, its file, and the files of the data directory.

What a configuration means is in :mod:`eventdbx.config`. Nothing here imports Twisted, and the
cryptography package only when a key or a token has to be made.
"""

from __future__ import annotations

import base64
import os
import pwd
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eventdbx.config import (
    Config,
    Value,
    check_changes,
    fresh_text,
    parse_config,
    plugin_tables,
    updated_text,
)
from eventdbx.domain.timestamps import format_ns
from eventdbx.errors import ConfigError
from eventdbx.services.files import (
    locked_directory,
    make_directory,
    read_text,
    replace_text,
    sweep_leftovers,
)
from eventdbx.services.revocations import REVOCATIONS_NAME, Revocations
from eventdbx.services.secretsources import is_set, with_secrets

if TYPE_CHECKING:
    from eventdbx.services.tokenfiles import TokenFiles

CONFIG_NAME = "config.toml"
LOCAL_NAME = ".dbx"
HOME_NAME = ".eventdbx"
PID_NAME = "eventdbx.pid"
TOKEN_NAME = "cli.token"
RESTORED_NAME = ".restored.json"
"""In a data directory that a restore has just put in place: the configuration that came with it."""

INIT_HINT = "Run `dbx init` to create a workspace here."


class Place(NamedTuple):
    """Where a configuration is, or would be created; ``local`` for one in a ``.dbx`` directory."""

    config_path: Path
    default_data_dir: Path
    local: bool


class Workspace:
    """One configuration file and the data directory it names; both absolute paths."""

    def __init__(
        self,
        place: Place,
        config: Config,
        environ: Mapping[str, str],
        overrides: Mapping[str, Value] | None = None,
        *,
        known: Mapping[str, str] | None = None,
    ) -> None:
        self.config_path = place.config_path
        self.local = place.local
        self.environ = with_secrets(environ) if known is None else known
        self._source = place, environ, overrides
        self.data_dir = Path(os.path.abspath(config.data_dir or place.default_data_dir))
        keys = [config.data_encryption_key, *config.data_encryption_keys]
        self._shares_plugins = config.tenants.multi_tenant
        self._data_keys = [key for key in keys if key is not None]
        self.revocations = Revocations(self.data_dir / REVOCATIONS_NAME, self._data_keys)
        configured = config.log.dir
        self.log_dir = Path(os.path.abspath(configured or home(environ) / HOME_NAME / "logs"))

    @property
    def data_keys(self) -> list[str]:
        """The keys for data at rest, that in use first."""
        return list(self._data_keys)

    def take_up_keys(self, keys: Sequence[str]) -> None:
        """Seal by the first of other keys from now on, here and wherever :attr:`shared_keys` is."""
        self._data_keys[:] = keys

    @property
    def shared_keys(self) -> Sequence[str]:
        """The keys for data at rest as they are at any time."""
        return self._data_keys

    @property
    def given(self) -> Mapping[str, str]:
        """The environment as it was given, without what files hold that it names."""
        return self._source[1]

    @property
    def pid_path(self) -> Path:
        return self.data_dir / PID_NAME

    @property
    def token_path(self) -> Path:
        return self.data_dir / TOKEN_NAME

    def domain_dir(self, name: str) -> Path:
        """Return the directory of a domain: the data directory itself for ``default``."""
        return self.data_dir if name == "default" else self.data_dir / "domains" / name

    def domain_names(self) -> list[str]:
        """Return the domains that have a directory, ``default`` first of all."""
        folder = self.data_dir / "domains"
        found = sorted(os.scandir(folder), key=lambda one: one.name) if folder.is_dir() else []
        hidden = (one for one in found if not one.name.startswith("."))  # What is being removed.
        return ["default", *(one.name for one in hidden if one.is_dir())]

    def store_path(self, name: str) -> Path:
        """Return the directory of a domain's event store; it may not exist yet."""
        return self.domain_dir(name) / "event_store"

    def plugins_path(self, name: str) -> Path:
        """Return the file that configures the plugins of a domain.

        Each domain has its own, but for installations of many tenants and those taken over from
        versions that kept one for all.
        """
        shared = self._shares_plugins or (self.data_dir / "shards").is_dir()
        return (self.data_dir if shared else self.domain_dir(name)) / "plugins.json"

    def token_files(self, notice: Callable[[str], None]) -> TokenFiles:
        """Return the ledger's files; ``notice`` is told of one that had to be moved aside."""
        from eventdbx.services.tokenfiles import TokenFiles  # Heavy; most commands never ask.

        return TokenFiles(self.data_dir, self._data_keys, time.time_ns, notice)

    def is_revoked(self, jti: str) -> bool:
        """Tell whether a token was revoked; the file is read again whenever it has changed."""
        return jti in self.revocations

    def read(self, changes: Mapping[str, Value] | None = None) -> Config:
        """Return the configuration as it is in effect now, or would be after the changes.

        Files named by ``EVENTDBX_…_FILE`` are read again, too. Raises as opening does, and
        ConfigError naming a wrong key among the changes.
        """
        place, environ, overrides = self._source
        text = read_text(self.config_path) or ""
        if changes:
            text = updated_text(text, check_changes(changes))
        return _parse(text, place, with_secrets(environ), overrides)

    def kept_domain(self) -> str:
        """Return the domain that the file makes the active one, whatever else says for now."""
        text = read_text(self.config_path) or ""
        return parse_config(text, origin=str(self.config_path), environ={}).domain

    def save(self, changes: Mapping[str, Value]) -> None:
        """Check the changes and put them into the configuration file, all or none.

        A relative ``data_dir`` is made absolute: it would mean another place from elsewhere.
        Raises ConfigError naming the wrong key, also when only the combination is wrong.
        """
        checked = check_changes(changes)
        if isinstance(checked.get("data_dir"), str):
            checked["data_dir"] = os.path.abspath(str(checked["data_dir"]))
        with locked_directory(self.config_path.parent):
            text = read_text(self.config_path) or ""
            changed = updated_text(text, {**checked, "updated_at": format_ns(time.time_ns())})
            parse_config(changed, origin=str(self.config_path), environ={})
            sweep_leftovers(self.config_path)
            replace_text(self.config_path, changed)


class Opened(NamedTuple):
    """A workspace with the configuration in effect."""

    workspace: Workspace
    config: Config


def home(environ: Mapping[str, str]) -> Path:
    """Return the home directory: HOME, else the account's, else the current directory."""
    if environ.get("HOME", "").strip():
        return Path(environ["HOME"])
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path()


def find_place(
    option: str | None, *, cwd: Path, environ: Mapping[str, str], create: bool = True
) -> Place:
    """Return where the configuration is: the option, the nearest ``.dbx`` upward, the home.

    ``create`` False: raises ConfigError unless a file exists in one of them. With
    EVENTDBX_AUTO_INIT on and no file anywhere, the current directory gets a ``.dbx``.
    """
    default = home(environ) / HOME_NAME
    if option is not None:
        path = Path(os.path.abspath(cwd / option))
        if not create and not path.exists():
            raise ConfigError(f"config file not found at {path}.\n{INIT_HINT}")
        local = path.name == CONFIG_NAME and path.parent.name == LOCAL_NAME
        return Place(path, path.parent if local else default, local)
    for folder in (cwd, *cwd.parents):
        path = folder / LOCAL_NAME / CONFIG_NAME
        if path.is_file():
            return Place(path, path.parent, True)
    in_home = default / CONFIG_NAME
    if in_home.is_file():
        return Place(in_home, default, False)
    if environ.get("EVENTDBX_AUTO_INIT", "").strip().lower() in ("1", "true", "yes", "on"):
        return Place(cwd / LOCAL_NAME / CONFIG_NAME, cwd / LOCAL_NAME, True)
    if not create:
        raise ConfigError(f"no EventDBX workspace found from {cwd} upward.\n{INIT_HINT}")
    return Place(in_home, default, False)


def open_workspace(
    option: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    create: bool = True,
    overrides: Mapping[str, Value] | None = None,
) -> Opened:
    """Find the configuration, create it where missing, and make the data directory.

    ``overrides`` are values of this call alone (dotted path to value). Raises ConfigError,
    SerializationError or IoError with the path in the message.
    """
    environ = os.environ if environ is None else environ
    place = find_place(option, cwd=cwd or Path.cwd(), environ=environ, create=create)
    return open_place(place, environ=environ, overrides=overrides)


def open_place(
    place: Place, *, environ: Mapping[str, str], overrides: Mapping[str, Value] | None = None
) -> Opened:
    """Like :func:`open_workspace`, for a place already found."""
    source, environ = environ, with_secrets(environ)
    text = read_text(place.config_path)
    if text is None:
        text = _create(place, environ)
    config = _parse(text, place, environ, overrides)
    if _generated(config, place, environ):
        config = _parse(_complete(place, environ), place, environ, overrides)
    workspace = Workspace(place, config, source, overrides, known=environ)
    if not os.path.lexists(workspace.data_dir):
        _bring_back(workspace.data_dir)
    make_directory(workspace.data_dir)
    if (workspace.data_dir / RESTORED_NAME).exists():
        from eventdbx.services.restoring import finish

        if finish(workspace.data_dir, place.config_path):
            return open_place(place, environ=source, overrides=overrides)
    if "plugins" in text:
        _move_plugins(workspace, config.domain)
    return Opened(workspace, config)


def _bring_back(data_dir: Path) -> None:
    """Put a data directory back that a restore had moved aside when it was killed."""
    from eventdbx.services import swapping

    with suppress(OSError):
        swapping.mend(Path(os.path.realpath(data_dir)))


def _parse(
    text: str,
    place: Place,
    environ: Mapping[str, str],
    overrides: Mapping[str, Value] | None = None,
) -> Config:
    config = parse_config(text, origin=str(place.config_path), environ=environ, overrides=overrides)
    if is_set(environ, "EVENTDBX_AUTH_PRIVATE_KEY"):
        # The public half in the file belongs to the private key there.
        public = environ.get("EVENTDBX_AUTH_PUBLIC_KEY", "").strip() or None
        return replace(config, auth=replace(config.auth, public_key=public))
    return config


def _move_plugins(workspace: Workspace, domain: str) -> None:
    """Move ``[[plugins]]`` of old configurations to the file of plugins, unless that has some."""
    path = workspace.config_path
    tables = plugin_tables(read_text(path) or "")
    if not tables:
        return

    from eventdbx.services.pluginfiles import adopt_tables

    # One lock after the other: both may be on the same folder.
    adopt_tables(tables, workspace.plugins_path(domain))
    with locked_directory(path.parent):
        replace_text(path, updated_text(read_text(path) or "", {"plugins": None}))


def exposed_secrets(path: Path) -> bool:
    """Tell whether others than the owner may read the file."""
    try:
        return bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


def _create(place: Place, environ: Mapping[str, str]) -> str:
    make_directory(place.config_path.parent)
    with locked_directory(place.config_path.parent):
        text = read_text(place.config_path)
        if text is not None:  # Another process was faster.
            return text
        data_dir = place.default_data_dir
        named = environ.get("EVENTDBX_DATA_DIR", "").strip()
        # Container images set it to HOME itself, where older versions never put their data.
        if named and not place.local and Path(named) != home(environ):
            data_dir = Path(named)
        now_ns = time.time_ns()
        fresh = fresh_text(data_dir=os.path.abspath(data_dir), created_at=format_ns(now_ns))
        fresh = updated_text(fresh, _generated(_parse(fresh, place, environ), place, environ))
        replace_text(place.config_path, fresh)
        return fresh


def _complete(place: Place, environ: Mapping[str, str]) -> str:
    """Add the keys that the file lacks and save them at once: other processes need the same."""
    with locked_directory(place.config_path.parent):
        text = read_text(place.config_path) or ""
        changes = _generated(_parse(text, place, environ), place, environ)
        if changes:
            text = updated_text(text, {**changes, "updated_at": format_ns(time.time_ns())})
            replace_text(place.config_path, text)
        return text


def _is_encrypted(folder: Path) -> bool:
    """Tell whether something in a data directory needs a data key that it was written with."""
    for name in ("data_keys", "event_store/data_keys.id"):
        if (folder / name).exists() or any(folder.glob(f"domains/*/{name}")):
            return True
    try:
        with open(folder / "tokens.json", "rb") as file:
            return file.read(6) == b"ENCv1:"
    except OSError:
        return False


def _generated(config: Config, place: Place, environ: Mapping[str, str]) -> dict[str, Value]:
    """Return new keys for those that are missing; an existing private key is never replaced.

    Nor is a data key made where one is needed that is not configured just now: with a new one it
    could not be told what is missing.
    """
    changes: dict[str, Value] = {}
    folder = Path(os.path.abspath(config.data_dir or place.default_data_dir))
    if config.data_encryption_key is None and not _is_encrypted(folder):
        changes["data_encryption_key"] = base64.b64encode(os.urandom(32)).decode()
    if config.integrity.origin is None:
        changes["integrity.origin"] = f"eventdbx-{os.urandom(8).hex()}"
    if config.integrity.signing_key is None:
        changes["integrity.signing_key"] = base64.b64encode(os.urandom(32)).decode()
    auth = config.auth
    ours = ("EVENTDBX_AUTH_PRIVATE_KEY", "EVENTDBX_AUTH_PUBLIC_KEY")
    if any(is_set(environ, name) for name in ours) or (auth.private_key and auth.public_key):
        return changes

    from eventdbx.application.token_keys import SigningKey, signing_key

    if auth.private_key is not None:
        changes["auth.public_key"] = signing_key(auth).public_text
        return changes
    key = SigningKey(os.urandom(32))
    changes["auth.private_key"] = key.private_text
    changes["auth.public_key"] = key.public_text
    if auth.key_id is None:
        changes["auth.key_id"] = time.strftime("key-%Y%m%d%H%M%S", time.gmtime())
    return changes
