"""How a process plugin's program is started, and how the files in ``run/`` say that it runs.

When it is started, and when again, is decided in :mod:`eventdbx.plugins.supervision`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from eventdbx.domain.delivery.entries import PluginEntry, ProcessConfig
from eventdbx.plugins.surroundings import Installation, Surroundings, is_secret_variable

_BEGIN = Path(__file__).with_name("begin.py")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_DEFAULT_DOMAIN = "default"


def config_of(entry: PluginEntry) -> ProcessConfig:
    """Return the configuration of an entry, which must be that of a process."""
    assert isinstance(entry.config, ProcessConfig)
    return entry.config


def instance_name(entry: PluginEntry) -> str:
    """Return what the instance is called: its own name, else that of its program."""
    return entry.name or config_of(entry).name


def file_name(domain: str, entry: PluginEntry) -> str:
    """Return the name of the instance in file names.

    Instances of domains other than the default one have that before it: ``run/`` serves all.
    """
    name = _UNSAFE.sub("_", instance_name(entry))
    return name if domain == _DEFAULT_DOMAIN else f"{_UNSAFE.sub('_', domain)}.{name}"


class Launch(NamedTuple):
    """What to run: a program with arguments (its own name first) and an environment."""

    executable: str
    arguments: list[str]
    environment: dict[str, str]


def launch(entry: PluginEntry, surroundings: Surroundings, installation: Installation) -> Launch:
    """Return how to start the program of an entry."""
    config = config_of(entry)
    folder = installation.directory
    if config.working_dir is not None:
        folder = surroundings.data_root / config.working_dir
    wanted = {
        "cwd": str(folder),
        "user": config.user,
        "memory_mb": config.memory_mb,
        "open_files": config.open_files,
    }
    # Nothing of the user's Python counts for the few lines until the program itself runs.
    python = [sys.executable, "-I", "-S", str(_BEGIN)]
    arguments = [*python, json.dumps(wanted), str(installation.binary), *config.args]
    return Launch(sys.executable, arguments, _environment(entry, surroundings))


def _environment(entry: PluginEntry, surroundings: Surroundings) -> dict[str, str]:
    """Return the server's environment without its secrets, with what the entry says.

    ``python3`` is the server's own, as in its activated environment: there a script's first line
    finds this package.
    """
    config = config_of(entry)
    everything = surroundings.environ.items()
    kept = {key: value for key, value in everything if not is_secret_variable(key)}
    kept.pop("EVENTDBX_PLUGIN_ACK", None)
    ours = os.path.dirname(sys.executable)
    others = [place for place in kept.get("PATH", os.defpath).split(os.pathsep) if place != ours]
    kept |= {
        "PATH": os.pathsep.join([ours, *others]),
        "EVENTDBX_PLUGIN_NAME": instance_name(entry),
        "EVENTDBX_PLUGIN_PID_FILE": str(pid_file(entry, surroundings)),
        "EVENTDBX_CONTROL_ADDR": surroundings.control_address,
        "EVENTDBX_DOMAIN": surroundings.domain,
    }
    if config.ack:
        kept["EVENTDBX_PLUGIN_ACK"] = "1"
    return kept | dict(config.env)


def pid_file(entry: PluginEntry, surroundings: Surroundings) -> Path:
    """Return where the pid of an instance is written."""
    return surroundings.run_dir / f"{file_name(surroundings.domain, entry)}.pid"


class RunFiles:
    """``<id>.pid`` with the child's pid and ``<id>.worker`` with ours, for scripts to read."""

    def __init__(self, path: Path, name: str) -> None:
        self._pid = path
        self._worker = path.with_suffix(".worker")
        self._name = name

    def write(self, pid: int) -> None:
        """Say that the child runs; raises OSError."""
        self._pid.parent.mkdir(parents=True, exist_ok=True)
        self._pid.write_text(f"{pid}\n")
        self._worker.write_text(f"{os.getpid()}\n")

    def remove(self, pid: int) -> None:
        """Say that the child is gone, unless the files speak of another by now."""
        if self._read() == pid:
            for path in (self._pid, self._worker):
                try:
                    path.unlink(missing_ok=True)
                except OSError:
                    pass  # Whoever reads it looks whether the process is alive.

    def _read(self) -> int | None:
        try:
            return int(self._pid.read_text()[:32])
        except (OSError, ValueError):
            return None

    def stray(self) -> int | None:
        """Return the pid of a child of this instance that is still there, from before.

        A pid alone may belong to a stranger by now; the environment tells ours apart. Where the
        system does not show environments, none is found.
        """
        pid = self._read()
        if pid is None or pid <= 1 or pid == os.getpid():
            return None
        try:
            raw = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return None
        ours = {
            b"EVENTDBX_PLUGIN_PID_FILE=" + os.fsencode(self._pid),
            b"EVENTDBX_PLUGIN_NAME=" + self._name.encode(),
        }
        return pid if ours <= set(raw) else None


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to the process group of a child, to the child alone before it has one."""
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def end_group(pid: int) -> None:
    """Kill what a child that is gone has left behind in its process group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
