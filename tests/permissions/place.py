"""A running server with a token for each holder, and what must not change when it refuses."""

from __future__ import annotations

import atexit
import os
import time
import uuid
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from eventdbx.application.token_keys import SigningKey
from eventdbx.application.tokens import Verifier, new_grant, sign_grant
from eventdbx.services.auditspool import Spool
from eventdbx.services.keyring import token_terms
from eventdbx.services.keyuse import configured
from eventdbx.services.tokenfiles import TokenFiles
from eventdbx.services.workspace import Opened, open_workspace
from eventdbx.surfaces.control.blocking import BlockingClient
from eventdbx.surfaces.control.calls import Call, Calls
from eventdbx.wire import requests as rq
from eventdbx.wire.codec_client import Reply
from tests.daemon import Workspace, free_port
from tests.permissions.rules import (
    AWAY,
    EXPIRED,
    FORGED,
    HERE,
    HOLDERS,
    NOBODY,
    READER,
    REVOKED,
    ROOT,
    Holder,
)

HERE_TEXT, AWAY_TEXT = "seen-only-here", "seen-only-away"
"""What the payloads say: whoever may not read an aggregate never gets to see its text."""

HOUR_S = 3_600


@cache
def running_place() -> Place:
    """Return one server for all tests of a process; it ends with the process."""
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    workspace = Workspace(Path(folder.name) / "database")
    config = str(workspace.folder / ".dbx" / "config.toml")
    opened = open_workspace(config, environ={"HOME": os.fspath(workspace.folder)})
    opened.workspace.save(
        {
            "auth.failures_per_minute": 1_000_000,
            "plugin_max_attempts": 1,
            "log.level": "debug",
            "admin.enabled": True,
            "admin.port": free_port(),
            "admin.requests_per_second": 1_000_000,
            "admin.requests_burst": 1_000_000,
        }
    )
    workspace.start()
    atexit.register(workspace.stop)
    return Place(workspace)


class Place:
    """A daemon with two aggregates and two snapshots; ``tokens`` has a token by holder."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.made = 0
        self._spare: str | None = None
        self.tokens = {holder: self._issue(holder) for holder in HOLDERS}
        self.admin_port = self.opened.config.admin.port
        self.root = self.session(ROOT)
        self.calls = Calls(self.tokens[ROOT])
        for beginning, text in ((AWAY, AWAY_TEXT), (HERE, HERE_TEXT)):
            self.aggregate(f"{beginning}-1", text)
        # Otherwise commands would find nothing to activate, or to go back to, and say only that.
        for _ in range(2):
            self.root.schema({"do": "publish", "force": True, "activate": True})
        self._snapshot(f"{AWAY}-1")
        self.snapshot = int(self._snapshot(f"{HERE}-1"))

    @cached_property
    def opened(self) -> Opened:
        """The installation as its owner sees it."""
        config = str(self.workspace.folder / ".dbx" / "config.toml")
        return open_workspace(config, environ={"HOME": os.fspath(self.workspace.folder)})

    def _issue(self, holder: Holder) -> str:
        """Return the token of a holder, recorded like any other, but for the forged one."""
        return "" if holder is NOBODY else self.issue(holder)[0]

    def issue(self, holder: Holder) -> tuple[str, str]:
        """Return a new token that says what a holder's says, and its id."""
        past_s = 2 * HOUR_S if holder is EXPIRED else 0
        now_ns = time.time_ns() - past_s * 10**9
        grant = new_grant(
            jti=str(uuid.uuid4()),
            now_s=now_ns // 10**9,
            ttl_s=HOUR_S,
            subject=holder.name,
            group="ops",
            user=holder.user,
            actions=holder.actions,
            resources=holder.resources,
            tenants=holder.tenants,
            issued_by="test",
        )
        terms = token_terms(self.opened.config)
        if holder is FORGED:
            other = SigningKey(bytes(32), terms.key.key_id)
            made = sign_grant(other, grant, issuer=terms.issuer, audience=terms.audience)
            return made, grant.jti
        with self.token_files().change() as ledger:
            token, record = ledger.issue(terms, grant, now_ns)
            if holder is REVOKED:
                ledger.revoke(terms, record.jti, reason="test", now_ns=now_ns)
        return token, grant.jti

    @property
    def spare(self) -> str:
        """The id of a good token that nobody uses: a new one when the last has ended."""
        files = self.token_files()
        known = self._spare
        if known is None or files.read().is_revoked(known):
            self._spare = known = self.issue(READER)[1]
        return known

    def session(self, holder: Holder, *, send_token: bool = False) -> BlockingClient:
        """Open a session with a holder's token. Raises ConfigError when it is rejected."""
        return self.open(self.tokens[holder], send_token=send_token)

    def open(self, token: str, *, send_token: bool = False) -> BlockingClient:
        """Open a session with a token. Raises ConfigError when it is rejected."""
        return BlockingClient("127.0.0.1", self.workspace.port, token, send_token=send_token)

    def forged(self, holder: Holder) -> str:
        """Return what a holder's token says, signed with another key."""
        terms = token_terms(self.opened.config)
        verifier = Verifier(
            terms.accepted, terms.issuer, terms.audience, 30, time.time, lambda _jti: False
        )
        grant = verifier.read(self.tokens[holder])[0]
        other = SigningKey(bytes(32), terms.key.key_id)
        return sign_grant(other, grant, issuer=terms.issuer, audience=terms.audience)

    def ask(self, request: rq.Request, session: BlockingClient | None = None) -> Reply:
        """Return the answer to a request, in the session of the wildcard unless another is given.

        Raises the error that the server answers with.
        """
        return (session or self.root).call(Call(request, lambda reply: reply))

    def aggregate(self, identifier: str, text: str = HERE_TEXT) -> str:
        """Make an order; return its id."""
        self.root.create("order", identifier, "order_created", {"text": text})
        return identifier

    def fresh(self, beginning: str) -> str:
        """Make an order of its own for one operation; return its id."""
        self.made += 1
        return self.aggregate(f"{beginning}-{self.made}")

    def dead_job(self) -> int:
        """Return the number of a dead job of the queue, after making one if there is none."""
        dead = self._dead_jobs()
        if not dead:
            config = {"type": "http", "endpoint": f"http://127.0.0.1:{free_port()}/"}
            self.root.plugins({"do": "configure", "entry": {"name": "deaf", "config": config}})
            self.fresh(f"{HERE}-dead")
            while not dead:
                # Answered when the event is dead.
                self.root.plugins({"do": "wait", "name": "deaf", "position": "end"})
                dead = self._dead_jobs()
            self.root.plugins({"do": "disable", "name": "deaf"})
        return int(dead[0]["id"])

    def _dead_jobs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.root.plugins({"do": "queue"})["jobs"]["dead"]
        return found

    def _snapshot(self, identifier: str) -> Any:
        made = self.root.call(self.calls.snapshot("order", identifier, None))
        return made["snapshot_id"]

    def token_files(self) -> TokenFiles:
        """Return the ledger's files; the data key may have been rotated meanwhile."""
        workspace = self.opened.workspace
        workspace.take_up_keys(configured(workspace.read()))
        return workspace.token_files(lambda _line: None)

    def _take_over(self) -> None:
        """Wait until the server has recorded what earlier commands did without it."""
        spool = Spool(self.opened.workspace.data_dir)
        until = time.monotonic() + 30
        while spool.holds_something:
            assert time.monotonic() < until, "the server does not look at the spool"
            time.sleep(0.02)

    def state(self) -> tuple[Any, ...]:
        """Return all that a refused operation could have changed."""
        token = self.tokens[ROOT]
        self._take_over()
        plugins = self.root.plugins({"do": "list"})["plugins"]
        for entry in plugins:
            entry.pop("process", None)
        ledger = self.token_files().read()
        followed = self.ask(rq.Follow(token, after="end"))
        queue = self.root.plugins({"do": "queue"})
        # Earlier writes may be on their way still: that they arrive changes nothing here.
        alive = queue["pending"] + queue["processing"] + queue["done"]
        return (
            followed.texts,
            self.root.schema({"do": "list"}),
            self.root.schema({"do": "history"}),
            self.root.schema({"do": "rehearsals"}),
            plugins,
            (alive, queue["dead"], queue["jobs"]["dead"]),
            self.ask(rq.ListSnapshots(token)).texts,
            self.ask(rq.AdminOperation(token, b'{"do":"audit"}')).texts,
            [(one.jti, one.status_revoked) for one in ledger.records],
            [one.jti for one in ledger.revocations],
        )
