"""The manifest of an archive: what is in it, with which configuration it is read.

``version``, ``created_at``, ``config`` and ``config_path`` are what archives always had. Ours have
more: who wrote them, in which formats, whether keys are in them, the domains, and a checksum of
every file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from eventdbx import __version__
from eventdbx.config import Config, Value, document_as_text, text_as_document, updated_text
from eventdbx.domain.timestamps import format_ns
from eventdbx.errors import ConfigError, StorageError
from eventdbx.keys import declared
from eventdbx.services.files import read_text
from eventdbx.services.workspace import Workspace
from eventdbx.storage.records import EVENT_FORMAT
from eventdbx.storage.rocks import FORMAT as STORE_FORMAT

NAME = "manifest.json"
DATA = "data"
VERSION = 1
ARCHIVE_FORMAT = 1
"""Of our additions: raise when an older program could not read an archive any more."""

MANIFEST_BYTES_MAX = 256 << 20

_PUBLIC = ("auth.public_key", "auth.previous_keys")
"""No secrets, but of no use without the keys that they belong to."""


class Sum(NamedTuple):
    """How large a file is, and its SHA-256 in hexadecimal."""

    size: int
    digest: str


class Manifest(NamedTuple):
    """What is said of an archive. ``sums`` is None in archives of other programs."""

    created_at: str
    config: dict[str, Any]
    config_text: str | None
    config_path: str
    program: str | None
    keys: bool
    domains: tuple[str, ...]
    sums: dict[str, Sum] | None

    @property
    def foreign(self) -> bool:
        """Whether another program made the archive."""
        return self.program is None

    def text_of_config(self, data_dir: Path) -> str:
        """Return the configuration as a file for that data directory. Raises ConfigError."""
        try:
            text = self.config_text
            if text is None:
                text = document_as_text(self.config)
            return updated_text(text, {"data_dir": str(data_dir)})
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise ConfigError(f"its configuration cannot be read: {error}") from None


def written(
    workspace: Workspace,
    config: Config,
    *,
    created_ns: int,
    keys: bool,
    domains: tuple[str, ...],
    sums: Mapping[str, Sum],
) -> bytes:
    """Return the manifest of an archive. Keys that the environment gives are in it, too."""
    text = read_text(workspace.config_path) or ""
    text = updated_text(text, _given_keys(config)) if keys else _without_keys(text)
    document = {
        "version": VERSION,
        "created_at": format_ns(created_ns),
        "config": text_as_document(text),
        "config_path": str(workspace.config_path),
        "config_toml": text,
        "program": f"eventdbx {__version__}",
        "formats": {"archive": ARCHIVE_FORMAT, "store": STORE_FORMAT, "event": EVENT_FORMAT},
        "keys": keys,
        "domains": list(domains),
        "checksums": {
            name: {"bytes": one.size, "sha256": one.digest} for name, one in sums.items()
        },
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n"


def _given_keys(config: Config) -> dict[str, Value]:
    found: dict[str, Value] = {
        "data_encryption_key": config.data_encryption_key,
        "auth.private_key": config.auth.private_key,
        "auth.public_key": config.auth.public_key,
        "integrity.signing_key": config.integrity.signing_key,
    }
    if config.data_encryption_keys:
        found["data_encryption_keys"] = config.data_encryption_keys
    return {path: value for path, value in found.items() if value is not None}


def _without_keys(text: str) -> str:
    """Return a configuration without keys and tokens, and without comments: one may hold an old
    key."""
    secrets = [one.path for one in declared() if one.many is None and one.item.metadata["secret"]]
    document = text_as_document(updated_text(text, dict.fromkeys((*secrets, *_PUBLIC))))
    remotes = document.get("remotes")
    if isinstance(remotes, dict):
        remotes = list(remotes.values())
    for one in remotes if isinstance(remotes, list) else ():
        if isinstance(one, dict):
            one.pop("token", None)
    return document_as_text(document)


def parsed(text: bytes) -> Manifest:
    """Return a manifest. Raises StorageError, which says what is wrong with it."""
    try:
        document = orjson.loads(text)
        config = document["config"]
        if not isinstance(config, dict) or not isinstance(document.get("version"), int):
            raise ValueError("it has no configuration, or no version")
        sums = document.get("checksums")
        found = Manifest(
            str(document.get("created_at", "")),
            config,
            _text_or_none(document.get("config_toml")),
            str(document.get("config_path", "")),
            _text_or_none(document.get("program")),
            bool(document.get("keys", True)),
            tuple(str(one) for one in document.get("domains", ())),
            None if sums is None else {str(name): _sum(one) for name, one in sums.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(str(error) or type(error).__name__) from None
    _check_formats(document, found)
    return found


def _check_formats(document: Mapping[str, Any], found: Manifest) -> None:
    if found.program is None:
        return
    formats = document.get("formats")
    formats = formats if isinstance(formats, dict) else {}
    if document["version"] > VERSION or formats.get("archive") != ARCHIVE_FORMAT:
        raise StorageError(f"it was written by {found.program}, in a format not known here")
    if formats.get("store") != STORE_FORMAT:
        raise StorageError(
            f"its stores have format {formats.get('store')}, this program knows {STORE_FORMAT}; "
            f"use the program that wrote it ({found.program})"
        )
    if found.sums is None:
        raise StorageError("it has no checksums")


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _sum(value: Mapping[str, Any]) -> Sum:
    size, digest = value["bytes"], value["sha256"]
    if type(size) is not int or size < 0 or not isinstance(digest, str):
        raise ValueError("a checksum is none")
    return Sum(size, digest)
