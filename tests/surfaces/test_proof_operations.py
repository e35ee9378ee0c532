"""Proofs on the control protocol, asked with bad intentions, over a running server's socket."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import (
    AggregateNotFound,
    ConfigError,
    EventDBXError,
    SerializationError,
    StorageError,
    Unauthorized,
)
from eventdbx.surfaces.control.blocking import BlockingClient
from eventdbx.surfaces.control.calls import Call
from eventdbx.wire import requests as rq
from tests.daemon import running
from tests.surfaces.test_receipts import names

U64 = (1 << 64) - 1
PROOFS = ("event_proof", "aggregate_event_proof", "aggregate_proof", "aggregate_consistency")


NOWHERE = 4_242_424_242
"""The id of no event: it would be of the first days that ids count from."""


class Hostile(SynchronousTestCase):
    """What no honest client asks."""

    def setUp(self) -> None:
        self.space = running()
        self.client = BlockingClient("127.0.0.1", self.space.port, self.space.token)
        self.addCleanup(self.client.close)
        self.name = next(names())
        self.client.append("order", self.name, "made", {"n": 1})
        self.event = self.client.append("order", self.name, "paid", {"n": 2})

    def ask(self, do: str, **members: Any) -> dict[str, Any]:
        """Ask about the aggregate."""
        named = {"aggregate_type": "order", "aggregate_id": self.name}
        return self.client.integrity({"do": do, **named, **members})

    def refused(self, do: str, **members: Any) -> EventDBXError:
        """Check that a request is refused, and that the server goes on; return the error."""
        try:
            self.ask(do, **members)
        except StorageError as error:
            self.fail(f"{do} {members}: {error}")
        except EventDBXError as error:
            return error
        self.fail(f"{do} {members} was answered")
        raise AssertionError

    def test_versions(self) -> None:
        """Versions that there are not, or that are none, are refused as the client's mistake."""
        values: tuple[Any, ...] = (
            0,
            3,
            1 << 31,
            1 << 32,
            1 << 63,
            U64,
            -1,
            1.5,
            1e300,
            "1",
            True,
            [],
            {},
        )
        for value in values:
            for do in ("event_proof", "aggregate_event_proof"):
                self.assertIsInstance(self.refused(do, version=value), ConfigError)
            self.assertIsInstance(self.refused("aggregate_consistency", first=value), ConfigError)
            if value not in (True,):
                between = self.refused("aggregate_consistency", first=1, second=value)
                self.assertIsInstance(between, ConfigError)
        self.refused("aggregate_consistency", first=2, second=1)
        for do in ("event_proof", "aggregate_event_proof", "aggregate_consistency"):
            self.refused(do)

    def test_sizes(self) -> None:
        """So are checkpoints that there are not, and those of the wrong order."""
        size = self.ask("event_proof", version=1)["size"]
        values: tuple[Any, ...] = (0, 1 << 63, U64, -1, 1.5, [], {}, "", "x", "a\n1\n")
        for value in (*values, "\x00" * 70_000):
            self.refused("log_consistency", first=value)
            if value not in (0, ""):
                self.refused("event_proof", version=1, size=value)
            self.refused("log_consistency", first=size, second=value)
        self.refused("log_consistency")
        self.assertIn("older", str(self.refused("event_proof", version=2, size=0)))
        kept = self.ask("event_proof", version=1)["proof"].partition("\n\n")[2]
        lines = kept.split("\n")
        for count in (str(size + 1_000_000), str(1 << 62), "0", "00", "-1", str(1 << 64)):
            other = "\n".join([lines[0], count, *lines[2:]])
            self.refused("log_consistency", first=other)
            self.refused("log_consistency", first=size, second=other)

    def test_ids(self) -> None:
        """Ids of events that there are not are refused."""
        for value in (0, 1, U64, -1, "1", 1.0, [1], None):
            self.refused("event_proof", event_id=value)

    def test_names(self) -> None:
        """Names that no aggregate has lead nowhere, whatever is in them."""
        for name in ("", "none", "\x00", f"{self.name}\x00", "../x", "x" * 100_000, "\ud7ff", "é"):
            for do in PROOFS:
                asked = {"version": 1, "first": 1, "aggregate_id": name}
                self.assertIsInstance(self.refused(do, **asked), AggregateNotFound, (do, name))
                asked = {"version": 1, "first": 1, "aggregate_type": name}
                self.assertIsInstance(self.refused(do, **asked), AggregateNotFound, (do, name))
        wrong: tuple[Any, ...] = (None, 1, [], {})
        for value in wrong:
            self.assertIsInstance(self.refused("aggregate_proof", aggregate_id=value), ConfigError)

    def test_trail(self) -> None:
        """The audit trail is proven by its own operations alone, even to the root."""
        for do in PROOFS:
            asked = {"aggregate_type": "dbx_admin", "aggregate_id": "schemas"}
            error = self.refused(do, **asked, version=1, first=1)
            self.assertIsInstance(error, AggregateNotFound)

    def test_documents(self) -> None:
        """What is no operation is refused."""
        large = b'{"do":"event_proof","event_id":' + b"9" * 5_000 + b"}"
        for text in (b"", b"[]", b"{", b"1", b'{"do":1}', b"{}", b'{"do":"x"}', b"\xff" * 9,
                     b"[" * 100_000, large):  # fmt: skip
            request = rq.IntegrityOperation(self.space.token, text)
            try:
                self.client.call(Call(request, lambda reply: reply))
            except (ConfigError, SerializationError):
                continue
            self.fail(f"{text[:20]!r} was answered")

    def test_other_rights(self) -> None:
        """Whoever may read another aggregate learns nothing of this one, not even by its ids."""
        other = next(names())
        self.client.append("order", other, "made", {"n": 1})
        made = self.space.run(
            "token", "generate", "--group", "ops", "--user", "kim", "--action", "aggregate.read",
            "--resource", f"aggregate:order:{other}", "--json",
        )  # fmt: skip
        token = json.loads(made)["token"]
        assert self.event is not None
        identifier = int(self.event["metadata"]["event_id"])
        with BlockingClient("127.0.0.1", self.space.port, token) as client:
            own = {"aggregate_type": "order", "aggregate_id": other, "version": 1, "first": 1}
            for do in PROOFS:
                client.integrity({"do": do, **own})
                for name in (self.name, "none"):
                    asked = {"do": do, **own, "aggregate_id": name}
                    self.assertRaises(Unauthorized, client.integrity, asked)
            said = [
                str(self.assertRaises(ConfigError, client.integrity,
                                      {"do": "event_proof", "event_id": one}))
                for one in (identifier, NOWHERE)
            ]  # fmt: skip
        self.assertEqual(said[0], said[1].replace(str(NOWHERE), str(identifier)))
