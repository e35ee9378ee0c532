"""Secrets of the configuration that are elsewhere: in a file that a variable names, or told by a
command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eventdbx.errors import ConfigError
from eventdbx.keys import declared, environment_names
from eventdbx.services.files import read_text

_COMMAND_S = 60.0
"""How long a command may take that tells a secret."""

_SECRETS = [one.path for one in declared() if one.many is None and one.item.metadata["secret"]]


def is_set(environ: Mapping[str, str], name: str) -> bool:
    """Tell whether a variable is there and not blank."""
    return bool(environ.get(name, "").strip())


def with_secrets(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with secrets that are named by file, or told by a command.

    The variable itself wins over ``EVENTDBX_…_FILE``, that over ``EVENTDBX_…_COMMAND``. Raises
    ConfigError for a missing file, and for a command that fails.
    """
    found = dict(environ)
    for path in _SECRETS:
        name = environment_names(path)[0]
        source = environ.get(name + "_FILE", "").strip()
        if source and not any(is_set(environ, one) for one in environment_names(path)):
            text = read_text(Path(source))
            if text is None:
                raise ConfigError(f"{name}_FILE names {source}, which does not exist")
            found[name] = text.strip()
        command = environ.get(name + "_COMMAND", "").strip()
        if command and not any(is_set(found, one) for one in environment_names(path)):
            found[name] = _told_by(name + "_COMMAND", command)
    return found


def _told_by(name: str, command: str) -> str:
    """Return what a command prints; no shell is between. Nothing of its output is ever shown."""
    import shlex  # Rarely needed, and not quick to load.
    import subprocess

    try:
        ended = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            timeout=_COMMAND_S, check=False, text=True,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"{name} cannot be run: {reason}") from None
    if ended.returncode or not ended.stdout.strip():
        raise ConfigError(f"{name} ended with status {ended.returncode} and no secret")
    return ended.stdout.strip()
