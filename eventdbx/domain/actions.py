"""Administrative actions as values, and the line of text that one travels in to the audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from eventdbx.domain.canonical import JSON
from eventdbx.domain.events import Actor


class Action(NamedTuple):
    """One administrative action that was carried out.

    ``area`` is the aggregate's id (``tokens``, ``schemas``, ``plugins``, ``queue``, ``remotes``,
    ``config``, ``keys``, ``tenants``), ``event`` the event type (``token_issued``), ``resource``
    what was changed (a token's id, a name; never a secret). ``before`` and ``after`` are SHA-256
    digests in hex of the documents changed; ``way`` says through what (``POST /admin/tokens``,
    ``control plugins.enable``, ``dbx token generate``). ``key`` tells a repetition.
    """

    area: str
    event: str
    resource: str
    way: str
    actor: Actor | None
    jti: str | None = None
    subject: str | None = None
    peer: str | None = None
    before: str | None = None
    after: str | None = None
    details: Mapping[str, JSON] | None = None
    key: str | None = None


def action_line(action: Action) -> bytes:
    """Return an action as one line of JSON, its end included."""
    actor = None if action.actor is None else list(action.actor)
    return orjson.dumps(action._replace(actor=None)._asdict() | {"actor": actor}) + b"\n"


def parse_action(line: bytes) -> Action:
    """Return the action of a line. Raises ValueError for what is none."""
    document = orjson.loads(line)
    if type(document) is not dict:
        raise ValueError("an action is a JSON object")
    details = document.get("details")
    if details is not None and type(details) is not dict:
        raise ValueError("'details' is no object")
    return Action(
        _required(document, "area"),
        _required(document, "event"),
        _required(document, "resource"),
        _required(document, "way"),
        _actor(document.get("actor")),
        _text(document, "jti"),
        _text(document, "subject"),
        _text(document, "peer"),
        _text(document, "before"),
        _text(document, "after"),
        details,
        _text(document, "key"),
    )


def _text(document: Mapping[str, JSON], name: str) -> str | None:
    value = document.get(name)
    if value is not None and type(value) is not str:
        raise ValueError(f"'{name}' is no text")
    return value


def _required(document: Mapping[str, JSON], name: str) -> str:
    text = _text(document, name)
    if text is None:
        raise ValueError(f"'{name}' is missing")
    return text


def _actor(value: JSON) -> Actor | None:
    if value is None:
        return None
    if type(value) is list and len(value) == 2:
        group, user = value
        if type(group) is str and type(user) is str:
            return Actor(group, user)
    raise ValueError("'actor' is no pair of texts")
