"""Archives as the existing program writes them, byte by byte: its keys, its values, its layouts.

Written after its description, without the code that reads them, which is tested with these.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import rocksdict
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DATA_KEY = base64.b64encode(bytes(range(32))).decode()
SEP = b"\x1f"
EPOCH_MS = 1_735_689_600_000


def text_of(value: Any) -> str:
    """Return how a value is hashed and kept in a state."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    # An exponent has neither a plus nor leading zeros.
    return re.sub(r"e\+?(-?)0*", r"e\1", compact(value)) if type(value) is float else compact(value)


def compact(value: Any) -> str:
    """Return compact JSON with sorted keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sealed(text: str) -> str:
    """Return an ENCv1 text."""
    nonce = os.urandom(12)
    cipher = AESGCM(base64.b64decode(DATA_KEY)).encrypt(nonce, text.encode(), None)
    return "ENCv1:" + base64.b64encode(nonce + cipher).decode()


def root_of(leaves: list[str]) -> str:
    """Return the root over all hashes."""
    if not leaves:
        return hashlib.sha256(b"").hexdigest()
    while len(leaves) > 1:
        leaves = leaves + leaves[-1:] * (len(leaves) % 2)
        pairs = zip(leaves[::2], leaves[1::2], strict=True)
        leaves = [hashlib.sha256((one + two).encode()).hexdigest() for one, two in pairs]
    return leaves[0]


class Store:
    """A store in a folder; aggregates are written with :meth:`aggregate`."""

    def __init__(self, path: Path, *, encrypted: bool = True) -> None:
        path.mkdir(parents=True)
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        self._database = rocksdict.Rdict(str(path), options=options)
        self._encrypted = encrypted

    def aggregate(
        self,
        kind: str,
        name: str,
        events: list[dict[str, Any]],
        *,
        archived: dict[str, Any] | None = None,
        named_archived: bool = False,
        forget: int | None = None,
        **wrong: Any,
    ) -> None:
        """Write an aggregate. ``forget`` leaves out the event of a version; ``wrong`` replaces
        members of its metadata."""
        suffix = b"-arch" if archived is not None or named_archived else b""
        leaves: list[str] = []
        state: dict[str, str] = {}
        for version, given in enumerate(events, 1):
            record = self._event(kind, name, version, given, leaves, state)
            key = SEP.join((b"evt" + suffix, kind.encode(), name.encode(), b""))
            if version != forget:
                self._database[key + version.to_bytes(8, "big")] = compact(record).encode()
        meta = {
            "aggregate_type": kind,
            "aggregate_id": name,
            "version": len(events),
            "merkle_root": root_of(leaves),
            "event_hashes": leaves,
            "archived": archived is not None,
            **(archived or {}),
            **wrong,
        }
        self._put(b"meta" + suffix, kind, name, compact(meta))
        text = compact(state)
        self._put(b"state" + suffix, kind, name, sealed(text) if self._encrypted else text)

    def _event(
        self,
        kind: str,
        name: str,
        version: int,
        given: dict[str, Any],
        leaves: list[str],
        state: dict[str, str],
    ) -> dict[str, Any]:
        payload = given.get("payload")
        entries = payload if isinstance(payload, dict) else {"_value": payload}
        entries = {} if payload is None else entries
        state.update({key: text_of(value) for key, value in entries.items()})
        hashed = f"{kind}{name}".encode() + version.to_bytes(8, "big") + given["type"].encode()
        for key in sorted(entries, key=lambda text: text.encode()):
            hashed += key.encode() + text_of(entries[key]).encode()
        leaves.append(given.get("hash") or hashlib.sha256(hashed).hexdigest())
        kept = payload
        if self._encrypted:
            kept = {"__eventdbx_encrypted": sealed(compact(payload))}
        record = {
            "aggregate_type": kind,
            "aggregate_id": name,
            "event_type": given["type"],
            "payload": kept,
            "metadata": {
                "event_id": str(given["id"]),
                "created_at": given["at"],
                "issued_by": given.get("by"),
            },
            "version": version,
            "hash": leaves[-1],
            "merkle_root": root_of(leaves),
        }
        if "raw" in given:
            record["event_type_raw"] = given["raw"]
        if "extensions" in given:
            record["extensions"] = given["extensions"]
        if "note" in given:
            record["metadata"]["note"] = given["note"]
        return record

    def snapshot(self, kind: str, name: str, created_ms: int, record: dict[str, Any]) -> None:
        """Write a snapshot."""
        key = SEP.join((b"snapshot", kind.encode(), name.encode(), b""))
        self._database[key + created_ms.to_bytes(8, "big", signed=True)] = compact(record).encode()

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row as it is."""
        self._database[key] = value

    def drop(self, key: bytes) -> None:
        """Take a row away."""
        del self._database[key]

    def _put(self, family: bytes, kind: str, name: str, text: str) -> None:
        self._database[SEP.join((family, kind.encode(), name.encode()))] = text.encode()

    def close(self) -> None:
        """Give it back."""
        self._database.close()


def event(kind: str, at_ms: int, payload: Any = None, **more: Any) -> dict[str, Any]:
    """Return an event at some milliseconds after the epoch of ids."""
    seconds, millis = divmod(at_ms, 1000)
    at = f"2025-01-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{millis:03}Z"
    return {"type": kind, "id": at_ms << 22, "at": at, "payload": payload, **more}


def packed(data: Path, target: Path, config: dict[str, Any]) -> Path:
    """Pack a data directory as the existing program does."""
    manifest = {
        "version": 1,
        "created_at": "2026-01-02T03:04:05.678901Z",
        "config": config,
        "config_path": "/var/lib/dbx/config.toml",
    }
    text = json.dumps(manifest, indent=2).encode()
    with gzip.open(target, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
        archive.add(data, "data")
    return target


def config_of(data_dir: str) -> dict[str, Any]:
    """Return the configuration of 3.9.13, as its manifest has it."""
    return {
        "port": 7070,
        "data_dir": data_dir,
        "cache_threshold": 10000,
        "data_encryption_key": DATA_KEY,
        "created_at": "2026-01-02T03:04:05.678901Z",
        "updated_at": "2026-01-02T03:04:05.678901Z",
        "restrict": "default",
        "list_page_size": 10,
        "page_limit": 1000,
        "domain": "default",
        "snapshot_threshold": None,
        "plugins": [],
        "remotes": {"standby1": {"endpoint": "tcp://10.0.0.2:6363", "token": sealed("secret")}},
        "socket": {"bind_addr": "0.0.0.0:6363"},
        "admin": {"enabled": False, "bind_addr": "0.0.0.0", "port": 7171},
        "auth": {
            "issuer": "eventdbx://self",
            "audience": "eventdbx-clients",
            "private_key": None,
            "default_ttl_secs": 3600,
        },
    }
