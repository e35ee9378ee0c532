"""The control protocol: nothing that is asked in one domain says anything about another one."""

from __future__ import annotations

from typing import Any

import orjson
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import ConfigError, EventDBXError
from eventdbx.surfaces.control.blocking import BlockingClient
from eventdbx.surfaces.control.calls import Call
from eventdbx.wire import requests as rq
from tests.isolation.place import Names, renamed, scrubbed, secrets_in, two_domains
from tests.permissions.operations import SEEN, Operation, everything

SLOW = ("wait",)
"""Words in names of operations that wait for what never comes, in either domain."""


class WireCase(SynchronousTestCase):
    """Sessions with tokens of the tenant ``default`` alone."""

    maxDiff = None

    def setUp(self) -> None:
        self.two = two_domains()
        self.session = self.two.open(self.two.token)
        self.addCleanup(self.session.close)

    def answer(self, request: rq.Request, session: BlockingClient | None = None) -> bytes:
        """Return all that is said to a request, the error where it is one."""
        call = Call(request, lambda reply: reply)
        try:
            reply = (session or self.session).call(call)
        except EventDBXError as error:
            return f"{error.code}: {error}".encode()
        return b"|".join((str(reply.member).encode(), *(bytes(one) for one in reply.texts)))

    def asked(self, operation: Operation, names: Names | None) -> tuple[bytes, bytes]:
        """Return an operation's request, about other names if any are given, and the answer."""
        request = operation.ask(self.two.token, SEEN, self.two.place)
        if names is not None:
            request = renamed(request, names)
        return repr(request).encode(), self.answer(request)


class Everything(WireCase):
    """Every operation that there is."""

    def test_about_what_is_only_there(self) -> None:
        """The answer is that about what is nowhere."""
        two, wrong = self.two, []
        for at, (name, operation) in enumerate(everything().items()):
            if any(word in name for word in SLOW):
                continue
            asked, answers = [], []
            for names in (two.there, two.nowhere):
                two.begin_anew(operation)
                question, answer = self.asked(operation, names.of(at))
                asked.append(question)
                answers.append(scrubbed(answer, two))
            there, nowhere = answers
            # Where nothing can be named, the other test says what there is to say.
            if there != nowhere and asked[0] != asked[1]:
                wrong.append(f"{name}:\n  {there[:300]!r}\n  {nowhere[:300]!r}")
        self.assertEqual("\n".join(wrong), "")

    def test_about_what_is_here(self) -> None:
        """No answer has anything of the other domain in it, its name included."""
        wrong = []
        for name, operation in everything().items():
            _question, answer = self.asked(operation, None)
            told = secrets_in(answer)
            if b'"other"' in answer or b"/other/" in answer:
                told.append("other")
            if told:
                wrong.append(f"{name} tells of {told}: {answer[:400]!r}")
        self.assertEqual("\n".join(wrong), "")


class Hello(WireCase):
    """Domains that a token is not good for."""

    def rejected(self, token: str, tenant: str, *, send_token: bool) -> str:
        """Return why no session is opened."""
        two = self.two
        error = self.assertRaises(
            ConfigError, BlockingClient, "127.0.0.1", two.workspace.port, token,
            tenant=tenant, send_token=send_token,
        )  # fmt: skip
        return str(error).replace(tenant, "<domain>")

    def test_one_that_is_there(self) -> None:
        """It is refused like one that is not, before anything is looked for."""
        two = self.two
        for send_token in (True, False):
            said = [
                self.rejected(two.token, name, send_token=send_token)
                for name in (two.there.domain, two.nowhere.domain)
            ]
            self.assertEqual(said[0], said[1])
            self.assertIn("token does not grant access to tenant", said[0])
        self.assertFalse((two.workspace.folder / ".dbx" / "domains" / "othex").exists())

    def test_tokens_of_another_tenant(self) -> None:
        """In a session here they are refused, whatever they are shown with."""
        for kind in (rq.ListAggregates, rq.ListSchemas):
            said = self.answer(kind(self.two.outsider))
            self.assertTrue(said.startswith(b"unauthorized"), said)


class Crossing(WireCase):
    """Things that could be carried from one domain into the other."""

    def other(self) -> BlockingClient:
        """Open a session in the other domain."""
        session = self.two.open(self.two.outsider, "other")
        self.addCleanup(session.close)
        return session

    def test_cursors_and_places(self) -> None:
        """A cursor is a place in the domain where it is used: it shows what is there alone."""
        other = self.other()
        page = self.answer(rq.ScanAggregates(self.two.outsider, take=1), other)
        cursor = str(orjson.loads(page.split(b"|")[2] if page.count(b"|") > 1 else b'"x"'))
        for text in (cursor, "a:ledger:there-1", "ts:0:ledger:there-1"):
            for kind in (rq.ListAggregates, rq.ScanAggregates):
                answer = self.answer(kind(self.two.token, cursor=text))
                self.assertEqual(secrets_in(answer), [])

    def test_keys_for_retries(self) -> None:
        """The key of a write there is a new key here, and its answer is not shown."""
        write = {"kind": "create", "aggregate_type": "order", "event_type": "order_created"}
        key = "told-over-there-key"
        other = self.other()
        other.create("order", "same-1", "order_created", {"text": "told-over-there"},
                     idempotency_key=key)  # fmt: skip
        made = self.session.create("order", "same-1", "order_created", {"text": "here"},
                                       idempotency_key=key)  # fmt: skip
        self.assertEqual(write["aggregate_type"], "order")
        self.assertNotIn(b"told", orjson.dumps(made))

    def test_references(self) -> None:
        """A reference into the other domain resolves like one to nothing."""
        answers = []
        for at, names in enumerate((self.two.there, self.two.nowhere)):
            schema = {"do": "change", "changes": [
                {"do": "create", "aggregate": "bill", "events": ["bill_made"]},
                {"do": "field", "aggregate": "bill", "field": "of", "type": "reference"},
            ]}  # fmt: skip
            if not at:
                self.session.schema(schema)
            target = f"{names.domain}#{names.type}#{names.id}"
            for text in (target, f"{names.type}#{names.id}"):
                payload = orjson.dumps({"of": text}).decode()
                one = f"b-{at}-{text.count('#')}"
                made = self.answer(
                    rq.CreateAggregate(self.two.token, "bill", one, "bill_made", payload)
                )
                got = self.answer(rq.GetAggregate(self.two.token, "bill", one, True, 3))
                answers.append([scrubbed(made, self.two), scrubbed(got, self.two)])
        self.assertEqual(answers[:2], answers[2:])

    def test_staged_events(self) -> None:
        """What the same user has staged there is not staged here."""
        other = self.other()
        write = {"kind": "create", "aggregate_type": "vault", "aggregate_id": "staged-1",
                 "event_type": "vault_made", "content_json": "{}"}  # fmt: skip
        stage = orjson.dumps({"do": "stage", "writes": [write]})
        self.answer(rq.StagingOperation(self.two.outsider, stage), other)
        document = orjson.dumps({"do": "list", "all_users": True})
        answer = self.answer(rq.StagingOperation(self.two.token, document))
        self.assertEqual(secrets_in(answer), [])
        commit: Any = orjson.dumps({"do": "commit"})
        self.answer(rq.StagingOperation(self.two.token, commit))
        list_there = rq.StagingOperation(self.two.outsider, orjson.dumps({"do": "list"}))
        self.assertIn(b"vault", self.answer(list_there, other))

    def test_checkpoints(self) -> None:
        """Each domain signs for itself: the one's checkpoint is no earlier state of the other."""
        sign = orjson.dumps({"do": "checkpoint", "sign": True})
        there = self.answer(rq.IntegrityOperation(self.two.outsider, sign), self.other())
        note = orjson.loads(there.split(b"|", 1)[1])["checkpoint"]
        here = self.answer(rq.IntegrityOperation(self.two.token, sign))
        origins = [orjson.loads(one.split(b"|", 1)[1])["origin"] for one in (there, here)]
        self.assertNotEqual(*origins)
        asked = orjson.dumps({"do": "verify", "checkpoint": note})
        answer = self.answer(rq.IntegrityOperation(self.two.token, asked))
        self.assertNotIn(orjson.loads(there.split(b"|", 1)[1])["root"].encode(), answer)


class Control(WireCase):
    """The questions would find what they ask about."""

    def test_in_the_other_domain(self) -> None:
        """Asked over there, many of them are answered otherwise than about what is nowhere."""
        two, told_apart = self.two, []
        with two.open(two.outsider, "other") as other:
            for at, (name, operation) in enumerate(everything().items()):
                if operation.writes or any(word in name for word in SLOW):
                    continue
                answers = []
                for names in (two.there, two.nowhere):
                    request = operation.ask(two.outsider, SEEN, two.place)
                    answers.append(
                        scrubbed(self.answer(renamed(request, names.of(at)), other), two)
                    )
                if answers[0] != answers[1]:
                    told_apart.append(name)
        self.assertGreater(len(told_apart), 15, told_apart)
        for name in ("getAggregate", "getSnapshot", "plugins: job", "integrity: event_proof"):
            self.assertIn(name, told_apart)
