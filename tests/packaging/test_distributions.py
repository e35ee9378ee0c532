"""The wheel and the sdist: what is in them, and that the wheel alone is enough to run a database.

Building needs no network, installing the wheel fetches its dependencies as pip does for anybody.
"""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import ROOT, Workspace, outside

SOURCES = (
    *("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NEWS.md"),
    *("CONTRIBUTING.md", "Makefile", "tox.ini", ".ci"),
    *("capnp", "twisted", "eventdbx", "docs", "newsfragments", "tests", "bench"),
)
SCHEMAS = sorted(path.name for path in (ROOT / "capnp").glob("*.capnp"))


def quiet(*command: str | Path, folder: Path) -> str:
    """Run a command that must succeed, away from the checkout, and return what it printed."""
    done = subprocess.run(
        command, cwd=folder, env=outside(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@cache
def distributions() -> tuple[Path, Path]:
    """Return a scratch folder and the folder with a wheel and an sdist, built once.

    They are built from a copy of the sources without anything that earlier builds left.
    """
    scratch = TemporaryDirectory()
    atexit.register(scratch.cleanup)
    copy = Path(scratch.name) / "sources"
    copy.mkdir()
    leftovers = shutil.ignore_patterns("__pycache__", "*.py[cod]", "*.egg-info")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=leftovers)
        else:
            shutil.copy(ROOT / name, copy)
    # The wheel is built from the sdist, so it also proves that the sdist is complete.
    quiet(sys.executable, "-m", "build", "--no-isolation", folder=copy)
    return Path(scratch.name), copy / "dist"


class Distributions(SynchronousTestCase):
    """A build of a clean copy of the sources."""

    def setUp(self) -> None:
        """Build, the first time."""
        self.folder, self.built = distributions()

    def wheel(self) -> Path:
        """Return the wheel."""
        (wheel,) = self.built.glob("*.whl")
        return wheel

    def test_wheel_contents(self) -> None:
        """The wheel holds the schemas, the twistd plugin and the type marker, and no tests."""
        names = set(zipfile.ZipFile(self.wheel()).namelist())
        wanted = {f"eventdbx/_capnp/{schema}" for schema in SCHEMAS}
        wanted |= {"twisted/plugins/eventdbx_plugin.py", "eventdbx/py.typed", "eventdbx/verify.py"}
        self.assertEqual(wanted - names, set())
        self.assertTrue(SCHEMAS)
        beside = {name.partition(".data/")[2] for name in names if ".data/" in name}
        self.assertEqual(beside, {"data/share/man/man1/dbx.1"})
        packages = {
            name.split("/")[0]
            for name in names
            if ".dist-info/" not in name and ".data/" not in name
        }
        self.assertEqual(packages, {"eventdbx", "twisted"})
        shadows = {name for name in names if name.startswith("twisted/") and "__init__" in name}
        self.assertEqual(shadows, set())

    def test_sdist_contents(self) -> None:
        """The sdist holds what is needed to build, test and read about the project."""
        (sdist,) = self.built.glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        wanted = {f"capnp/{schema}" for schema in SCHEMAS}
        wanted |= {"Makefile", "tox.ini", "README.md", "tests/test_tidy.py", "docs/quickstart.py"}
        wanted |= {".ci/run", "LICENSE", "twisted/plugins/eventdbx_plugin.py"}
        self.assertEqual(wanted - names, set())

    def test_newcomer(self) -> None:
        """In an empty folder the installed wheel runs a database from first event to clean stop."""
        home = self.folder / "environment"
        venv.create(home, with_pip=True)
        quiet(home / "bin" / "python", "-m", "pip", "install", "-q", self.wheel(), folder=home)

        workspace = Workspace(home / "empty" / "database", dbx=[home / "bin" / "dbx"])
        workspace.start()
        created = workspace.run(
            *("aggregate", "create", "patient", "p-001", "--event", "patient_created"),
            *("--field", "name=Jane Doe", "--field", "status=active"),
        )
        self.assertEqual(
            created, "aggregate_type=patient aggregate_id=p-001 version=1 archived=false\n"
        )
        self.assertIn("aggregate_id=p-001", workspace.run("aggregate", "list"))
        self.assertIn("Jane Doe", workspace.run("aggregate", "get", "patient", "p-001"))
        self.assertEqual(workspace.stop(), 0, workspace.log)
        # With the server stopped, the same commands read the store themselves.
        self.assertIn("aggregate_id=p-001", workspace.run("aggregate", "list"))

        self.assertTrue((home / "share" / "man" / "man1" / "dbx.1").is_file(), "the manual page")

        # What it exports is verified by the file that it comes with.
        workspace.run("audit", "export", "--out", "all.dbx-audit")
        workspace.run("audit", "verifier", "--out", "verify.py")
        key = json.loads(workspace.run("checkpoint", "--json"))["key"]
        words = ["verify.py", "all.dbx-audit", "--key", key]
        said = quiet(home / "bin" / "python", "-I", *words, folder=workspace.folder)
        self.assertTrue(said.endswith("PROVEN.\n"), said)

        usage = quiet(home / "bin" / "twistd", "-n", "dbx", "--help", folder=workspace.folder)
        self.assertIn("--config", usage)
        both = [
            quiet(home / "bin" / name, "--version", folder=home) for name in ("dbx", "eventdbx")
        ]
        self.assertIn("0.", both[0])
        self.assertEqual(both[0], both[1])
