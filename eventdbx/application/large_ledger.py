"""The records of a large ledger, read one at a time: most commands ask for one of 100,000."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from json import JSONDecodeError, JSONDecoder

import orjson

from eventdbx.application.token_records import TokenRecord, read_records

RECORD_CHARACTERS_MAX = 1 << 16
"""No record of ours is longer: a token would not fit a hello."""


PIECE_CHARACTERS = 1 << 17
"""How much of a large ledger is read at once: a few milliseconds' worth."""

_START, _BETWEEN, _END = '[{"jti":"', '},{"jti":"', "}]"
_DIGEST = ',"digest":"'
_DIGEST_CHARACTERS = 64


def proofs(text: str) -> Iterator[tuple[str, str, str]] | None:
    """Yield id, digest and text of each record that has a digest; None for a text unlike ours.

    The text of 100,000 records is only cut: no string in it can hold what it is cut at, since
    quotes inside of strings are escaped.
    """
    if not (text.startswith(_START) and text.endswith(_END)):
        return None
    return _cut(text)


def _cut(text: str) -> Iterator[tuple[str, str, str]]:
    at, last = len(_START), len(text) - len(_END)
    while at < last:
        end = text.find(_BETWEEN, at)
        end = last if end < 0 else end
        found = text.find(_DIGEST, at, end)
        if found >= 0:
            start = found + len(_DIGEST)
            digest = text[start : start + _DIGEST_CHARACTERS]
            jti, record = text[at : text.index('"', at)], f'{{"jti":"{text[at:end]}}}'
            yield orjson.loads(record)["jti"] if "\\" in jti else jti, digest, record
        at = end + len(_BETWEEN)


def pieces(text: str) -> Iterator[str]:
    """Yield texts of some records each that make up a whole ledger; one, for a text unlike ours.

    Reading one of 100,000 records at once would stop all other threads of a server.
    """
    if not (text.startswith(_START) and text.endswith(_END)):
        yield text
        return
    start, last = 0, len(text) - len(_END)
    while True:
        cut = text.find(_BETWEEN, start + PIECE_CHARACTERS)
        if cut < 0 or cut >= last:
            yield text if not start else "[" + text[start:]
            return
        yield ("[" if start else "") + text[start : cut + 1] + "]"
        start = cut + 2


class LargeRecords(MutableMapping[str, TokenRecord]):
    """Records by id, in the order of a ledger's text, with changes on top.

    A record is looked for in the text, as :func:`records_text` writes it. Whatever is not found
    that way, and whoever asks for all of them, makes the whole text be read.
    """

    def __init__(self, text: str, origin: str) -> None:
        self._text = text
        self._origin = origin
        self._changed: dict[str, TokenRecord | None] = {}
        self._all: dict[str, TokenRecord] | None = None

    def __getitem__(self, jti: str) -> TokenRecord:
        if self._all is not None:
            return self._all[jti]
        if jti in self._changed:
            found = self._changed[jti]
            if found is None:
                raise KeyError(jti)
            return found
        return self._search(jti) or self._whole()[jti]

    def __setitem__(self, jti: str, record: TokenRecord) -> None:
        if self._all is None:
            self._changed[jti] = record
        else:
            self._all[jti] = record

    def __delitem__(self, jti: str) -> None:
        self[jti]  # Raises KeyError for one that is not there.
        if self._all is None:
            self._changed[jti] = None
        else:
            del self._all[jti]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def _search(self, jti: str) -> TokenRecord | None:
        """Find a record by the text of its first member, which no other text can contain."""
        start = self._text.find('{"jti":' + orjson.dumps(jti).decode())
        if start < 0:
            return None
        try:
            entry, _end = JSONDecoder().raw_decode(
                self._text[start : start + RECORD_CHARACTERS_MAX]
            )
        except JSONDecodeError:
            return None
        return read_records(orjson.dumps([entry]).decode(), self._origin)[0]

    def _whole(self) -> dict[str, TokenRecord]:
        if self._all is None:
            found = {
                one.jti: one
                for piece in pieces(self._text)
                for one in read_records(piece, self._origin)
            }
            for jti, record in self._changed.items():
                if record is None:
                    found.pop(jti, None)
                else:
                    found[jti] = record
            self._all, self._text, self._changed = found, "", {}
        return self._all
