"""Replaying one recording of the control port against a server of its own."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from eventdbx.application.tokens import new_grant
from eventdbx.services.keyring import token_terms
from eventdbx.services.workspace import open_workspace
from tests.daemon import Workspace
from tests.recordings.matching import Placeholders
from tests.recordings.wire_peer import FIRST_GENERATION, Peer, request_message, with_token

RECORDINGS = Path(__file__).resolve().parent / "wire"

# A number's exponent has no plus sign; within strings a plus stays.
_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*+"|(e)\+', re.DOTALL)

LATER_KEYS = ("event_type_raw",)
"""Members of documents that came after the first generation, besides those with an ``@``."""


class Outcome(NamedTuple):
    """One answer: what was recorded and what came, both as text; ``departs`` says why not alike."""

    name: str
    recorded: str
    actual: str
    departs: str | None = None
    here: str | None = None


def load(path: Path) -> dict[str, Any]:
    """Return a recording."""
    recording: dict[str, Any] = orjson.loads(path.read_bytes())
    return recording


def compact(value: Any) -> str:
    """Return the JSON text of a value, members in their order."""
    text = orjson.dumps(value).decode()
    return _EXPONENT.sub(lambda found: found[0] if found[1] is None else "e", text)


def differences(outcomes: list[Outcome]) -> list[str]:
    """Return what does not agree; empty if the recording holds.

    A departure must be one, and must be what this server is meant to answer.
    """
    places, found = Placeholders(), []
    for one in outcomes:
        if one.departs is None:
            if not places.match(one.recorded, one.actual):
                found.append(f"{one.name}\n  recorded {one.recorded}\n  now      {one.actual}")
        elif places.match(one.recorded, one.actual):
            found.append(f"{one.name}\n  departs no more: {one.departs}")
        elif not places.match(one.here or "", one.actual):
            found.append(f"{one.name}\n  expected {one.here}\n  now      {one.actual}")
    return found


def replay(path: Path, folder: Path) -> list[Outcome]:
    """Start a server in a new folder, send everything recorded, and return the answers."""
    recording = load(path)
    workspace = Workspace(folder)
    tokens = _prepare(recording, workspace)
    for command in recording.get("commands", []):
        workspace.run(*command)
    workspace.start()
    try:
        return list(_sessions(recording, workspace.port, tokens))
    finally:
        workspace.stop()


def _prepare(recording: dict[str, Any], workspace: Workspace) -> dict[str, str]:
    """Put the settings into the configuration and issue the tokens."""
    config_path = str(workspace.folder / ".dbx" / "config.toml")
    place = open_workspace(config_path, environ={"HOME": str(workspace.folder)})
    place.workspace.save(recording.get("settings", {}))
    terms = token_terms(place.config)
    tokens = {}
    with place.workspace.token_files(lambda _line: None).change() as ledger:
        for name, wanted in recording["tokens"].items():
            now_ns = time.time_ns() - wanted.get("age_s", 0) * 10**9
            grant = new_grant(
                jti=str(uuid.uuid4()),
                now_s=now_ns // 10**9,
                ttl_s=wanted.get("ttl_s", 3600),
                group="ops",
                user=wanted["user"],
                actions=wanted["actions"],
                resources=wanted.get("resources", []),
                tenants=wanted.get("tenants", []),
            )
            tokens[name], record = ledger.issue(terms, grant, now_ns)
            if wanted.get("revoked"):
                ledger.revoke(terms, record.jti, reason=None, now_ns=now_ns)
    return tokens


def filled(value: Any, known: dict[str, Any]) -> Any:
    """Return a value of a request with ``{NAME}`` replaced; a name alone keeps its type."""
    if isinstance(value, dict):
        return {key: filled(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, known) for item in value]
    if not isinstance(value, str):
        return value
    for name, text in known.items():
        if value == f"{{{name}}}":
            return text
        value = value.replace(f"{{{name}}}", str(text))
    return value


def _sessions(recording: dict[str, Any], port: int, tokens: dict[str, str]) -> Iterator[Outcome]:
    release = recording["release"]
    known: dict[str, Any] = dict(tokens)
    for session in recording["sessions"]:
        message, token = bytes.fromhex(session["bytes"]), session["hello"]["token"]
        peer = Peer(port)
        try:
            answer = peer.greet(_said_with(token, message, known), filled(token, known))
            recorded = session["answer"]
            answer = {name: answer[name] for name in recorded}
            yield Outcome(f"{session['name']}: hello", compact(recorded), compact(answer))
            for exchange in session["exchanges"]:
                yield _exchange(peer, exchange, release, known)
        finally:
            peer.close()


def _said_with(token: str, recorded: bytes, known: dict[str, Any]) -> bytes:
    """Return recorded bytes with the token that ``{NAME}``, in whatever surroundings, names."""
    names = [name for name in known if f"{{{name}}}" in token]
    return with_token(recorded, known[names[0]]) if names else recorded


def _exchange(peer: Peer, exchange: dict[str, Any], release: str, known: dict[str, Any]) -> Outcome:
    identifier = exchange.get("id", 1)
    if "raw" in exchange:
        message = bytes.fromhex(exchange["raw"])
    elif "bytes" in exchange:
        token = exchange["request"].get("token", "")
        message = _said_with(token, bytes.fromhex(exchange["bytes"]), known)
    else:
        body = filled(exchange["request"], known)
        message = request_message(identifier, exchange["operation"], body, release)
    _next_millisecond()
    got = peer.ask(message)
    name = exchange["name"]
    if exchange.get("closed") or got is None:
        recorded = "closed" if exchange.get("closed") else compact(exchange["answer"])
        return Outcome(name, recorded, "closed" if got is None else str(got))
    for kept, path in exchange.get("keep", {}).items():
        document = orjson.loads(got[2][path[0]])
        known[kept] = int(document[path[1]])
    answer, here = exchange["answer"], exchange.get("here")
    shaped = _shaped(got[1], got[2], answer if here is None else here, release)
    return Outcome(
        name,
        compact([identifier, answer]),
        compact([got[0], shaped]),
        exchange.get("departs"),
        None if here is None else compact([identifier, here]),
    )


def _next_millisecond() -> None:
    """Let events differ in the millisecond by which lists are sorted, as those recorded did."""
    now = time.time_ns() // 10**6
    while time.time_ns() // 10**6 == now:
        pass


def _shaped(
    operation: str, fields: dict[str, Any], recorded: dict[str, Any], release: str
) -> dict[str, Any]:
    """Return an answer in the shape of the recording: its members only, documents as values.

    A document whose text is not compact stays a text, and so differs.
    """
    wanted = recorded.get(operation)
    if wanted is None:
        return {operation: fields}
    shaped: dict[str, Any] = {}
    for name in wanted:
        value = shaped[name] = fields.get(name)
        if name.endswith("Json") and isinstance(value, str) and value:
            document = orjson.loads(value)
            if compact(document) == value and isinstance(document, dict | list):
                shaped[name] = _of_first(document) if release == FIRST_GENERATION else document
    return {operation: shaped}


def _of_first(document: Any) -> Any:
    """Leave out what documents of the first generation did not have yet."""
    if isinstance(document, list):
        return [_of_first(item) for item in document]
    if not isinstance(document, dict):
        return document
    return {key: item for key, item in document.items() if key[0] != "@" and key not in LATER_KEYS}
