"""``--publish``: which plugins an event is for, from the command line to the log."""

from __future__ import annotations

import json

from eventdbx.domain.delivery.targets import Target
from eventdbx.services.stores import open_configured
from eventdbx.services.workspace import open_workspace
from eventdbx.storage import eventlog
from tests.daemon import Workspace
from tests.surfaces.test_cli_beside_server import ServedCase

APPLY = "aggregate", "apply", "order", "o-1", "order_paid"


def plugin(name: str, *, enabled: bool = True, emit_events: bool = True) -> dict[str, object]:
    """Return an entry that writes nowhere."""
    config = {"type": "log", "level": "debug"}
    return {"enabled": enabled, "emit_events": emit_events, "name": name, "config": config}


class Publishing(ServedCase):
    """Events for some plugins only."""

    def configure(self, place: Workspace, *entries: dict[str, object]) -> None:
        """Write the file of plugins, as another program might."""
        (place.folder / ".dbx" / "plugins.json").write_text(json.dumps(entries))

    def targets(self, place: Workspace) -> list[tuple[Target, ...]]:
        """Return the targets of each event of the log."""
        opened = open_workspace(str(place.folder / ".dbx" / "config.toml"))
        path = place.folder / ".dbx" / "event_store"
        store = open_configured(path, opened.config, read_only=True)
        try:
            entries = eventlog.log_entries(store.view(), 0, start=0)
            return [entry.targets for _position, entry in entries]
        finally:
            store.close()

    def tell(self, place: Workspace) -> None:
        """Write events for plugins, and try what is refused."""
        create = "aggregate", "create", "order", "o-1", "--event", "order_created"
        change = '[{"op":"add","path":"/a","value":1}]'
        patch = "aggregate", "patch", "order", "o-1", "e", "--patch", change
        for line in (
            (*create, "--publish", "audit"),
            (*APPLY, "--publish", "AUDIT:Event-Only:HIGH", "--publish", "audit:all", "--publish=b"),
            (*patch, "--publish", "b::low"),
            APPLY,
        ):
            ended = self.at(place, *line)
            self.assertEqual((ended.status, ended.stderr), (0, ""), line)
        for name, reason in (
            ("nope", "plugin 'nope' is not configured"),
            ("off", "plugin 'off' is not configured"),
            ("mute", "plugin 'mute' is disabled"),
        ):
            ended = self.at(place, *APPLY, "--publish", name)
            self.assertEqual(ended.status, 1)
            self.assertIn(f"configuration error: {reason}\n", ended.stderr)

    def check(self, place: Workspace) -> None:
        """Hold the log against what was told."""
        self.assertEqual(
            self.targets(place),
            [
                (Target("audit"),),
                (Target("audit", "event-only", "high"), Target("b")),
                (Target("b", None, "low"),),
                (),
            ],
        )

    ENTRIES = (
        plugin("audit"),
        plugin("b"),
        plugin("off", enabled=False),
        plugin("mute", emit_events=False),
    )

    def test_without_a_server(self) -> None:
        """Targets are checked before the commit and kept with the event's place in the log."""
        place = self.workspace(served=False)
        self.at(place, "config")
        self.configure(place, *self.ENTRIES)
        self.tell(place)
        self.check(place)

    def test_beside_a_server(self) -> None:
        """A server does the same, and sees plugins that were configured while it runs."""
        place = self.workspace(served=True)
        self.configure(place, *self.ENTRIES)
        self.tell(place)
        self.assertEqual(place.stop(), 0)
        self.check(place)

    def test_nobody_listens(self) -> None:
        """Without any plugin that takes events nobody is asked."""
        place = self.workspace(served=False)
        self.at(place, "aggregate", "create", "order", "o-1", "--event", "e", "--publish", "x")
        self.assertEqual(self.targets(place), [(Target("x"),)])

    def test_wrong_words(self) -> None:
        """A mode or priority that there is none of is a mistake, not passed over."""
        place = self.workspace(served=False)
        for text, reason in (
            ("a:some", "the mode is one of all, event-only, "),
            ("a:all:soon", "the priority is one of high, normal, low"),
            ("a:all:low:x", "publish target format is PLUGIN[:MODE[:PRIORITY]]"),
            (":all", "publish target name cannot be empty"),
        ):
            ended = self.at(place, *APPLY, "--publish", text)
            self.assertEqual(ended.status, 2)
            self.assertIn(reason, ended.stderr)
