"""Programs of process plugins on disk: installing, removing and finding them.

They live in ``plugins/`` of the data root with a registry beside them. Where bundles come from and
how they are unpacked is in :mod:`eventdbx.services.fetching` and
:mod:`eventdbx.services.unpacking`; rules are in :mod:`eventdbx.domain.delivery.bundles`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from eventdbx._version import __version__
from eventdbx.domain.delivery.bundles import (
    BundleRefused,
    Installed,
    Registry,
    check_name,
    check_version,
    choose_binary,
    read_registry,
    shipped_name,
    target_name,
)
from eventdbx.domain.timestamps import format_ns
from eventdbx.errors import ConfigError, EventDBXError, IoError
from eventdbx.plugins.surroundings import Installation
from eventdbx.services.fetching import fetch, is_url
from eventdbx.services.files import (
    locked_directory,
    make_directory,
    read_text,
    replace_text,
    sync_path,
)
from eventdbx.services.unpacking import system_text, unpack

PLUGINS_NAME = "plugins"
REGISTRY_NAME = "registry.json"
_WORK = ".work-"
_RECORD, _NEW, _OLD = "record.json", "new", "old"
_MAGIC = (
    b"#!",
    b"\x7fELF",
    b"MZ",
    b"\xca\xfe\xba\xbe",
    *(bytes.fromhex(word) for word in ("feedface", "feedfacf", "cefaedfe", "cffaedfe")),
)


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
    check_name(name)
    if version is not None:
        check_version(version)
    target = this_target()
    if source is None:
        version, program = _shipped(name, version)
    elif version is None:
        raise BundleRefused("plugin version must be specified when installing from a custom source")
    elif is_url(source) and checksum is None and not trusted:
        raise BundleRefused(
            "a plugin bundle from a URL needs --checksum SHA256, or --yes to take what it sends"
        )
    if binary is not None and (not binary.isprintable() or "/" in binary or binary in (".", "..")):
        raise BundleRefused(f"'{binary[:64]}' is not the name of a file")
    folder = data_root / PLUGINS_NAME
    make_directory(folder)
    with _work(folder, (name, version, target), force=force) as work:
        if source is None:
            record = _register(work, name, version, target, program)
        else:
            record = _prepare(work, source, name, version, target, binary, checksum)
        with locked_directory(folder):
            _check_absent(folder, (name, version, target), force=force)
            _put_in_place(folder, work, record)
    return _installation(folder, record, target)


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
    folder, target = data_root / PLUGINS_NAME, this_target()
    missing = f"plugin '{name}'" + ("" if version is None else f" version {version}")
    if not folder.is_dir():
        raise BundleRefused(f"{missing} is not installed")
    with locked_directory(folder):
        _recover(folder)
        registry = _registry(folder)
        gone = [one for one in registry.of(name, target) if version in (None, one.version)]
        if not gone:
            raise BundleRefused(f"{missing} is not installed")
        for one in gone:
            if (one.name, one.version) in configured:
                raise BundleRefused(
                    f"plugin '{one.name}' v{one.version} is configured; remove it with"
                    " plugin remove first"
                )
        replace_text(folder / REGISTRY_NAME, registry.without(gone).text())
        for one in gone:
            _discard(folder, _place(folder, one.key))
    return list(dict.fromkeys(one.version for one in gone))


def installation(data_root: Path, name: str, version: str) -> Installation:
    """Return an installed program whose binary is what was installed.

    Reads the whole binary. Raises ConfigError when it is not installed or has another SHA-256.
    """
    folder, target = data_root / PLUGINS_NAME, this_target()
    if any(folder.glob(f"{_WORK}*")):
        with locked_directory(folder):
            _recover(folder)
    found = [one for one in _registry(folder).of(name, target) if one.version == version]
    if found:
        there = _installation(folder, found[-1], target)
        wanted = found[-1].binary_sha256
        try:
            present = _sha256(there.binary) if wanted or there.binary.is_file() else None
        except OSError:
            present = None
        if present is not None:
            if wanted is not None and present != wanted.lower():
                raise ConfigError(
                    f"plugin {name}@{version} was changed since it was installed: {there.binary}"
                    f" has SHA-256 {present}, not {wanted}; install it again with --force"
                )
            return there
    raise ConfigError(f"plugin {name}@{version} is not installed for target {target}")


def _registry(folder: Path) -> Registry:
    path = folder / REGISTRY_NAME
    return read_registry(read_text(path) or "", str(path))


def _place(folder: Path, key: tuple[str, str, str]) -> Path:
    return folder.joinpath(*key)


def _installation(folder: Path, record: Installed, target: str) -> Installation:
    """Return where a record's program is, also after the data root was moved."""
    binary, directory = Path(record.binary_path), Path(record.install_dir)
    if not binary.exists() and binary.is_relative_to(directory):
        here = _place(folder, record.key)
        binary, directory = here / binary.relative_to(directory), here
    return Installation(record.name, record.version, target, binary, directory)


def _check_absent(folder: Path, key: tuple[str, str, str], *, force: bool) -> None:
    registered = any(one.key == key for one in _registry(folder).records)
    if not force and (registered or os.path.lexists(_place(folder, key))):
        name, version, target = key
        raise BundleRefused(
            f"plugin '{name}' v{version} for target {target} is already installed;"
            " rerun with --force to overwrite"
        )


@contextmanager
def _work(folder: Path, key: tuple[str, str, str], *, force: bool) -> Iterator[Path]:
    """Give a folder to prepare an installation in, which is gone afterwards, whatever happens.

    It is locked while its owner lives: others clear it away only when nobody holds it any more.
    """
    with locked_directory(folder):
        _recover(folder)
        _check_absent(folder, key, force=force)
        work = Path(tempfile.mkdtemp(prefix=_WORK, dir=folder))
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield work
    except OSError as error:
        raise BundleRefused("failed to install plugin bundle", system_text(error)) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(descriptor)


def _prepare(
    work: Path,
    source: str,
    name: str,
    version: str,
    target: str,
    binary: str | None,
    checksum: str | None,
) -> Installed:
    """Fetch and unpack a bundle, and return the record that it would have."""
    bundle, content = work / "bundle", work / _NEW
    fetched = fetch(source, bundle)
    if checksum is not None and checksum.strip().lower() != fetched.sha256:
        raise BundleRefused(
            f"checksum mismatch: expected {checksum.strip()}, computed {fetched.sha256}"
        )
    files = unpack(bundle, fetched.called, content, binary or name)
    bundle.unlink()
    chosen = choose_binary(files, name, binary, windows=os.name == "nt")
    program = content / chosen
    _check_program(program, chosen)
    program.chmod(program.stat().st_mode | 0o111)
    for file in files:
        sync_path(content / file)
    place = _place(work.parent.absolute(), (name, version, target))
    return Installed(
        name=name,
        version=version,
        target=target,
        install_dir=str(place),
        binary_path=str(place / chosen),
        source=fetched.source,
        checksum=checksum.strip() if checksum is not None else fetched.sha256,
        binary_sha256=_sha256(program),
        installed_at=format_ns(time.time_ns()),
    )


def _check_program(program: Path, shown: str) -> None:
    """Refuse what the operating system cannot start, while someone is there to read why."""
    with program.open("rb") as reading:
        line = reading.readline(512)
    if not line.startswith(_MAGIC):
        raise BundleRefused(
            f"'{shown}' in the plugin bundle is no program: a script begins with a line such as"
            " #!/usr/bin/env python3"
        )
    if line.startswith(b"#!") and line.endswith(b"\r\n"):
        raise BundleRefused(
            f"the first line of '{shown}' in the plugin bundle ends with a carriage return, which"
            " would be taken for a part of the interpreter's name; save it with Unix line ends"
        )


def _shipped(name: str, version: str | None) -> tuple[str, Path]:
    """Return the version and the program of a plugin that comes with this package."""
    ours = __version__.public()
    script = shipped_name(name)
    if script is None:
        raise BundleRefused(
            f"plugin '{name}' does not come with this package; name its bundle with"
            " --source PATH|URL"
        )
    for folder in (Path(sys.argv[0]).parent, Path(sys.executable).parent):
        program = folder.absolute() / script
        if program.is_file():
            break
    else:
        raise BundleRefused(
            f"this installation has no program {script}; name a bundle with --source PATH|URL"
        )
    if version not in (None, ours):
        raise BundleRefused(f"plugin '{name}' comes with this package in version {ours}")
    return ours, program


def _register(work: Path, name: str, version: str, target: str, program: Path) -> Installed:
    """Return the record of a program of this package; its folder, where it runs, is empty.

    It has no SHA-256: an upgrade of the package may write the program anew.
    """
    (work / _NEW).mkdir(mode=0o755)
    return Installed(
        name=name,
        version=version,
        target=target,
        install_dir=str(_place(work.parent.absolute(), (name, version, target))),
        binary_path=str(program),
        source={"type": "local", "path": str(program)},
        installed_at=format_ns(time.time_ns()),
    )


def _put_in_place(folder: Path, work: Path, record: Installed) -> None:
    """Make a prepared installation the one that counts, or leave all as it was.

    From the moment that the record stands in the working folder whoever comes next finishes this.
    """
    replace_text(work / _RECORD, orjson.dumps([record.document()]).decode())
    try:
        _finish(folder, work, record)
    except BaseException:
        place = _place(folder, record.key)
        if not (work / _NEW).exists() and place.exists():
            place.rename(work / _NEW)
        if (work / _OLD).exists():
            (work / _OLD).rename(place)
        (work / _RECORD).unlink(missing_ok=True)
        _prune(place)
        raise


def _finish(folder: Path, work: Path, record: Installed) -> None:
    place = _place(folder, record.key)
    if (work / _NEW).is_dir():
        make_directory(place.parent)
        if os.path.lexists(place):
            place.rename(work / _OLD)
        (work / _NEW).rename(place)
        sync_path(place.parent)
    replace_text(folder / REGISTRY_NAME, _registry(folder).with_record(record).text())


def _recover(folder: Path) -> None:
    """Finish or clear away what commands left that were killed. The folder is locked."""
    for work in folder.glob(f"{_WORK}*"):
        try:
            descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = read_text(work / _RECORD)
            if text is not None:
                for record in read_registry(text, str(work / _RECORD)).records:
                    _finish(folder, work, record)
            shutil.rmtree(work, ignore_errors=True)
        except BlockingIOError:
            continue  # Its owner lives.
        except (OSError, EventDBXError) as error:
            raise IoError(f"cannot finish an interrupted installation in {work}: {error}") from None
        finally:
            os.close(descriptor)
    for unfinished in folder.glob(f".{REGISTRY_NAME}.*"):
        unfinished.unlink(missing_ok=True)  # Who writes the registry holds the folder.


def _discard(folder: Path, place: Path) -> None:
    """Remove a folder of ours, and those around it that are empty then."""
    if place.is_dir() and not place.is_symlink():
        work = Path(tempfile.mkdtemp(prefix=_WORK, dir=folder))
        place.rename(work / _OLD)
        shutil.rmtree(work, ignore_errors=True)
    _prune(place)


def _prune(place: Path) -> None:
    """Remove the folders around an installation that is gone, those that are empty."""
    for parent in (place.parent, place.parent.parent):
        try:
            parent.rmdir()
        except OSError:
            break


def _sha256(path: Path) -> str:
    with path.open("rb") as reading:
        return hashlib.file_digest(reading, "sha256").hexdigest()
