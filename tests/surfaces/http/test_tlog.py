"""Checkpoints, tiles, cosignatures and the witness, asked over a socket."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path
from shutil import rmtree
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody

from eventdbx.application.checkpoint_keys import Signer, verify
from eventdbx.config import Auth, Config, Integrity
from eventdbx.domain import merkle, proofs
from eventdbx.domain.checkpoints import (
    Checkpoint,
    Trust,
    check_checkpoint,
    cosign,
    parse_checkpoint,
    sign_checkpoint,
)
from eventdbx.domain.commands import Write
from eventdbx.domain.notes import Note, parse_note
from eventdbx.domain.tiles import Tile, tiles_of
from eventdbx.domain.witnessing import Submission
from eventdbx.measures import Measures
from eventdbx.services.checkpoints import COPY_NAME
from eventdbx.services.stores import StoreService
from eventdbx.services.witnessing import WITNESS_NAME, make_tlog
from eventdbx.storage.eventlog import log_entries
from eventdbx.storage.hops import synchronous
from eventdbx.surfaces.http.api import HttpApi
from eventdbx.surfaces.site import BoundedSite
from tests.application.test_writer import ALICE
from tests.domain.signers import log_key, witness_key

CLOCK: Any = reactor
SEED = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="
SIGNER = Signer("example.org/tlog", b"\x07" * 32)
WITNESS, WITNESS_SIGN = witness_key("witness.example/w", b"\x08" * 32)
STRANGER, STRANGER_SIGN = witness_key("stranger.example/w", b"\x09" * 32)
LOG, LOG_SIGN = log_key("other.example/log", b"\x0a" * 32)


class TlogCase(TestCase):
    """The port of a server with one domain, and the files of another that is not open."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        (self.folder / "closed").mkdir(parents=True)
        self.integrity = {
            "origin": "example.org/tlog",
            "signing_key": SEED,
            "witnesses": (WITNESS.vkey(),),
            "witnessed_logs": (LOG.vkey(),),
        }
        self.config = Config(encryption=False, integrity=Integrity(**self.integrity))  # type: ignore[arg-type]
        self.stores = self.open()
        self.domain = self.stores.domain(None)
        self.serve()

    def open(self, config: Config | None = None) -> StoreService:
        """Return the stores of the folder."""
        stores = StoreService(
            config or self.config,
            store_path=lambda name: self.folder / name / "event_store",
            plugins_path=lambda name: self.folder / name / "plugins.json",
            make_hop=synchronous,
            clock=CLOCK,
            on_failure=lambda failure: None,
        )
        stores.startService()
        self.addCleanup(lambda: stores.stopService() if stores.running else None)
        return stores

    def serve(self) -> None:
        """Listen."""
        self.measures = Measures(CLOCK.seconds)
        tlog = make_tlog(
            lambda: self.config,
            self.stores,
            self.folder,
            folder=lambda name: self.folder / name,
            run_slowly=deferToThread,
            clock=CLOCK,
            seconds=lambda: 1_700_000_000.5,
        )
        api = HttpApi(
            measures=self.measures,
            gather=lambda: succeed([]),
            checks={},
            metrics_token=lambda: None,
            run_slowly=deferToThread,
            tlog=tlog,
        )
        port = CLOCK.listenTCP(0, BoundedSite(api.resource, CLOCK), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.base = f"http://127.0.0.1:{port.getHost().port}/tlog/"
        pool = HTTPConnectionPool(CLOCK)
        self.addCleanup(pool.closeCachedConnections)
        self.agent = Agent(CLOCK, pool=pool)

    def write(self, count: int) -> None:
        """Commit events together."""
        self.number = getattr(self, "number", 0) + 1
        writes = [
            Write("create", "order", f"o-{self.number}-{one}", "made", "{}") for one in range(count)
        ]
        done = self.domain.writer.write(writes, actor=ALICE, idempotency_key=None, render=len)
        self.successResultOf(done)

    def sign(self) -> Note:
        """Sign a checkpoint of what there is."""
        return self.successResultOf(self.domain.checkpoints.renew())

    def leaves(self) -> list[bytes]:
        """Return the leaves of the log."""
        return [one.leaf for _at, one in log_entries(self.domain.store.view(), 0, start=0)]

    async def ask(
        self, path: str, method: str = "GET", body: bytes | None = None
    ) -> tuple[int, bytes, Any]:
        """Return status, body and headers of an answer."""
        sent = None
        if body is not None:
            sent = FileBodyProducer(BytesIO(body))
        answer: Any = await self.agent.request(
            method.encode(), (self.base + path).encode(), None, sent
        )
        return answer.code, await readBody(answer), answer.headers


class Reading(TlogCase):
    """What everybody may read."""

    async def test_checkpoint(self) -> None:
        """The newest checkpoint is a signed note, and is not cached for long."""
        self.assertEqual((await self.ask("default/checkpoint"))[0], 404)
        self.write(5)
        self.sign()
        code, body, headers = await self.ask("default/checkpoint")
        self.assertEqual(code, 200)
        key = SIGNER.log_key("default")
        found = check_checkpoint(parse_note(body), Trust(key.name, (key,)), verify).checkpoint
        self.assertEqual((found.size, found.root), (5, merkle.root_of(self.leaves())))
        self.assertEqual(headers.getRawHeaders("content-type"), ["text/plain; charset=utf-8"])
        self.assertEqual(headers.getRawHeaders("cache-control"), ["public, max-age=1"])

    async def test_tiles(self) -> None:
        """The tiles of a checkpoint are enough to compute its root and any proof."""
        for _ in range(3):
            self.write(200)
        size = parse_checkpoint(self.sign().text).size
        self.write(300)
        tiles: dict[tuple[int, int], bytes] = {}
        for tile in tiles_of(size):
            code, body, headers = await self.ask(f"default/{tile.path()}")
            self.assertEqual((code, len(body)), (200, 32 * tile.width), tile)
            self.assertIn("immutable", headers.getRawHeaders("cache-control")[0])
            self.assertEqual(headers.getRawHeaders("content-type"), ["application/octet-stream"])
            assert tile.level is not None
            tiles[tile.level, tile.index] = body
        self.assertEqual(sorted(tiles), [(0, 0), (0, 1), (0, 2), (1, 0)])
        leaves = b"".join(tiles[0, index] for index in range(3))
        hashes = [leaves[at : at + 32] for at in range(0, len(leaves), 32)]
        self.assertEqual(merkle.root_of(hashes), merkle.root_of(self.leaves()[:600]))
        self.assertEqual(tiles[1, 0][:32], merkle.root_of(hashes[:256]))
        proofs.check_inclusion(
            hashes[17],
            17,
            256,
            proofs.inclusion_proof(self.nodes(hashes), 17, 256),
            tiles[1, 0][:32],
        )

    def nodes(self, hashes: list[bytes]) -> proofs.Nodes:
        """Return subtrees computed from leaf hashes alone."""
        return lambda level, index: merkle.root_of(hashes[index << level : (index + 1) << level])

    async def test_what_is_not_there(self) -> None:
        """What the newest checkpoint does not cover, entries, and names that are none: 404."""
        self.write(300)
        self.sign()
        self.write(300)  # Not covered yet.
        for path in (
            Tile(0, 1).path(),
            Tile(0, 1, 45).path(),
            Tile(0, 2, 1).path(),
            Tile(1, 0, 2).path(),
            Tile(None, 0).path(),
            "tile/0/0",
            "tile/0/000.p/256",
            "tile/00/000",
            "tile/64/000",
            "tile/",
            "tiles/0/000",
            "checkpoint/",
            "",
        ):
            code, body, _ = await self.ask(f"default/{path}")
            self.assertEqual(code, 404, path)
        self.assertEqual((await self.ask(f"default/{Tile(0, 1, 44).path()}"))[0], 200)
        for path in ("nowhere/checkpoint", "DEFAULT/checkpoint", "..%2f/checkpoint", "", "%ff/x"):
            self.assertEqual((await self.ask(path))[0], 404, path)

    async def test_methods(self) -> None:
        """HEAD has no body; other methods are named as wrong."""
        self.write(3)
        self.sign()
        code, body, headers = await self.ask("default/checkpoint", "HEAD")
        self.assertEqual((code, body), (200, b""))
        for method, path, allowed in (
            ("POST", "default/checkpoint", "GET, HEAD"),
            ("DELETE", "default/tile/0/000", "GET, HEAD"),
            ("GET", "default/cosignature", "POST"),
            ("GET", "witness/add-checkpoint", "POST"),
        ):
            code, _body, headers = await self.ask(path, method)
            self.assertEqual((code, headers.getRawHeaders("allow")), (405, [allowed]), path)

    async def test_unpublished(self) -> None:
        """Whoever does not publish the logs serves none of this."""
        self.write(3)
        self.sign()
        off = {**self.integrity, "publish": False}
        self.config = Config(encryption=False, integrity=Integrity(**off))  # type: ignore[arg-type]
        for path in ("checkpoint", "tile/0/000.p/3"):
            self.assertEqual((await self.ask(f"default/{path}"))[0], 404)
        self.assertEqual((await self.ask("default/cosignature", "POST", b"x"))[0], 404)

    async def test_requests_are_counted_by_route(self) -> None:
        """The counters know routes, never names that a stranger made up."""
        self.write(1)
        self.sign()
        await self.ask("default/tile/0/000.p/1")
        await self.ask("nowhere/checkpoint")
        await self.ask("nowhere/nothing")
        found = {labels for family in self.measures.families()
                 for _suffix, labels, _value in family.samples
                 if family.name.startswith("eventdbx_http_requests_total")}  # fmt: skip
        paths = {dict(labels).get("path_regex") or dict(labels).get("path") for labels in found}
        self.assertEqual(paths, {"/tlog/:domain/tile", "/tlog/:domain/checkpoint", "unmatched"})


class Closed(TlogCase):
    """A domain that is not open."""

    def setUp(self) -> None:
        super().setUp()
        self.write(4)
        self.note = self.sign()

    async def restart(self) -> None:
        """Serve the same files with another domain open."""
        await self.stores.stopService()
        (self.folder / "default" / COPY_NAME).write_bytes(self.note.encode())
        self.config = Config(
            domain="active",
            encryption=False,
            integrity=Integrity(**self.integrity),  # type: ignore[arg-type]
        )
        self.stores = self.open(self.config)
        self.serve()

    def opened(self) -> list[str]:
        """Return which domains are open."""
        return sorted(one.name for one in self.stores.opened())

    async def test_opened_only_for_what_is_there(self) -> None:
        """The checkpoint comes from the copy; only a tile that it covers opens the store."""
        await self.restart()
        for path in ("checkpoint", "tile/0/000", "tile/0/000.p/5", "tile/entries/000.p/4"):
            await self.ask(f"default/{path}")
            await self.ask(f"closed/{path}")
        await self.ask("default/cosignature", "POST", b"nonsense\n")
        self.assertEqual(self.opened(), ["active"])
        self.assertEqual((await self.ask("default/checkpoint"))[1], self.note.encode())
        self.assertEqual((await self.ask("default/tile/0/000.p/4"))[0], 200)
        self.assertEqual(self.opened(), ["active", "default"])

    async def test_that_cannot_be_opened(self) -> None:
        """A stranger has a domain that cannot be opened tried a few times only."""
        await self.restart()
        rmtree(self.folder / "default" / "event_store")
        (self.folder / "default" / "event_store").write_text("no store")
        codes = [(await self.ask("default/tile/0/000.p/4"))[0] for _ in range(40)]
        tries = self.config.auth.failures_per_minute
        self.assertEqual(set(codes[:tries]), {503})
        self.assertEqual(set(codes[tries:]), {429})
        self.assertEqual((await self.ask("default/checkpoint"))[0], 200)


class Cosigning(TlogCase):
    """What witnesses hand in."""

    def setUp(self) -> None:
        super().setUp()
        self.write(6)
        self.older = self.sign()
        self.write(6)
        self.newest = self.sign()

    def line(self, note: Note, key: Any = WITNESS, sign: Any = WITNESS_SIGN) -> bytes:
        """Return a cosignature as it is posted."""
        return cosign(note.text, key, 1_700_000_000, sign).line().encode()

    async def test_accepted(self) -> None:
        """A cosignature of the newest checkpoint, or of one that is named, is in it from now on."""
        code, body, _ = await self.ask("default/cosignature", "POST", self.line(self.newest))
        self.assertEqual(code, 200)
        self.assertEqual((await self.ask("default/checkpoint"))[1], body)
        self.assertIn(self.line(self.newest), body)
        code, body, _ = await self.ask("default/cosignature?size=6", "POST", self.line(self.older))
        self.assertEqual(code, 200)
        found = self.domain.checkpoints.at(6)
        self.assertEqual(found and found.note.encode(), body)
        witnessed = self.domain.checkpoints.witnessed()
        self.assertEqual(witnessed and witnessed.size, 12)

    async def test_refused(self) -> None:
        """Anything else is refused, and nothing has changed."""
        good = self.line(self.newest)
        stranger = self.line(self.newest, STRANGER, STRANGER_SIGN)
        before = list(self.domain.store.view().scan(b"", b"\xff"))
        for code, query, body in (
            (400, "", b""),
            (400, "", good[:-1]),
            (400, "", good + b"x\n"),
            (400, "", self.line(self.older)),
            (400, "?size=six", good),
            (400, "?size=6", good),
            (404, "?size=7", good),
            (403, "", stranger),
            (413, "", good * 10_000),
        ):
            found, _body, _ = await self.ask(f"default/cosignature{query}", "POST", body)
            self.assertEqual(found, code, (query, body[:80]))
        self.assertEqual((await self.ask("nowhere/cosignature", "POST", good))[0], 404)
        self.assertEqual(list(self.domain.store.view().scan(b"", b"\xff")), before)

    async def test_nonsense_has_a_budget(self) -> None:
        """Whoever posts nonsense again and again is told to wait, even with something good."""
        await self.stores.stopService()
        self.config = Config(
            encryption=False,
            auth=Auth(failures_per_minute=5),
            integrity=Integrity(**self.integrity),  # type: ignore[arg-type]
        )
        self.stores = self.open()
        self.domain = self.stores.domain(None)
        self.serve()
        for _ in range(5):
            self.assertEqual((await self.ask("default/cosignature", "POST", b"x"))[0], 400)
        code, _body, headers = await self.ask("default/cosignature", "POST", self.line(self.newest))
        self.assertEqual(code, 429)
        self.assertGreaterEqual(int(headers.getRawHeaders("retry-after")[0]), 1)
        self.assertEqual((await self.ask("default/checkpoint"))[0], 200)


class Witnessing(TlogCase):
    """The witness of other logs."""

    async def test_over_a_socket(self) -> None:
        """What is cosigned is in a file before the answer, and survives a restart."""
        leaves = [hashlib.sha256(bytes((one,))).digest() for one in range(20)]

        def request(old: int, size: int) -> bytes:
            checkpoint = Checkpoint(LOG.name, size, merkle.root_of(leaves[:size]))
            proof = (
                proofs.consistency_proof(
                    lambda level, index: merkle.root_of(
                        leaves[index << level : (index + 1) << level]
                    ),
                    old,
                    size,
                )
                if old
                else []
            )
            note = sign_checkpoint(checkpoint, LOG, LOG_SIGN)
            return Submission(old, tuple(proof), note).encode()

        path = "witness/add-checkpoint"
        code, body, _ = await self.ask(path, "POST", request(0, 9))
        self.assertEqual(code, 200)
        self.assertTrue(body.startswith(f"— {SIGNER.witness_key.name} ".encode()))
        kept = json.loads((self.folder / WITNESS_NAME).read_text())
        self.assertEqual(kept["logs"][LOG.name]["size"], 9)
        self.serve()  # Nothing is remembered but the file.
        code, body, headers = await self.ask(path, "POST", request(0, 20))
        self.assertEqual((code, body), (409, b"9\n"))
        self.assertEqual(headers.getRawHeaders("content-type"), ["text/x.tlog.size"])
        self.assertEqual((await self.ask(path, "POST", request(9, 20)))[0], 200)
        self.assertEqual((await self.ask(path, "POST", bytes(270_001)))[0], 413)
        (self.folder / WITNESS_NAME).write_text("{")
        self.serve()
        self.assertEqual((await self.ask(path, "POST", request(20, 20)))[0], 503)
        self.flushLoggedErrors()
