"""Every operation of the control protocol, asked by everybody, against a running server."""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterator
from pathlib import Path

from twisted.internet.defer import succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.auditing import AUDIT_TYPE
from eventdbx.errors import ConfigError, EventDBXError
from eventdbx.storage.memory import MemoryStore
from eventdbx.storage.store import synchronous
from eventdbx.surfaces.control import integrity, plugins, staging
from eventdbx.surfaces.control.blocking import BlockingClient
from eventdbx.surfaces.control.schemas import SchemaRoutes
from eventdbx.wire import requests as rq
from tests.daemon import ROOT as CHECKOUT
from tests.permissions import operations as table
from tests.permissions.operations import SEEN, Operation, everything
from tests.permissions.place import AWAY_TEXT, HERE_TEXT, running_place
from tests.permissions.rules import (
    HOLDERS,
    OWN,
    REFUSED,
    ROOT,
    YES,
    Holder,
    Needs,
    allowed,
    expected,
)
from tests.surfaces.listener import listener


class Reflection(SynchronousTestCase):
    """The table is complete, and holds nothing that is not there."""

    def test_every_request(self) -> None:
        """Each request that a client can send is in the table."""
        known = {*table.REQUESTS, *table.DOCUMENTS, rq.Unreadable}
        self.assertEqual(known, set(typing.get_args(rq.Request)))

    def test_every_document(self) -> None:
        """A request that is a document is in the table with everything that it can ``do``."""
        kinds = {one for one in typing.get_args(rq.Request) if "json" in one._fields}
        self.assertEqual(kinds, set(table.DOCUMENTS))
        routes = listener(MemoryStore(), synchronous(), Clock())[0].routes
        schemas = SchemaRoutes(routes, lambda work: succeed(work()), routes.rehearsals)
        self.assertEqual(set(table.SCHEMAS), schemas.names)
        self.assertEqual(set(table.PLUGINS), set(plugins.OPERATIONS))
        self.assertEqual(set(table.ADMINISTRATION), set(offered()))
        self.assertEqual(set(table.INTEGRITY), set(integrity.OPERATIONS))
        self.assertEqual(set(table.STAGING), set(staging.OPERATIONS))


def offered() -> Iterator[str]:
    """Yield what the sources offer of the installation: it depends on what is running."""
    for path in sorted(Path(CHECKOUT / "eventdbx").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if ".offer(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == "offer" and len(node.args) == 3:
                    name = node.args[0]
                    assert isinstance(name, ast.Constant), f"{path}: the name must be a literal"
                    yield str(name.value)


class Matrix(SynchronousTestCase):
    """Who may do what."""

    maxDiff = None

    def setUp(self) -> None:
        self.place = running_place()

    def outcome(self, operation: Operation, holder: Holder, one: str) -> tuple[str, bytes]:
        """Return what came of an operation (``yes`` or an error's code), and what was answered."""
        place = self.place
        request = operation.ask(place.tokens[holder], one, place)
        if not operation.hello:
            return self.outcome_of(request)
        try:
            with place.session(holder) as session:
                return self.outcome_of(request, session)
        except ConfigError as error:
            return error.code, str(error).encode()

    def outcome_of(
        self, request: rq.Request, session: BlockingClient | None = None
    ) -> tuple[str, bytes]:
        """Return what came of a request, in the session of the wildcard unless another is given."""
        try:
            reply = self.place.ask(request, session)
        except EventDBXError as error:
            return error.code, str(error).encode()
        return YES, b"".join(reply.texts)

    def hellos(self, *, send_token: bool) -> dict[str, str]:
        """Return why sessions of the holders were rejected, by their names."""
        said = {}
        for holder in HOLDERS:
            try:
                self.place.session(holder, send_token=send_token).close()
            except ConfigError as error:
                said[holder.name] = error.detail.removeprefix("control handshake rejected: ")
        return said

    def test_hello(self) -> None:
        """A session is opened by a token that is good for the domain, whatever it allows."""
        bad = "invalid control token"
        rejected = {
            "no token": "missing control token",
            "wrong": bad,
            "expired": bad,
            "revoked": bad,
            "other tenant": "token does not grant access to tenant 'default'",
        }
        self.assertEqual(self.hellos(send_token=True), rejected)
        self.assertEqual({one.name for one in HOLDERS if not one.enters}, rejected.keys())

    def test_hello_without_token(self) -> None:
        """Naming the token instead of sending it opens the same sessions, and no other."""
        said = self.hellos(send_token=False)
        self.assertEqual({one.name for one in HOLDERS if not one.enters}, said.keys())
        self.assertIn("unknown token id", said["wrong"])
        for name in ("expired", "revoked", "no token"):
            self.assertEqual(said[name], "invalid control token")

    def test_stolen_id(self) -> None:
        """An id that is known to somebody opens nothing without the token that it names."""
        forged = self.place.forged(ROOT)
        for send_token in (False, True):
            error = self.assertRaises(ConfigError, self.place.open, forged, send_token=send_token)
            self.assertIn("invalid control token", str(error))
        code, _said = self.outcome_of(rq.GetAggregate(forged, "order", SEEN))
        self.assertEqual(code, "invalid_token")

    def test_refused(self) -> None:
        """Who may not do a thing is told so with the right code, and nothing else happens."""
        wrong = []
        for holder in HOLDERS:
            before = self.place.state()
            for name, operation in everything().items():
                wanted = expected(operation.needs, holder)
                if wanted not in REFUSED:
                    continue
                if operation.hello and not holder.enters:
                    wanted = "config"
                code, said = self.outcome(operation, holder, SEEN)
                if code != wanted:
                    wrong.append(f"{name}: {holder.name} gets {code} instead of {wanted}")
                if HERE_TEXT.encode() in said or AWAY_TEXT.encode() in said:
                    wrong.append(f"{name}: {holder.name} is told too much")
            self.assertEqual(self.place.state(), before, holder.name)
        self.assertEqual("\n".join(wrong), "")

    def test_let_in(self) -> None:
        """Who may do a thing can do it, and sees of lists what they may read."""
        wrong = []
        for holder in HOLDERS:
            for name, operation in everything().items():
                wanted = expected(operation.needs, holder)
                if wanted in REFUSED:
                    continue
                for where, members in operation.before:
                    getattr(self.place.root, where)(members)
                one = self.place.fresh(SEEN) if operation.writes else SEEN
                code, said = self.outcome(operation, holder, one)
                if code != (operation.ends or YES):
                    wrong.append(f"{name}: {holder.name} gets {code} ({said[:80]!r})")
                if operation.needs.on == "items":
                    wrong += self.seen(name, operation.needs, holder, wanted, said)
        self.assertEqual("\n".join(wrong), "")

    def seen(
        self, name: str, needs: Needs, holder: Holder, wanted: str, said: bytes
    ) -> Iterator[str]:
        """Yield what is wrong about the items of a list."""
        here = Needs(needs.actions, "aggregate")
        sees_here = allowed(here, holder)
        sees_away = wanted == YES or not sees_here
        one_only = " of one" in name or name == "getSnapshot"
        for text, sees in ((HERE_TEXT, sees_here), (AWAY_TEXT, sees_away and not one_only)):
            if (text.encode() in said) != sees:
                yield f"{name}: {holder.name} {'misses' if sees else 'sees'} {text}"

    def test_existence(self) -> None:
        """Who may not read an aggregate does not learn whether there is one."""
        wrong = []
        for holder in HOLDERS:
            for name, operation in everything().items():
                if operation.needs.on != "aggregate" or expected(operation.needs, holder) == YES:
                    continue
                there = self.outcome(operation, holder, SEEN)
                missing = self.outcome(operation, holder, f"{SEEN}-none")
                if there != missing:
                    wrong.append(f"{name}: {holder.name} gets {there[0]} or {missing[0]}")
        self.assertEqual("\n".join(wrong), "")

    def test_credentials(self) -> None:
        """What a plugin authenticates with is shown to those alone who may change it."""
        secret = "kept-to-ourselves"
        config = {"type": "http", "endpoint": "http://127.0.0.1:9/", "headers": {"x-key": secret}}
        entry = {"name": "hook", "enabled": False, "config": config}
        self.place.root.plugins({"do": "configure", "entry": entry})
        told = []
        for holder in HOLDERS:
            _code, said = self.outcome(table.PLUGINS["list"], holder, SEEN)
            if secret.encode() in said:
                told.append(holder)
        may = [one for one in HOLDERS if expected(table.PLUGINS["enable"].needs, one) == YES]
        self.assertEqual(told, may)
        self.assertIn(ROOT, told)

    def test_trail(self) -> None:
        """Nobody writes or reads the audit trail but by its own operations, whatever rights."""
        wrong = []
        for name, operation in everything().items():
            request = operation.ask(self.place.tokens[ROOT], "plugins", self.place)
            if "aggregate_type" not in request._fields:
                continue
            request = request._replace(aggregate_type=AUDIT_TYPE)  # type: ignore[call-arg]
            code, said = self.outcome_of(request)
            if type(request) in rq.WRITES:
                if code not in ("unauthorized", "aggregate_not_found"):
                    wrong.append(f"{name} writes: {code}")
            elif b"plugin_configured" in said:
                wrong.append(f"{name} shows {said[:200]!r}")
        self.assertEqual("\n".join(wrong), "")
        _code, said = self.outcome(table.ADMINISTRATION["audit"], ROOT, SEEN)
        self.assertIn(b'"event_id"', said)

    def test_own(self) -> None:
        """The lists of the table are told apart by what is in them, not by chance."""
        wanted = {expected(table.READ_SOME, holder) for holder in HOLDERS}
        self.assertEqual(wanted, {*REFUSED, YES, OWN})
