"""Asking witnesses: what the answers mean, and a log and a witness of ours over real sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.http_headers import Headers

from eventdbx.application.checkpoint_keys import Signer, verify
from eventdbx.application.checkpointing import Checkpoints, Signed
from eventdbx.application.domains import Domain
from eventdbx.config import Config, Integrity
from eventdbx.domain.checkpoints import check_cosignatures
from eventdbx.domain.commands import Write
from eventdbx.domain.notes import NoteKey
from eventdbx.domain.witnessing import parse_submission
from eventdbx.measures import Measures
from eventdbx.plugins.exchanges import Answer
from eventdbx.services.cosigning import CosigningService, NotCosigned, cosigned
from eventdbx.services.stores import StoreService
from eventdbx.services.witnessing import WITNESS_NAME, make_tlog
from eventdbx.storage.hops import synchronous
from eventdbx.surfaces.http.api import HttpApi
from eventdbx.surfaces.site import BoundedSite
from tests.application.test_checkpointing import CheckpointCase
from tests.application.test_witnessing import WitnessCase
from tests.application.test_writer import ALICE

CLOCK: Any = reactor
LOG_SEED = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
WITNESS_SEED = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="


class Answers(CheckpointCase):
    """What a witness may answer, one request after the other."""

    def setUp(self) -> None:
        super().setUp()
        self.events(9)
        self.note = self.successResultOf(self.checkpoints.renew())
        self.key = NoteKey("w.example", bytes(32), 4)
        self.asked: list[int] = []

    def ask(self, old: int, *answers: tuple[int, bytes]) -> Deferred[None]:
        """Ask a witness that gives these answers."""
        left = list(answers)

        async def post(body: bytes) -> Answer:
            self.asked.append(parse_submission(body).old)
            code, said = left.pop(0)
            return Answer(code, Headers(), said, False)

        newest = self.checkpoints.newest()
        assert newest is not None
        return Deferred.fromCoroutine(cosigned(self.checkpoints, newest, self.key, old, post))

    def failed(self, old: int, *answers: tuple[int, bytes]) -> NotCosigned:
        """Return why it did not cosign."""
        error = self.failureResultOf(self.ask(old, *answers), NotCosigned).value
        assert isinstance(error, NotCosigned)
        return error

    def test_another_size(self) -> None:
        """409 says from which size the proof has to be; it is sent, a few times at most."""
        error = self.failed(0, (409, b"4\n"), (409, b"6\n"), (409, b"5\n"))
        self.assertEqual((self.asked, error.grave), ([0, 4, 6], False))

    def test_log_that_was_put_back(self) -> None:
        """A witness that has seen more than there is, or other events, is a grave matter."""
        error = self.failed(0, (409, b"4000\n"))
        self.assertTrue(error.grave)
        self.assertIn("4000 events of this log, which has 9", str(error))
        self.assertTrue(self.failed(9, (409, b"9\n")).grave)
        self.assertTrue(self.failed(4, (422, b"no\n")).grave)

    def test_nonsense(self) -> None:
        """Answers that are none are failures, told with what was said."""
        for code, said, shown in (
            (500, b"", "500"),
            (403, b"who\x1b are you?\n", "403: who  are you?"),
            (409, b"many\n", "without the size"),
            (200, b"", "no cosignature"),
            (200, b"hello\n", "no cosignature"),
            (200, self.note.signatures[0].line().encode(), "no cosignature"),
        ):
            error = self.failed(0, (code, said))
            self.assertFalse(error.grave)
            self.assertIn(shown, str(error))
        newest = self.checkpoints.newest()
        self.assertEqual(newest and newest.note, self.note)


class Ours(CheckpointCase):
    """A log of ours and a witness of ours, without sockets."""

    def test_every_growth(self) -> None:
        """Whatever the witness saw last, the proof that it is sent holds there."""
        case = WitnessCase()
        case.setUp()
        witness = case.make()
        witness._keys = lambda: [self.checkpoints.key()]
        key = Signer("witness.example", b"\x07" * 32).witness_key

        async def post(body: bytes) -> Answer:
            reply = await witness.add_checkpoint(body)
            return Answer(reply.status, Headers(), reply.body, False)

        for _ in range(30):
            signed = self.sign()
            for old in (0, signed.size):
                done = Deferred.fromCoroutine(cosigned(self.checkpoints, signed, key, old, post))
                self.successResultOf(done)
            newest = self.checkpoints.newest()
            assert newest is not None
            self.assertEqual(list(check_cosignatures(newest.note, [key], verify)), [key])
            self.assertEqual(self.checkpoints.witnessed(), newest)
            self.events(self.size % 3 + 1)

    def sign(self) -> Signed:
        """Sign what there is."""
        self.successResultOf(self.checkpoints.renew())
        signed = self.checkpoints.newest()
        assert signed is not None
        return signed


class Installation:
    """The stores and the port of one installation, in this process."""

    def __init__(self, folder: Path, origin: str, seed: str) -> None:
        self.folder = folder
        self.origin, self.seed = origin, seed
        self.configure()
        self.stores = StoreService(
            self.config,
            store_path=lambda name: folder / name / "event_store",
            plugins_path=lambda name: folder / name / "plugins.json",
            make_hop=synchronous,
            clock=CLOCK,
            on_failure=lambda failure: None,
        )
        self.stores.startService()
        tlog = make_tlog(
            lambda: self.config,
            self.stores,
            folder,
            folder=lambda name: folder / name,
            run_slowly=deferToThread,
            clock=CLOCK,
            seconds=CLOCK.seconds,
        )
        self.api = HttpApi(
            measures=Measures(CLOCK.seconds),
            gather=lambda: succeed([]),
            checks={},
            metrics_token=lambda: None,
            run_slowly=deferToThread,
            tlog=tlog,
        )

    def configure(self, **more: Any) -> None:
        """Go on under another configuration."""
        given = {"origin": self.origin, "signing_key": self.seed, **more}
        self.config = Config(encryption=False, integrity=Integrity(**given))

    @property
    def domain(self) -> Domain:
        """The only domain."""
        return self.stores.domain(None)

    @property
    def checkpoints(self) -> Checkpoints:
        """Its checkpoints."""
        return self.domain.checkpoints

    async def write(self, number: int) -> None:
        """Commit an event and sign."""
        write = Write("create", "order", f"o-{number}", "made", "{}")
        await self.domain.writer.write([write], actor=ALICE, idempotency_key=None, render=len)
        await self.checkpoints.renew()


class OverSockets(TestCase):
    """Two installations: a log, and its witness."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        (folder / "log" / "default").mkdir(parents=True)
        (folder / "witness" / "default").mkdir(parents=True)
        self.log = Installation(folder / "log", "example.org/log", LOG_SEED)
        self.witness = Installation(folder / "witness", "w.example", WITNESS_SEED)
        self.witness.configure(witnessed_logs=(self.log.checkpoints.key().vkey(),))
        self.port = self.listen(0)
        self.service = CosigningService(lambda: self.log.config.integrity, CLOCK)
        self.service.add(self.log.domain)
        self.configure()
        self.addCleanup(self.tear_down)

    def listen(self, port: int) -> IListeningPort:
        """Let the witness listen."""
        site = BoundedSite(self.witness.api.resource, CLOCK)
        listening: IListeningPort = CLOCK.listenTCP(port, site, interface="127.0.0.1")
        return listening

    def configure(self) -> None:
        """Let the log ask the witness."""
        self.key = self.witness.checkpoints.signer.witness_key
        address: Any = self.port.getHost()
        url = f"http://127.0.0.1:{address.port}/tlog/witness"
        self.log.configure(witnesses=(f"{self.key.vkey()} {url}",), checkpoint_interval_ms=10)

    async def tear_down(self) -> None:
        """End all of it."""
        if self.service.running:
            await self.service.stopService()
        await self.port.stopListening()  # type: ignore[misc]
        await self.log.stores.stopService()
        await self.witness.stores.stopService()

    async def cosigned(self, size: int) -> None:
        """Wait until the witness has cosigned a size."""
        while True:
            found = self.log.checkpoints.witnessed()
            if found is not None and found.size == size:
                assert list(check_cosignatures(found.note, [self.key], verify)) == [self.key]
                return
            await self.turn()

    async def turn(self) -> None:
        """Let the reactor go on."""
        done: Deferred[None] = Deferred()
        CLOCK.callLater(0.002, done.callback, None)
        await done

    async def test_each_checkpoint_gets_its_cosignature(self) -> None:
        """New checkpoints are cosigned soon after, one after the other."""
        self.service.startService()
        for number in range(1, 6):
            await self.log.write(number)
            await self.cosigned(number)
        self.assertEqual(self.log.checkpoints.unwitnessed, {})

    async def test_what_was_signed_before(self) -> None:
        """A log that begins to ask has its history cosigned; a restart goes on where it was."""
        for number in range(1, 4):
            await self.log.write(number)
        self.service.startService()
        await self.cosigned(3)
        await self.service.stopService()
        self.service = CosigningService(lambda: self.log.config.integrity, CLOCK)
        self.service.add(self.log.domain)
        self.service.startService()
        await self.log.write(4)
        await self.cosigned(4)

    async def test_witness_that_comes_and_goes(self) -> None:
        """While the witness is away the reason is kept; when it is back it is asked again."""
        address: Any = self.port.getHost()
        await self.port.stopListening()  # type: ignore[misc]
        self.service.startService()
        await self.log.write(1)
        while not self.log.checkpoints.unwitnessed:
            await self.turn()
        self.assertIn("refused", self.log.checkpoints.unwitnessed[self.key.name])
        self.port = self.listen(address.port)
        await self.cosigned(1)
        self.assertEqual(self.log.checkpoints.unwitnessed, {})

    async def test_log_that_was_put_back(self) -> None:
        """A witness that has seen more than there is keeps its word; the log's owner is told."""
        self.service.startService()
        for number in range(1, 4):
            await self.log.write(number)
        await self.cosigned(3)
        await self.service.stopService()
        await self.log.stores.stopService()
        folder = Path(self.mktemp())
        (folder / "default").mkdir(parents=True)
        self.log = Installation(folder, "example.org/log", LOG_SEED)
        self.configure()
        self.service = CosigningService(lambda: self.log.config.integrity, CLOCK)
        self.service.add(self.log.domain)
        self.service.startService()
        await self.log.write(9)
        while not self.log.checkpoints.unwitnessed:
            await self.turn()
        reason = self.log.checkpoints.unwitnessed[self.key.name]
        self.assertIn("it has seen 3 events of this log, which has 1", reason)
        kept = (self.witness.folder / WITNESS_NAME).read_text()
        self.assertIn('"size": 3', kept)


class Keys(SynchronousTestCase):
    """What a witness is in the configuration."""

    def test_checked_when_it_is_configured(self) -> None:
        """Keys of the wrong type, changed ones, and what is no URL are refused with a reason."""
        from eventdbx.formats import check_log_key, check_witness, split_witness

        signer = Signer("w.example", bytes(32))
        witness, other = signer.witness_key.vkey(), signer.log_key("default").vkey()
        check_log_key(other)
        check_witness(witness)
        url = "https://w.example:8443/tlog/witness"
        check_witness(f"{witness} {url}/")
        self.assertEqual(split_witness(f"{witness} {url}/"), (witness, url))
        for check, text in (
            (check_log_key, witness),
            (check_log_key, f"{other} {url}"),
            (check_witness, other),
            (check_witness, "x" + witness),
            (check_witness, witness[:-1]),
            (check_witness, f"{witness} w.example"),
            (check_witness, f"{witness} https://user@w.example/"),
            (check_witness, f"{witness} https://w.example/?a=b"),
            (check_witness, f"{witness} {url} {url}"),
        ):
            with self.assertRaises(ValueError, msg=text):
                check(text)
