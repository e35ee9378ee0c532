"""Programs of process plugins: names and versions, the registry's text, which binary is meant.

Rules and values; fetching, unpacking and the files of an installation are in ``services``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from eventdbx.domain.canonical import JSON
from eventdbx.errors import ConfigError, SerializationError

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")
_SEMVER = re.compile(
    r"v?(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})"
    r"(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?\Z",
    re.ASCII,
)
_OWN = ("name", "version", "target", "install_dir", "binary_path", "source", "checksum")
_OURS = ("binary_sha256", "installed_at")
_OPERATING_SYSTEMS = {"linux": "linux", "darwin": "macos", "windows": "windows"}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}

SHIPPED = ("rest", "graphql", "grpc", "search")
"""Plugins that are programs of this package and need no bundle."""


class BundleRefused(ConfigError):
    """A bundle that is not installed, and why. ``causes`` are what the system said about it."""

    prefix = ""

    def __init__(self, detail: str, *causes: str, hint: str | None = None) -> None:
        super().__init__(detail)
        self.causes = causes
        self.hint = hint


def _shown(text: str) -> str:
    return ascii(text[:128])[1:-1]


def check_name(name: str) -> None:
    """Raise BundleRefused unless the name of a plugin can be a directory anywhere."""
    if not _SAFE.match(name):
        raise BundleRefused(
            f"plugin name '{_shown(name)}' is not valid: letters, digits and . _ + - only,"
            " at most 64, a letter or digit first"
        )


def check_version(version: str) -> None:
    """Raise BundleRefused unless the version can be a directory anywhere."""
    if not version:
        raise BundleRefused("plugin version cannot be empty")
    if not _SAFE.match(version):
        raise BundleRefused(
            f"plugin version '{_shown(version)}' is not valid: letters, digits and . _ + - only,"
            " at most 64, a letter or digit first"
        )


def target_name(system: str, machine: str) -> str:
    """Return ``<os>-<arch>``, from the names that an operating system gives of itself."""
    system, machine = system.lower(), machine.lower()
    return f"{_OPERATING_SYSTEMS.get(system, system)}-{_MACHINES.get(machine, machine)}"


def same_target(recorded: str, target: str) -> bool:
    """Say whether a recorded target is this one, also as the triple that some registries hold."""
    if recorded == target:
        return True
    system, _, machine = target.partition("-")
    vendor = {"linux": "-linux-", "macos": "-apple-darwin", "windows": "-pc-windows-"}.get(system)
    return vendor is not None and recorded.startswith(machine + "-") and vendor in recorded


def _precedence(version: str) -> tuple[int, tuple[int, ...], int, list[tuple[int, int, str]], str]:
    """Return what versions are sorted by: no versions at all below semantic ones."""
    match = _SEMVER.match(version)
    if match is None:
        return 0, (), 0, [], version
    numbers = int(match[1]), int(match[2]), int(match[3])
    marks = [
        (0, int(word), "") if word.isdigit() and len(word) < 19 else (1, 0, word)
        for word in (match[4] or "").split(".")
    ]
    return 1, numbers, 0 if match[4] else 1, marks, version


def sorted_versions(versions: Iterable[str]) -> list[str]:
    """Return versions from low to high by semantic versioning; a leading ``v`` does not count."""
    return sorted(versions, key=_precedence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One record of the registry; paths are absolute.

    ``checksum`` is the SHA-256 of the bundle, ``binary_sha256`` that of its program. Registries of
    earlier programs lack the second; programs of this package have none. ``extra`` are members
    that we do not know and keep.
    """

    name: str
    version: str
    target: str
    install_dir: str
    binary_path: str
    source: Mapping[str, JSON] | None = None
    checksum: str | None = None
    binary_sha256: str | None = None
    installed_at: str = ""
    extra: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what tells records apart, and what they are sorted by."""
        return self.name, self.version, self.target

    def document(self) -> dict[str, JSON]:
        """Return the record as it stands in the registry."""
        return {
            "name": self.name,
            "version": self.version,
            "target": self.target,
            "install_dir": self.install_dir,
            "binary_path": self.binary_path,
            "source": None if self.source is None else dict(self.source),
            "checksum": self.checksum,
            "binary_sha256": self.binary_sha256,
            "installed_at": self.installed_at,
            **self.extra,
        }


class Registry(NamedTuple):
    """The records that can be used, and members of the file that are none, kept as they are."""

    records: tuple[Installed, ...]
    others: tuple[JSON, ...] = ()

    def of(self, name: str, target: str) -> list[Installed]:
        """Return the records of a plugin for this machine, from the lowest version on.

        Where a version is there under two spellings of the target, ours comes last.
        """
        found = [
            one for one in self.records if one.name == name and same_target(one.target, target)
        ]
        found.sort(key=lambda one: (_precedence(one.version), one.target == target))
        return found

    def with_record(self, record: Installed) -> Registry:
        """Return the registry with a record, in place of the one of the same key."""
        return Registry((*self.without([record]).records, record), self.others)

    def without(self, gone: Collection[Installed]) -> Registry:
        """Return the registry without records."""
        keys = {one.key for one in gone}
        return Registry(tuple(one for one in self.records if one.key not in keys), self.others)

    def text(self) -> str:
        """Return the content of the file."""
        documents: list[JSON] = [
            one.document() for one in sorted(self.records, key=lambda one: one.key)
        ]
        return orjson.dumps([*documents, *self.others], option=orjson.OPT_INDENT_2).decode()


def read_registry(text: str, place: str) -> Registry:
    """Return the registry that a text holds; none for a blank one.

    Raises SerializationError that names ``place``.
    """
    if not text.strip():
        return Registry(())
    try:
        documents = orjson.loads(text)
    except ValueError as error:
        raise SerializationError(f"{place}: {error}") from None
    if not isinstance(documents, list):
        raise SerializationError(f"{place}: expected an array of installed plugins")
    records: list[Installed] = []
    others: list[JSON] = []
    for document in documents:
        record = _record(document)
        if record is None:
            others.append(document)
        else:
            records.append(record)
    return Registry(tuple(records), tuple(others))


def _record(document: JSON) -> Installed | None:
    if not isinstance(document, dict):
        return None
    texts = [document.get(key) for key in _OWN[:5]]
    # Names that are no safe parts of a path never came from an installation of ours.
    if not all(isinstance(text, str) and text for text in texts):
        return None
    name, version, target, install_dir, binary_path = map(str, texts)
    if not _SAFE.match(name) or not _SAFE.match(version):
        return None
    source = document.get("source")
    return Installed(
        name=name,
        version=version,
        target=target,
        install_dir=install_dir,
        binary_path=binary_path,
        source=source if isinstance(source, dict) else None,
        checksum=_text(document.get("checksum")),
        binary_sha256=_text(document.get("binary_sha256")),
        installed_at=_text(document.get("installed_at")) or "",
        extra={key: value for key, value in document.items() if key not in (*_OWN, *_OURS)},
    )


def _text(value: JSON) -> str | None:
    return value if isinstance(value, str) else None


def choose_version(registry: Registry, name: str, version: str | None, target: str) -> str:
    """Return the version that a configuration gets: the one given, else the highest installed.

    Raises BundleRefused.
    """
    installed = list(dict.fromkeys(one.version for one in registry.of(name, target)))
    if version is None:
        if not installed:
            raise BundleRefused(
                f"plugin '{name}' is not installed for target {target};"
                " run `dbx plugin install` first"
            )
        return installed[-1]
    if version in installed:
        return version
    reason = f"plugin '{name}' version {version} is not installed"
    if installed:
        reason += f" for target {target}; installed versions: {', '.join(installed)}"
    raise BundleRefused(reason)


def choose_binary(files: Sequence[str], name: str, wanted: str | None, *, windows: bool) -> str:
    """Return which file of an unpacked bundle (paths with ``/``) is the program.

    Raises BundleRefused.
    """
    if not files:
        raise BundleRefused("plugin bundle did not contain any files")
    by_name: dict[str, str] = {}
    for path in sorted(files, key=lambda path: (path.count("/"), path)):
        by_name.setdefault(path.rpartition("/")[2], path)
    if wanted is not None:
        if wanted not in by_name:
            raise BundleRefused(
                f"could not find binary '{wanted}' in plugin bundle;"
                f" available files: {_listed(files)}"
            )
        return by_name[wanted]
    if len(files) == 1:
        return files[0]
    flat = name.replace("-", "_")
    usual = [name, flat]
    for prefix in ("dbx_", "dbx", "dbx-"):
        usual += [prefix + flat, prefix + name]
    if windows:
        usual = [variant for one in usual for variant in (one, one + ".exe")]
    for candidate in usual:
        if candidate in by_name:
            return by_name[candidate]
    raise BundleRefused(
        "plugin bundle contains multiple files; specify --bin <filename>."
        f" candidates: {_listed(files)}"
    )


def _listed(files: Sequence[str]) -> str:
    shown = sorted(files)[:20]
    more = len(files) - len(shown)
    return ", ".join(shown) + (f", … {more} more" if more else "")


def shipped_name(name: str) -> str | None:
    """Return the console script of a plugin that comes with this package, None for others."""
    short = name.removeprefix("dbx_")
    return f"dbx_{short}" if short in SHIPPED else None


def checked_member(path: str) -> str:
    """Return where a file of an archive goes, relative, with ``/``; "" for the top folder.

    Raises BundleRefused for names that lead out of the folder or that no tool writes honestly.
    """
    shown = _shown(path)
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        raise BundleRefused(f"plugin bundle contains the absolute path '{shown}'")
    if "\\" in path or not path.isprintable():
        raise BundleRefused(f"plugin bundle contains the unusable path '{shown}'")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BundleRefused(f"plugin bundle contains a path out of its folder: '{shown}'")
    if any(len(part.encode()) > 255 for part in parts) or len(path.encode()) > 1024:
        raise BundleRefused(f"plugin bundle contains a path that is too long: '{shown}…'")
    return "/".join(parts)
