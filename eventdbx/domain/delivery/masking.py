"""Entries without their credentials, and back: what people see, and what they send after seeing it.

Who gets a masked entry, changes it and sends it back keeps the credentials that were there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import Entry
from eventdbx.domain.delivery.writing import entry_document
from eventdbx.errors import ConfigError

MASK = "***"
_SECRET_WORDS = ("authorization", "token", "key", "secret", "cookie", "passw", "credential")
_MAPS = ("headers", "env")
_USER = re.compile(r"((?:[a-z][a-z0-9+.-]*://)?)([^/?#]*)@", re.IGNORECASE)
"""What an address begins with that says who asks."""


def masked_document(entry: Entry) -> JSON:
    """Return an entry for people to see: credentials are :data:`MASK`."""
    return _masked(entry_document(entry))


def _masked(document: JSON) -> JSON:
    if not isinstance(document, dict) or not isinstance(document.get("config"), dict):
        return document
    config: dict[str, Any] = dict(document["config"])  # type: ignore[arg-type]
    for member in _MAPS:
        if isinstance(config.get(member), dict):
            config[member] = {
                name: MASK if _is_secret(name) or _has_password(value) else value
                for name, value in config[member].items()
            }
    if isinstance(config.get("endpoint"), str):
        config["endpoint"] = _with_mask(config["endpoint"])
    if "secret" in config:
        config["secret"] = MASK
    if isinstance(config.get("secrets"), list):
        config["secrets"] = [MASK] * len(config["secrets"])
    if isinstance(config.get("connection_string"), str):  # Of a kind that was removed.
        config["connection_string"] = MASK
    return {**document, "config": config}


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return any(word in lower for word in _SECRET_WORDS)


def _with_mask(endpoint: str) -> str:
    found = _USER.match(endpoint)
    return endpoint if found is None else f"{found[1]}{MASK}@{endpoint[found.end() :]}"


def _has_password(value: JSON) -> bool:
    """Say whether a text is the address of something with the password for it."""
    found = _USER.match(value) if isinstance(value, str) else None
    return found is not None and "://" in found[1] and ":" in found[2]


def unmasked(config: Mapping[str, JSON], existing: Entry | None) -> dict[str, JSON]:
    """Return a plugin's config with each :data:`MASK` replaced by what the entry holds there.

    Raises ConfigError where it holds nothing.
    """
    document = None if existing is None else entry_document(existing)
    found = document.get("config") if isinstance(document, dict) else None
    stored: dict[str, JSON] = found if isinstance(found, dict) else {}
    shown = dict(config)
    for member in _MAPS:
        given, kept = shown.get(member), stored.get(member)
        if isinstance(given, dict):
            values = kept if isinstance(kept, dict) else {}
            shown[member] = {
                name: _kept(values.get(name), f"{member} '{name}'") if value == MASK else value
                for name, value in given.items()
            }
    shown |= _with_user(shown.get("endpoint"), stored.get("endpoint"))
    if shown.get("secret") == MASK:
        shown["secret"] = _kept(stored.get("secret"), "secret")
    several = shown.get("secrets")
    if isinstance(several, list) and MASK in several:
        shown["secrets"] = _kept_list(several, stored)
    return shown


def _with_user(given: JSON, kept: JSON) -> dict[str, JSON]:
    """Return an endpoint whose user is a mask with the user that is stored."""
    found = _USER.match(given) if isinstance(given, str) else None
    if found is None or found[2] != MASK:
        return {}
    known = _USER.match(kept) if isinstance(kept, str) else None
    user = _kept(None if known is None else known[2], "endpoint's user")
    return {"endpoint": f"{found[1]}{user}@{found.string[found.end() :]}"}


def _kept_list(given: list[JSON], stored: Mapping[str, JSON]) -> list[JSON]:
    """Return secrets whose masks stand for those at the same place."""
    kept = stored.get("secrets")
    old = kept if isinstance(kept, list) else [stored.get("secret")]
    return [
        _kept(old[place] if place < len(old) else None, "secrets") if one == MASK else one
        for place, one in enumerate(given)
    ]


def _kept(value: JSON, place: str) -> JSON:
    if value is None:
        raise ConfigError(f"{place} is masked, but nothing is stored there")
    return value
