"""The world that examples run in: a home, a working folder with files, and a domain with some data.

It is made once for each process and copied for each command, whose examples run one after the
other in their copy.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.daemon import ROOT, free_port, outside
from tests.recordings.command_lines_forks import forks
from tests.surfaces.command_line import Ended

EVENTS = "order_created,order_paid,order_changed,order_imported,order_returned,paid"

BASE: tuple[tuple[str, ...], ...] = (
    ("schema", "create", "order", "--events", EVENTS),
    ("schema", "create", "person", "--events", "person_added"),
    ("aggregate", "create", "order", "o-1", "--event", "order_created", "--payload",
     '{"total":12,"code":"A","who":{"name":"Ada","tags":["new"]}}'),
    ("aggregate", "apply", "order", "o-1", "order_paid", "--field", "amount:=12"),
    ("aggregate", "apply", "order", "o-1", "order_changed", "--field", "total:=13"),
    ("aggregate", "create", "order", "o-2", "--event", "order_created", "--field", "total:=7"),
    ("aggregate", "create", "order", "o-3", "--event", "order_created", "--field", "total:=30"),
    ("aggregate", "create", "customer", "c-1", "--event", "customer_added", "--field", "name=Zoe"),
)  # fmt: skip

FILES: dict[str, str] = {
    "order.json": '{"total": 20, "code": "B"}',
    "paid.json": '{"type": "object", "properties": {"amount": {"type": "integer"}}}',
    "order.schema.json": '{"type": "object", "properties": {"note": {"type": "string"}}}',
    "steps.json": '[[{"op": "default", "path": "/n", "value": 1}]]',
    "events.ndjson": "".join(
        json.dumps(
            {"aggregate_type": "order", "aggregate_id": f"i-{number}",
             "event_type": "order_created", "payload": {"total": number}}
        )
        + "\n"
        for number in range(20)
    ),
    "events.csv": "aggregate_type,aggregate_id,event_type,total\norder,x-1,order_created,4\n",
    "schema.dbx": (
        "aggregate order {\n"
        + "".join(f"  event {one} {{}}\n" for one in EVENTS.split(","))
        + "}\naggregate person {\n  event person_added {}\n}\n"
    ),
    "ops.token": "",
    "staging.token": "",
    "prod.token": "",
    "old.token": "",
}  # fmt: skip
"""The tokens are issued when the world is made."""

PROGRAM = "#!/bin/sh\nexec cat > /dev/null\n"


class World:
    """A home and a working folder of its own, in which command lines run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self._streams = folder / "streams"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command."""
        kept = {key: text for key, text in outside().items() if not key.startswith("EVENTDBX")}
        own = {
            "HOME": str(self.folder / "home"),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{kept.get('PATH', '')}",
            "USER": "kim",
            "STANDBY_TOKEN": "a.b.c",
            "HOOK_TOKEN": "secret",
            "HOOK_SECRET": "secret",
            "PYTHONPATH": str(ROOT),
            "DBX_NO_UPGRADE_CHECK": "1",
        }
        return kept | own

    def make(self) -> None:
        """Make it from nothing: the files, and what :data:`BASE` puts into the store."""
        for name in ("home", "work", "streams", "bin"):
            (self.folder / name).mkdir(parents=True)
        program = self.folder / "bin" / "dbx"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m eventdbx.surfaces.cli.main "$@"\n')
        program.chmod(0o755)
        for name, text in FILES.items():
            (self.work / name).write_text(text, encoding="utf-8")
        (self.work / "schemas").mkdir()
        shutil.copy(self.work / "schema.dbx", self.work / "schemas" / "shop.dbx")
        with zipfile.ZipFile(self.work / "orders-view.zip", "w") as bundle:
            member = zipfile.ZipInfo("orders-view")
            member.external_attr = 0o755 << 16
            bundle.writestr(member, PROGRAM)
        self.need("config", "--bind-addr", f"127.0.0.1:{free_port()}", "--port", "0")
        for name in ("ops", "staging", "prod", "old"):
            issued = self.need("token", "generate", "-g", "ops", "-u", name, "--action", "*.*",
                               "--ttl", "1d", "--json")  # fmt: skip
            (self.work / f"{name}.token").write_text(json.loads(issued.stdout)["token"])

    def fill(self) -> None:
        """Put data into its store."""
        for words in BASE:
            self.need(*words)
        shutil.copy(self.folder / "home" / ".eventdbx" / "schemas.json", self.work)

    def copy(self, folder: Path) -> World:
        """Return a copy with an address of its own for a server."""
        shutil.copytree(self.folder, folder, symlinks=True)
        other = World(folder)
        other.need("config", "--data-dir", str(folder / "home" / ".eventdbx"),
                   "--bind-addr", f"127.0.0.1:{free_port()}")  # fmt: skip
        return other

    def run(self, words: Sequence[str], stdin: str = "") -> Ended:
        """Run one command line."""
        streams = [self._streams / str(number) for number in range(3)]
        for stream, text in zip(streams, (stdin, "", ""), strict=True):
            stream.write_text(text, encoding="utf-8")
        status = forks().run(words, folder=self.work, environment=self.environment, streams=streams)
        return Ended(status, *(one.read_text("utf-8") for one in streams[1:]))

    def need(self, *words: str) -> Ended:
        """Run a command line that must succeed."""
        ended = self.run(words)
        if ended.status:
            raise AssertionError(f"dbx {' '.join(words)} ended with {ended}")
        return ended


@cache
def _made(filled: bool) -> World:
    folder = TemporaryDirectory()
    atexit.register(folder.cleanup)
    world = World(Path(folder.name) / "world")
    world.make()
    if filled:
        world.fill()
    return world


def fresh_world(folder: Path, *, filled: bool) -> World:
    """Return a world in a folder that must not exist; with the data of :data:`BASE` if filled."""
    return _made(filled).copy(folder)
