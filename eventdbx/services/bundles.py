"""Programs of process plugins on disk: installing, removing and finding them.

They live in ``plugins/`` of the data root with a registry beside them. Where bundles come from and
how they are unpacked is in :mod:`eventdbx.services.fetching` and
:mod:`eventdbx.services.unpacking`; rules are in :mod:`eventdbx.domain.delivery.bundles`.
"""

from __future__ import annotations

import platform
from collections.abc import Collection
from pathlib import Path

from eventdbx.domain.delivery.bundles import Registry, read_registry, target_name
from eventdbx.plugins.surroundings import Installation
from eventdbx.services.files import read_text

PLUGINS_NAME = "plugins"
REGISTRY_NAME = "registry.json"


def this_target() -> str:
    """Return what bundles for this machine are filed under."""
    return target_name(platform.system(), platform.machine())


def read_installed(data_root: Path) -> Registry:
    """Return what is installed; raises SerializationError, IoError."""
    path = data_root / PLUGINS_NAME / REGISTRY_NAME
    return read_registry(read_text(path) or "", str(path))


def install(
    data_root: Path,
    name: str,
    version: str | None = None,
    *,
    source: str | None = None,
    binary: str | None = None,
    checksum: str | None = None,
    force: bool = False,
    trusted: bool = False,
) -> Installation:
    """Install a bundle (a path or a URL) and return what is there now.

    ``binary`` names the program in it, ``checksum`` is the SHA-256 that it must have; a URL needs
    one unless it is ``trusted``. ``force`` replaces an installation of the same version, which
    stays as it is when anything fails. Raises BundleRefused, IoError, SerializationError.
    """
    raise NotImplementedError


def uninstall(
    data_root: Path,
    name: str,
    version: str | None = None,
    *,
    configured: Collection[tuple[str, str]] = (),
) -> list[str]:
    """Remove a version of a plugin, all of them without one; return which.

    Raises BundleRefused when nothing is there or one is in ``configured`` (name and version).
    """
    raise NotImplementedError


def installation(data_root: Path, name: str, version: str) -> Installation:
    """Return an installed program whose binary is what was installed.

    Raises ConfigError when it is not installed or its binary has another SHA-256.
    """
    raise NotImplementedError
