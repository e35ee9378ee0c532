"""Requests that a busy client sends all day, joined from bytes instead of built by the schemas.

One event, a batch of events, one aggregate, a page of events, and what a command line reads, which
then need not load the schemas: always one segment, the fixed part
first and the texts behind it in the order of their pointers. The tests read them back through the
schemas. Everything else is built in :mod:`eventdbx.wire.codec_client`.
"""

from __future__ import annotations

from struct import Struct, pack

from eventdbx.domain.commands import Write
from eventdbx.wire import requests as rq

EXTENSION = 23
_READ, _SCAN_EVENTS = 2, 4
"""Members of the union of extension requests."""
_WORD = (1 << 64) - 1

_ROOT = 1 << 48 | 2 << 32
"""Pointer to the root of a request: two words, one pointer, right behind."""

_TEXT = 0xA00000001
"""Pointer to a text right behind, without its length: the byte that ends it is counted here."""

_KINDS = {"create": 0, "append": 1, "patch": 2, "apply": 3}
_ANSWERS = {"receipts": 0, "events": 1, "aggregates": 2, "proofs": 3}

_GET = Struct("<II8Q")
_EVENTS = Struct("<II11Q")
_WRITE = Struct("<II13Q")
_WRITE_WITH_OPTIONS = Struct("<II14Q")
_OPTIONS = Struct("<QQQ")
_OPTIONS_POINTER = 1 << 48 | 2 << 32

_BATCH_FIXED = 11
"""Words before the first write of a batch."""
_WRITE_SIZE = 8
"""Words of one write of a batch, seven of them pointers."""


def lay_texts(
    texts: tuple[str | bytes, ...], place: int, at: int, pieces: list[bytes]
) -> tuple[int, ...]:
    """Return the pointers of texts and, as the last number, the word after the texts.

    ``place`` is the word of the first pointer, ``at`` that of the first text; the bytes are added
    to ``pieces``. An empty text is a null pointer, which reads the same.
    """
    found: list[int] = []
    for text in texts:
        place += 1
        if not text:
            found.append(0)
            continue
        raw = text if isinstance(text, bytes) else text.encode()
        size = len(raw)
        found.append((size << 35) + (at - place << 2) + _TEXT)
        at += (size >> 3) + 1
        pieces.append(raw.ljust((size | 7) + 1, b"\0"))
    found.append(at)
    return tuple(found)


def encode_write(
    identifier: int, member: int, request: rq.AppendEvent | rq.PatchEvent | rq.CreateAggregate
) -> bytes:
    """Return the message of one event, for a request without publish targets and receipt."""
    token, kind, name, event, content, note, metadata, _targets, expected, key, _receipt = request
    flags = (note is not None) | (metadata is not None) << 1
    plain = expected is None and key is None
    at = 13 if plain else 14
    pieces: list[bytes] = [b""]
    t, k, n, e, c, o, m, end = lay_texts(
        (token, kind, name, event, content or "", note or "", metadata or ""), 5, at, pieces
    )
    body = flags, t, k, n, e, c, o, m, 0
    if plain:
        pieces[0] = _WRITE.pack(
            0, end, _ROOT, identifier, member, 8 << 48 | 1 << 32, *body
        )  # fmt: skip
        return b"".join(pieces)
    options = (end - at << 2) + _OPTIONS_POINTER
    end = _add_options(expected, key, end, pieces)
    pieces[0] = _WRITE_WITH_OPTIONS.pack(
        0, end, _ROOT, identifier, member, 9 << 48 | 1 << 32, *body, options
    )
    return b"".join(pieces)


def encode_get(identifier: int, request: rq.GetAggregate) -> bytes:
    """Return the message that asks for one aggregate."""
    depth = request.resolve_depth
    word = request.resolve | (depth is not None) << 1 | (depth or 0) << 32
    pieces: list[bytes] = [b""]
    kind, name, token, end = lay_texts(
        (request.aggregate_type, request.aggregate_id, request.token), 5, 8, pieces
    )
    pieces[0] = _GET.pack(0, end, _ROOT, identifier, 1, 3 << 48 | 1 << 32, word, kind, name, token)
    return b"".join(pieces)


def encode_list_events(identifier: int, request: rq.ListEvents) -> bytes:
    """Return the message that asks for a page of an aggregate's events."""
    token, kind, name, cursor, take, text_filter, _skip = request
    flags = (cursor is not None) | (take is not None) << 1 | (text_filter is not None) << 2
    pieces: list[bytes] = [b""]
    k, n, c, f, t, end = lay_texts(
        (kind, name, cursor or "", text_filter or "", token), 6, 11, pieces
    )
    pieces[0] = _EVENTS.pack(
        0, end, _ROOT, identifier, 2, 5 << 48 | 2 << 32, flags, take or 0, k, n, c, f, t
    )
    return b"".join(pieces)


def encode_read(identifier: int, request: rq.ReadAggregate) -> bytes:
    """Return the message that asks for one aggregate now, at a version or at a time."""
    version, time_ns, depth = request.version, request.time_ns, request.resolve_depth
    at, moment = 0, 0
    if version is not None:
        at, moment = 1, version
    elif time_ns is not None:
        at, moment = 2, time_ns & _WORD
    flags = at | request.include_events << 16 | request.resolve << 17 | request.raw << 19
    flags |= (depth is not None) << 18 | (depth or 0) << 32
    texts = (request.aggregate_type, request.aggregate_id)
    return _extension(identifier, _READ, request.token, (flags, moment), texts)


def encode_scan_events(identifier: int, request: rq.ScanEvents) -> bytes:
    """Return the message that asks for a page of events, of an aggregate or of many."""
    words = (request.event_id or 0, request.skip, request.take, int(request.raw))
    texts = (
        request.aggregate_type or "", request.aggregate_id or "", request.cursor or "",
        request.filter or "", request.sort or "", request.scope or "",
    )  # fmt: skip
    return _extension(identifier, _SCAN_EVENTS, request.token, words, texts)


def _extension(
    identifier: int, which: int, token: str, words: tuple[int, ...], texts: tuple[str, ...]
) -> bytes:
    """Return the message of an extension request that has nothing but numbers and texts."""
    fixed = 7 + len(words) + len(texts)
    pieces: list[bytes] = [b""]
    t, at = lay_texts((token,), 5, fixed, pieces)
    *pointers, end = lay_texts(texts, 7 + len(words), at, pieces)
    pieces[0] = pack(
        f"<II{fixed}Q", 0, end, _ROOT, identifier, EXTENSION, 2 << 48 | 1 << 32,
        which, t, len(texts) << 48 | len(words) << 32, *words, *pointers,
    )  # fmt: skip
    return b"".join(pieces)


def encode_batch(identifier: int, request: rq.CommitBatch) -> bytes:
    """Return the message of a batch: the writes side by side, and all their texts behind them.

    Usually one write after the other has the same names and metadata, which are made into bytes
    once; the texts of each write are then these and its content behind them.
    """
    count = len(request.writes)
    pieces: list[bytes] = [b""]
    at = _BATCH_FIXED + _WRITE_SIZE * count
    token, at = lay_texts((request.token,), 5, at, pieces)
    key, at = lay_texts((request.idempotency_key or "",), 9, at, pieces)
    words = [
        _ROOT, identifier, EXTENSION,
        2 << 48 | 1 << 32, 1, token,
        2 << 48 | 1 << 32, _ANSWERS[request.answer], 1 << 2 | 1 | 7 << 32 | count << 38, key,
        count << 2 | 1 << 32 | 7 << 48,
    ]  # fmt: skip
    names: tuple[str, str, str, str | bytes | None] = ("", "", "", None)
    kind_at = name_at = event_at = metadata_at = size = 0
    shared = b""
    for write in request.writes:
        kind, a_type, a_id, e_type, content, metadata, note, _targets, expected, its_key, _ = write
        filled = a_type and a_id and e_type and content
        if not filled or note is not None or expected is not None or its_key is not None:
            at = _add_write(write, at, words, pieces)
            continue
        if (a_type, a_id, e_type, metadata) != names:
            names = (a_type, a_id, e_type, metadata)
            shared, kind_at, name_at, event_at, metadata_at, size = _shared(*names)
        # What the pointers lack is how far the texts are from the first of them.
        place = len(words) + 1
        distance = at - place << 2
        assert content is not None
        raw = content if isinstance(content, bytes) else content.encode()
        length = len(raw)
        words += (
            _KINDS[kind],
            kind_at + distance,
            name_at + distance,
            event_at + distance,
            (length << 35) + (size << 2) + distance + (_TEXT - 16),
            metadata_at and metadata_at + distance,
            0,
            0,
        )
        pieces += (shared, raw.ljust((length | 7) + 1, b"\0"))
        at += size + (length >> 3) + 1
    pieces[0] = pack(f"<II{len(words)}Q", 0, at, *words)
    return b"".join(pieces)


def _shared(
    kind: str, name: str, event: str, metadata: str | bytes | None
) -> tuple[bytes, int, int, int, int, int]:
    """Return the texts that writes have in common, their four pointers, and their words.

    The pointers are counted as if the texts began where the pointers do.
    """
    texts: list[bytes] = []
    kind_at, name_at, event_at, metadata_at, size = lay_texts(
        (kind, name, event, metadata or b""), 0, 0, texts
    )
    # Counted as the fourth pointer, it is the fifth: the content's is in between.
    return b"".join(texts), kind_at, name_at, event_at, metadata_at and metadata_at - 4, size


def _add_write(write: Write, at: int, words: list[int], pieces: list[bytes]) -> int:
    """Add any write, whose texts begin at a word; return the word behind them."""
    words.append(_KINDS[write.kind] | (write.note is not None) << 16)
    *pointers, end = lay_texts(
        (
            write.aggregate_type,
            write.aggregate_id,
            write.event_type,
            write.content or b"",
            write.metadata or b"",
            write.note or b"",
        ),
        len(words),
        at,
        pieces,
    )
    words += pointers
    if write.expected_version is None and write.idempotency_key is None:
        words.append(0)
        return end
    words.append((end - len(words) - 1 << 2) + _OPTIONS_POINTER)
    return _add_options(write.expected_version, write.idempotency_key, end, pieces)


def _add_options(expected: int | None, key: str | None, at: int, pieces: list[bytes]) -> int:
    """Add the options of a write that begin at a word; return the word behind them."""
    place = len(pieces)
    pieces.append(b"")
    pointer, end = lay_texts((key or "",), at + 2, at + 3, pieces)
    pieces[place] = _OPTIONS.pack(expected is not None, expected or 0, pointer)
    return end
