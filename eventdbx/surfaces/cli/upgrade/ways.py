"""How this program was installed, and the command that installs another version of it."""

from __future__ import annotations

import os
import shutil
import site
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from eventdbx.surfaces.cli.upgrade.tags import PACKAGE

_CONTAINER_MARKS = (".dockerenv", "run/.containerenv")
_CONTAINER_VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")

_SYSTEM_COMMANDS = (
    ("apt-get", ("sudo", "apt-get", "install", "--only-upgrade", f"python3-{PACKAGE}")),
    ("dnf", ("sudo", "dnf", "upgrade", f"python3-{PACKAGE}")),
    ("zypper", ("sudo", "zypper", "update", f"python3-{PACKAGE}")),
    ("pacman", ("sudo", "pacman", "-S", f"python-{PACKAGE}")),
    ("apk", ("sudo", "apk", "add", "--upgrade", f"py3-{PACKAGE}")),
)
_OF_SYSTEMS = ("debian", "apt", "dpkg", "rpm", "dnf", "zypper", "pacman", "apk", "portage")


class Installation(NamedTuple):
    """What can be seen of how the program came here; ``root`` is the root of the file system."""

    executable: str
    prefix: Path
    base_prefix: Path
    installer: str | None
    """What installed it says so in the package's metadata; None where it says nothing."""

    location: Path | None
    """The folder of the package, None without metadata: it was never installed."""

    editable: bool
    user_site: bool
    environ: Mapping[str, str]
    root: Path = Path("/")
    which: Callable[[str], str | None] = shutil.which


class Way(NamedTuple):
    """A command that brings another version; ``reason`` says why it is never run here."""

    installed_with: str
    command: tuple[str, ...]
    reason: str | None = None


def installation() -> Installation:
    """Return what is to be seen of this process."""
    import json
    from importlib import metadata

    installer, location, editable, of_user = None, None, False, False
    try:
        found = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        pass
    else:
        installer = (found.read_text("INSTALLER") or "").strip().lower() or None
        location = Path(str(found.locate_file("")))
        origin = json.loads(found.read_text("direct_url.json") or "{}")
        editable = bool(origin.get("dir_info", {}).get("editable"))
        of_user = site.ENABLE_USER_SITE is True and location == Path(site.getusersitepackages())
    return Installation(
        executable=sys.executable,
        prefix=Path(sys.prefix),
        base_prefix=Path(sys.base_prefix),
        installer=installer,
        location=location,
        editable=editable,
        user_site=of_user,
        environ=os.environ,
    )


def way_to(version: str | None, there: Installation) -> Way:
    """Return the command for a version, without ``v``; None stands for the newest."""
    wanted = PACKAGE if version is None else f"{PACKAGE}=={version}"
    if in_container(there):
        return Way(
            "container",
            ("python", "-m", "pip", "install", "--upgrade", wanted),
            "this is a container: what is installed in it goes with it; "
            "put the command into its image, or start an image of that version",
        )
    if there.location is None or there.editable:
        return Way(
            "checkout",
            (there.executable, "-m", "pip", "install", "--upgrade", wanted),
            "it runs from a folder with its sources: bring that to the version, or install "
            "the package in an environment of its own",
        )
    if (there.prefix / "pipx_metadata.json").is_file():
        words = ("upgrade",) if version is None else ("install", "--force")
        return Way("pipx", ("pipx", *words, wanted))
    if (there.prefix / "uv-receipt.toml").is_file():
        return Way("uv", ("uv", "tool", "upgrade" if version is None else "install", wanted))
    if _of_system(there):
        return _system_way(there)
    if there.installer == "uv":
        python = ("--python", there.executable)
        return Way("uv", ("uv", "pip", "install", *python, "--upgrade", wanted))
    user = ("--user",) if there.user_site else ()
    return Way("pip", (there.executable, "-m", "pip", "install", *user, "--upgrade", wanted))


def in_container(there: Installation) -> bool:
    """Say whether the program runs in a container."""
    if any((there.root / mark).exists() for mark in _CONTAINER_MARKS):
        return True
    return any(there.environ.get(name) for name in _CONTAINER_VARIABLES)


def _of_system(there: Installation) -> bool:
    if there.installer in _OF_SYSTEMS:
        return True
    assert there.location is not None
    if "dist-packages" in there.location.parts and "local" not in there.location.parts:
        return True
    # The system's own environment, into which pip is not to install.
    marked = (Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED").exists()
    return there.installer is None and there.prefix == there.base_prefix and marked


def _system_way(there: Installation) -> Way:
    reason = "it is a package of the system, whose package manager brings other versions"
    for program, command in _SYSTEM_COMMANDS:
        if there.which(program) is not None:
            return Way("system", command, reason)
    return Way("system", ("sudo", "pkcon", "update", f"python3-{PACKAGE}"), reason)


def target() -> str:
    """Return the machine and system that the program runs on, as three or four words."""
    import platform

    machine = platform.machine() or "unknown"
    system = platform.system()
    if system == "Linux":
        return f"{machine}-unknown-linux-{'gnu' if platform.libc_ver()[0] else 'musl'}"
    vendor = {"Darwin": "apple-darwin"}.get(system)
    return f"{machine}-{vendor or 'unknown-' + system.lower()}"
