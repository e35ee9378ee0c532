"""What the peers of the fuzzer say about schemas: good, hostile, broken and huge documents.

A good set has the two types of PAIR with one threshold in both; a broken one starts as such a pair
and can never be put in force. So whoever finds two thresholds has found half a change.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from bench.fuzz_peers import HOSTILE_TEXTS, Peer, Recorded, Unanswered
from eventdbx.wire import requests as rq
from eventdbx.wire.codec_client import encode_request, fragment_message
from eventdbx.wire.framing import framed
from tests.wire import peers

PAIR = ("fuzz_left", "fuzz_right")

FRAME = 60_000
"""Bytes of a part of a request that is longer than a frame."""

HOSTILE_NAMES = (
    "", " ", "a\x00b", "\ud800", "a\nb", 'a"b', "../../etc/passwd", "a/b~1c", "é" * 64, "x" * 128,
    "x" * 129, "💣", "__proto__", "-", "*",
)  # fmt: skip
"""What stands for a name of a type, an event, a field, a version."""

HOSTILE_PATTERNS = (
    "(", "[", "(?=a)", r"(a)\1", "(a+)+$", "(a|a)*b", "(x+x+)+y", "a{1000}{1000}", "(?:" * 900,
    r"\p{Nope}", "[[:^x:]]", "(?i)ß" * 100, "(.{0,900}){0,900}", "^(([a-z])+.)+[A-Z]([a-z])+$",
)  # fmt: skip

HOSTILE_VALUES: tuple[Any, ...] = (
    None, True, -1, 2**63, 2**64, 1e308, 0.5, "", [], {}, [None], {"a": None}, "a" * 2_000,
    *HOSTILE_NAMES,
)  # fmt: skip

OPERATIONS = (
    "list", "change", "replace", "publish", "activate", "rollback", "history", "version", "changes",
    "document", "validate", "rehearse", "rehearsal", "cancel_rehearsal", "reload", "nothing", "",
)  # fmt: skip

CHANGES: dict[str, tuple[str, ...]] = {
    "create": ("events", "snapshot_threshold"),
    "put_schema": ("schema",),
    "delete_schema": (),
    "add_events": ("events",),
    "remove_event": ("event",),
    "annotate": ("event", "note"),
    "set_threshold": ("snapshot_threshold",),
    "lock_aggregate": ("locked",),
    "hide_aggregate": ("hidden",),
    "lock_field": ("field", "locked"),
    "hide_field": ("field", "hidden"),
    "field": ("field", "type", "rules", "set", "locked"),
    "alter_event": ("event", "add", "remove", "set"),
    "set_upcast": ("event", "upcast"),
    "add_upcast": ("event", "steps"),
    "update": ("snapshot_threshold", "field_lock", "add_fields", "column_types"),
    "nothing": (),
}

LIKELY: dict[str, tuple[Any, ...]] = {
    "event": ("made",),
    "events": (["made"], ["made", "changed"]),
    "field": ("text", "n", "inner"),
    "type": ("text", "integer", "object", "decimal(5,2)", "reference", "timestamp"),
    "note": ("n", "n" * 129, None),
    "locked": (True, False),
    "hidden": (True, False),
    "add": (["a", "b"],),
    "remove": (["a"],),
    "steps": (
        [{"op": "rename", "from": "/a", "to": "/b"}],
        [{"op": "default", "path": "", "value": 1}],
    ),
    "upcast": ([[{"op": "move", "from": "/a", "to": "/a/b"}]], [[]] * 1_001),
    "snapshot_threshold": (0, 5, None),
    "field_lock": ({"field": "a", "lock": True},),
    "add_fields": ({"made": ["a"]}, {"other": []}),
    "column_types": ({"a": "integer", "b": None},),
    "schema": (
        {"events": {"made": {"fields": []}}, "column_types": {"text": "text"}},
        {"events": {"made": {"fields": ["x"]}}, "hidden": True, "locked": True},
    ),
    "set": ({"required": True}, {"length": {"min": 3, "max": 1}}, ["a"]),
}


def good_set(number: int) -> dict[str, Any]:
    """Return a set that can be put in force; the number is the threshold of both types."""
    schema = {
        "snapshot_threshold": number,
        "column_types": {"n": "integer", "mail": {"type": "text", "format": "email"}},
        "events": {"changed": {"fields": []}},
    }
    other = {"column_types": {"text": "text"}, "events": {"made": {"fields": []}}}
    return {**dict.fromkeys(PAIR, schema), "fuzz_other": other}


def half(schemas: Mapping[str, Any]) -> str | None:
    """Say what is wrong with a set that was found in force, None if it is whole."""
    found = [schemas.get(name, {}).get("snapshot_threshold") for name in PAIR]
    if found[0] == found[1] and (PAIR[0] in schemas) == (PAIR[1] in schemas):
        return None
    return f"half a set of schemas is in force: thresholds {found}"


def broken_set(rng: random.Random) -> str:
    """Return a text that starts like a good set and must be refused."""
    text = json.dumps(good_set(rng.randrange(1_000)))
    schemas = good_set(rng.randrange(1_000))
    match rng.randrange(7):
        case 0:
            return text[: rng.randrange(1, len(text))]
        case 1:
            return text + rng.choice(("x", "}", "{}", ",", "\x01"))
        case 2:
            schemas["zz_bad"] = {"column_types": {"a": rng.choice(("colour", 5, [], {"type": 1}))}}
        case 3:
            schemas["zz_bad"] = rng.choice((None, 1, "x", [], {"events": 1}, {"locked": "yes"}))
        case 4:
            column: Any = "text"
            for _level in range(rng.choice((17, 40, 300))):
                column = {"type": "object", "properties": {"a": column}}
            schemas["zz_bad"] = {"column_types": {"a": column}}
        case 5:
            schemas["z" * 200] = {"events": {"a": {"fields": []}}}
        case _:
            many = {f"c{number}": "text" for number in range(1_001)}
            schemas["zz_bad"] = {"column_types": many}
    return json.dumps(schemas)


def _change(rng: random.Random) -> dict[str, Any]:
    """Return a change of some other type than those of the pair, some of it nonsense."""
    name = rng.choice(("fuzz_other",) * 20 + ("fuzz_more", *HOSTILE_NAMES))
    do = rng.choice(tuple(CHANGES))
    change: dict[str, Any] = {"do": do, "aggregate": name}
    for member in CHANGES[do]:
        if rng.random() < 0.9:
            hostile = rng.random() < 0.15
            change[member] = rng.choice(HOSTILE_VALUES if hostile else LIKELY.get(member, (None,)))
    if rng.random() < 0.05:
        change[rng.choice(tuple(LIKELY))] = rng.choice(HOSTILE_VALUES)
    if "rules" in change and rng.random() < 0.5:
        patterns = [rng.choice(HOSTILE_PATTERNS) for _pattern in range(rng.randrange(1, 66))]
        change |= {"type": "text", "rules": {"regex": patterns}}
    return change


def operation(rng: random.Random) -> dict[str, Any]:
    """Return an operation of the kind that only our clients know; it leaves the pair whole."""
    asked: dict[str, Any] = {"do": rng.choice(OPERATIONS)}
    match asked["do"]:
        case "change":
            count = rng.choice((1, 1, 3, 40))
            asked["changes"] = [_change(rng) for _number in range(count)]
        case "replace" | "publish" | "rehearse":
            number = rng.randrange(1_000)
            choices = (good_set(number), json.dumps(good_set(number)), broken_set(rng), number)
            asked["schemas"] = rng.choice(choices)
            asked["activate"] = rng.choice((True, False, "yes"))
            asked["labels"] = rng.choice(([], [rng.choice(HOSTILE_TEXTS)], [1], "a"))
        case "validate":
            asked |= {
                "aggregate": rng.choice((*PAIR, *HOSTILE_NAMES)),
                "event": rng.choice(("changed", *HOSTILE_NAMES)),
                "payload": rng.choice(({"n": rng.choice(HOSTILE_VALUES)}, *HOSTILE_VALUES)),
            }
        case _:
            asked["version"] = rng.choice(("active", "latest", *HOSTILE_VALUES))
            asked["job"] = rng.choice(("r1", *HOSTILE_VALUES))
            asked["digest"] = rng.choice(("00" * 16, *HOSTILE_VALUES))
    for member in ("expect", "actor", "reason"):
        if rng.random() < 0.1:
            asked[member] = rng.choice(HOSTILE_VALUES)
    return asked


def document(rng: random.Random) -> bytes:
    """Return the document of an operation, some of the time none that can be read."""
    text = json.dumps(operation(rng), ensure_ascii=rng.random() < 0.5)
    data = text.encode("utf-8", "surrogatepass")
    match rng.randrange(10):
        case 0:
            return data[: rng.randrange(len(data))]
        case 1:
            return rng.randbytes(rng.choice((0, 1, 50, 2_000)))
        case 2:
            depth = rng.choice((100, 127, 130, 5_000))
            return b'{"do":"validate","payload":' + b"[" * depth + b"]" * depth + b"}"
        case 3:
            return rng.choice(HOSTILE_TEXTS).encode()
    return data


def _replacement(identifier: int, token: str, rng: random.Random) -> bytes:
    """Return a replaceSchemas as published clients send it."""
    noise = "".join(chr(rng.choice((rng.randrange(32, 127), 0x1F4A3))) for _letter in range(200))
    good = json.dumps(good_set(rng.randrange(1_000)))
    texts = [text for text in HOSTILE_TEXTS if len(text) < FRAME]
    text = rng.choice((good, good, broken_set(rng), broken_set(rng), noise, *texts))
    return peers.request("replaceSchemas", identifier=identifier, token=token, schemasJson=text)


def _parts(identifier: int, message: bytes) -> bytes:
    """Return the frames of a request, however long it is."""
    if len(message) <= FRAME:
        return framed(message)
    return b"".join(
        framed(fragment_message(identifier, message[start : start + FRAME],
                                more=start + FRAME < len(message)))
        for start in range(0, len(message), FRAME)
    )  # fmt: skip


async def schema_operations(peer: Peer, recorded: Recorded) -> None:
    """Operations on schemas, hardly one of them sensible; each must be answered."""
    rng, token = peer.rng, recorded.token
    await peer.plain(recorded)
    count = rng.choice((1, 3, 6))
    for identifier in range(count):
        kind = rng.randrange(8)
        if kind < 5:
            message = encode_request(identifier, rq.SchemaOperation(token, document(rng)))
        elif kind < 7:
            message = _replacement(identifier, token, rng)
        else:
            message = peers.request("listSchemas", identifier=identifier, token=token)
        peer.send(_parts(identifier, message))
    await peer.drain()
    await _answers(peer, count)


async def huge_schemas(peer: Peer, recorded: Recorded) -> None:
    """A set that takes long to compile, or is longer than one may be."""
    rng = peer.rng
    await peer.plain(recorded)
    schemas = good_set(rng.randrange(1_000))
    patterns = [f"^[a-z]{{{number}}}" for number in range(64)]
    column: Any = rng.choice(("text", {"type": "text", "regex": patterns}))
    types, columns = rng.choice(((1, 300), (200, 1), (3_000, 1) if column == "text" else (1, 1)))
    wide = {"column_types": {f"c{number}": column for number in range(columns)}}
    schemas |= {f"huge_{number}": wide for number in range(types)}
    asked = {"do": rng.choice(("replace", "publish")), "schemas": schemas, "activate": True}
    data = json.dumps(asked).encode()
    if rng.random() < 0.3:
        data = data[:-2] + b"!" * rng.choice((2, 2_000_000))
    peer.send(_parts(1, encode_request(1, rq.SchemaOperation(recorded.token, data[:5_000_000]))))
    await peer.drain()
    if rng.random() < 0.5:
        await _answers(peer, 1, tries=12)


async def _answers(peer: Peer, count: int, *, tries: int = 4) -> None:
    """Wait for so many answers, each perhaps in many frames."""
    try:
        for _answer in range(count):
            await _answer_of(peer, tries)
    except (OSError, EOFError, TimeoutError) as error:
        raise Unanswered(f"an operation on schemas was not answered: {error!r}") from None


async def _answer_of(peer: Peer, tries: int) -> None:
    for attempt in range(tries):
        try:
            await peer.frame()
            return
        except TimeoutError:
            if attempt == tries - 1:
                raise
