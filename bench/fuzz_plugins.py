"""What the peers of the fuzzer ask of plugins, their queue and the log, most of it nonsense."""

from __future__ import annotations

import json
import random
from typing import Any

from bench.fuzz_peers import HOSTILE_TEXTS, Peer, Recorded, Unanswered
from bench.fuzz_schemas import HOSTILE_VALUES
from eventdbx.wire import requests as rq
from eventdbx.wire.codec_client import encode_request
from eventdbx.wire.framing import framed

NAMES = ("fuzz_a", "fuzz_b", "log", "http", "nobody")

MEMBERS: dict[str, tuple[str, ...]] = {
    "list": (),
    "configure": ("entry", "given", "from"),
    "enable": ("name", "check"),
    "disable": ("name",),
    "remove": ("name", "disable"),
    "rename": ("name", "to"),
    "switch": ("name", "with"),
    "options": ("name", "set", "unset"),
    "pause": ("name",),
    "resume": ("name",),
    "seek": ("name", "to"),
    "lag": ("name",),
    "test": ("names",),
    "status": ("name",),
    "start": ("name",),
    "stop": ("name",),
    "replay": ("name", "aggregate_type", "mode", "from_version", "to_time", "retry"),
    "replay_progress": ("job",),
    "cancel_replay": ("job",),
    "wait": ("name", "position", "event_id", "timeout_ms"),
    "queue": ("name", "limit"),
    "job": ("id", "name"),
    "retry": ("id", "name", "since_ms", "wait_ms"),
    "drop": ("id", "ids", "name"),
    "clear_done": ("older_than_ms", "only_count"),
    "nothing": (),
}

PLACES = ("", "start", "end", "0-0", "0-1", "0-99999999", "0-01", "0-9223372036854775808", "1-1",
          "2026-01-01T00:00:00Z", "yesterday")  # fmt: skip

LIKELY: dict[str, tuple[Any, ...]] = {
    "name": NAMES,
    "to": (*NAMES, *PLACES),
    "with": NAMES,
    "from": PLACES,
    "position": PLACES,
    "names": ([], ["fuzz_a"], ["nobody"]),
    "set": ({"order": "strict"}, {"batch": {"max_events": 3}}, {"filter": "n >"}, {"x": 1}),
    "unset": (["order"], ["endpoint"], ["x"]),
    "mode": ("all", "half", None),
    "event_id": (0, 1, 2**64 - 1),
    "timeout_ms": (0, 20, 2**63),
    "wait_ms": (0, 20),
    "limit": (0, 1, 2**40),
    "ids": ([], [1], list(range(500))),
    "entry": (
        {"name": "fuzz_a", "config": {"type": "log", "level": "trace"}},
        {"name": "fuzz_b", "config": {"type": "tcp", "host": "127.0.0.1", "port": 1}},
        {"name": "fuzz_b", "enabled": False, "config": {"type": "http", "endpoint": "http://[::"}},
        {"name": "fuzz_a", "config": {"type": "process", "name": "../x", "version": "1"}},
        {"config": {"type": "grpc"}},
    ),
}


def document(rng: random.Random) -> bytes:
    """Return the document of an operation."""
    do = rng.choice(tuple(MEMBERS))
    asked: dict[str, Any] = {"do": do}
    for member in MEMBERS[do]:
        if rng.random() < 0.8:
            hostile = rng.random() < 0.2
            asked[member] = rng.choice(
                HOSTILE_VALUES if hostile else LIKELY.get(member, (None, 1, "x", True))
            )
    data = json.dumps(asked).encode()
    match rng.randrange(12):
        case 0:
            return data[: rng.randrange(len(data))]
        case 1:
            return rng.choice(HOSTILE_TEXTS).encode(errors="replace")[:50_000]
    return data


def follow(rng: random.Random, token: str) -> rq.Follow:
    """Return a request to follow; only short ones wait."""
    texts = [text for text in HOSTILE_TEXTS if len(text) < 10_000 and text.isprintable()]

    def some(*likely: str | None) -> str | None:
        return rng.choice(texts) if rng.random() < 0.2 else rng.choice(likely)

    return rq.Follow(
        token,
        some(*PLACES) or "",
        some(None, "fuzz", "nothing"),
        some(None, "health"),
        some(None, "at > 0", "version = 1 OR", "payload.at LIKE '%'"),
        rng.choice((0, 1, 500, 2**32 - 1)),
        rng.choice((0, 0, 50, 500)),
        rng.random() < 0.5,
    )


async def plugin_operations(peer: Peer, recorded: Recorded) -> None:
    """Operations on plugins and the queue; each must be answered."""
    await peer.plain(recorded)
    count = peer.rng.choice((1, 3, 6))
    for identifier in range(count):
        operation = rq.PluginOperation(recorded.token, document(peer.rng))
        peer.send(framed(encode_request(identifier, operation)))
    await peer.drain()
    try:
        for _answer in range(count):
            await peer.frame()
    except (OSError, EOFError, TimeoutError) as error:
        raise Unanswered(f"an operation on plugins was not answered: {error!r}") from None


async def followers(peer: Peer, recorded: Recorded) -> None:
    """Requests that wait for events, many in a row; some do not stay for their answers."""
    await peer.plain(recorded)
    count = peer.rng.choice((1, 2, 40))
    for identifier in range(count):
        request = follow(peer.rng, recorded.token)
        if identifier == count - 1 and peer.rng.random() < 0.3:
            request = request._replace(after="end", wait_ms=30_000)
        peer.send(framed(encode_request(identifier, request)))
    await peer.drain()
    if request.wait_ms == 30_000:
        return
    try:
        await peer.frame()
    except (OSError, EOFError, TimeoutError) as error:
        raise Unanswered(f"a follower was not answered: {error!r}") from None
