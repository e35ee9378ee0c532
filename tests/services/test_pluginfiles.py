"""The file of plugins: who may read it, who sees which change, and where it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.application.plugins import Plugins
from eventdbx.config import Value
from eventdbx.domain.canonical import JSON
from eventdbx.domain.delivery.entries import PluginEntry, Unavailable
from eventdbx.domain.delivery.reading import parse_entry
from eventdbx.errors import SerializationError
from eventdbx.services.pluginfiles import PluginFile
from tests.daemon import ROOT
from tests.services.test_workspace import InFolder

HOOK: JSON = {"enabled": True, "name": "hook", "config": {"type": "http", "endpoint": "e"}}

ADD = """
import sys
from pathlib import Path
from eventdbx.application.plugins import Plugins
from eventdbx.services.pluginfiles import PluginFile

plugins = Plugins(PluginFile(Path(sys.argv[1])), domain="default")
for number in range(20):
    plugins.configure({"name": f"{sys.argv[2]}-{number}", "config": {"type": "log"}})
"""


class Files(SynchronousTestCase):
    """One ``plugins.json``."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "plugins.json"
        self.now = 0.0
        self.file = PluginFile(self.path, seconds=lambda: self.now)

    def test_missing(self) -> None:
        """No file is no plugins; the first save makes it, for its owner alone."""
        self.assertEqual(self.file.load(), [])
        self.file.save([parse_entry(HOOK)])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.file.load(), [parse_entry(HOOK)])
        self.assertEqual([one.name for one in self.path.parent.iterdir()], ["plugins.json"])

    def test_changed(self) -> None:
        """Changes of others are noticed, own ones are none; it looks once a second, or at once."""
        self.file.load()
        self.assertFalse(self.file.changed())
        PluginFile(self.path).save([parse_entry(HOOK)])
        self.assertFalse(self.file.changed())
        self.now = 0.99
        self.assertFalse(self.file.changed())
        self.assertTrue(self.file.changed(now=True))
        self.now = 2.0
        self.assertTrue(self.file.changed())
        self.file.load()
        self.now = 3.1
        self.assertFalse(self.file.changed())
        self.file.save([])
        self.path.unlink()
        self.assertTrue(self.file.changed(now=True))

    def test_same_length(self) -> None:
        """A replacement of the same length is noticed, whatever its time."""
        self.file.save([parse_entry(HOOK)])
        text = self.path.read_text()
        other = self.path.with_name("other")
        other.write_text(text.replace("hook", "look"))
        other.rename(self.path)
        self.assertTrue(self.file.changed(now=True))

    def test_no_json(self) -> None:
        """A text that is no list names its file."""
        self.path.parent.mkdir()
        self.path.write_text("{")
        error = self.assertRaises(SerializationError, self.file.load)
        self.assertTrue(error.detail.endswith(f"(in {self.path})"))

    def test_nothing_gets_lost(self) -> None:
        """Two programs that change the file at the same time lose nothing of each other."""
        self.path.parent.mkdir()
        children = [
            subprocess.Popen(
                [sys.executable, "-c", ADD, str(self.path), name],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for name in "ab"
        ]
        self.assertEqual([child.wait() for child in children], [0, 0])
        names = {one["name"] for one in json.loads(self.path.read_text())}
        self.assertEqual(names, {f"{name}-{number}" for name in "ab" for number in range(20)})

    def test_edited_by_hand(self) -> None:
        """A half-written edit leaves plugins as they were; the whole one is taken over."""
        self.path.parent.mkdir()
        self.path.write_text(json.dumps([HOOK]))
        plugins = Plugins(self.file, domain="default")
        told: list[int] = []
        plugins.on_change.append(lambda: told.append(len(plugins.entries)))
        self.path.write_text(json.dumps([HOOK])[:-20])
        self.assertFalse(plugins.refresh(now=True))
        self.assertIn("(in ", plugins.problem or "")
        self.assertEqual([one.name for one in plugins.entries], ["hook"])
        with self.assertRaises(SerializationError):
            plugins.disable("hook")  # Saving would lose what somebody was about to write.
        self.path.write_text(json.dumps([HOOK, 5]))
        self.assertTrue(plugins.refresh(now=True))
        self.assertIsNone(plugins.problem)
        self.assertEqual([type(one) for one in plugins.entries], [PluginEntry, Unavailable])
        self.assertEqual(told, [2])


class Places(InFolder):
    """Which file is whose."""

    def test_one_for_each_domain(self) -> None:
        """Each domain has its own file, the default one in the data directory."""
        workspace = self.open().workspace
        root = workspace.data_dir
        self.assertEqual(workspace.plugins_path("default"), root / "plugins.json")
        self.assertEqual(workspace.plugins_path("x"), root / "domains" / "x" / "plugins.json")

    def test_one_for_all(self) -> None:
        """Tenants share one file, and so do the domains of an installation taken over."""
        workspace = self.open().workspace
        changes: dict[str, Value] = {"tenants.multi_tenant": True}
        workspace.save(changes)
        shared = workspace.data_dir / "plugins.json"
        self.assertEqual(self.open().workspace.plugins_path("x"), shared)
        workspace.save({"tenants.multi_tenant": False})
        (workspace.data_dir / "shards").mkdir()
        self.assertEqual(self.open().workspace.plugins_path("x"), shared)

    def test_tables_of_old_configurations(self) -> None:
        """``[[plugins]]`` of config.toml move to the file, unless that has plugins already."""
        self.open()
        tables = (
            '\n# mine\n[[plugins]]\nenabled = true\nname = "hook"\n'
            '[plugins.config]\ntype = "http"\nendpoint = "e"\n'
            '[[plugins]]\nenabled = true\nconfig = { type = "grpc" }\n'
        )
        text = self.config_path.read_text()
        self.config_path.write_text(text + tables)
        workspace = self.open().workspace
        hook, old = PluginFile(workspace.plugins_path("default")).load()
        self.assertEqual(hook, parse_entry(HOOK))
        self.assertEqual(old.label, "grpc")
        after = tomllib.loads(self.config_path.read_text())
        self.assertEqual(after, tomllib.loads(text))
        self.config_path.write_text(text + tables.replace("hook", "late"))
        self.open()
        self.assertNotIn("late", self.config_path.read_text())
        self.assertEqual(PluginFile(workspace.plugins_path("default")).load(), [hook, old])
