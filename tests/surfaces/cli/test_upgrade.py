"""``dbx upgrade``: the command of whatever installed the program, and what the index has."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from eventdbx import __version__
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.main import main
from eventdbx.surfaces.cli.upgrade import index as upgrade_index
from eventdbx.surfaces.cli.upgrade.tags import checked_tag, order_of
from eventdbx.surfaces.cli.upgrade.ways import Installation, way_to
from tests.daemon import ROOT
from tests.surfaces.cli.test_completion import read_until
from tests.surfaces.command_line import CommandLineCase


class Index:
    """An index on this machine with pages of its own; remembers what it was asked."""

    def __init__(self, body: bytes, kind: str, status: int = 200, silence_s: float = 0) -> None:
        self.asked: list[tuple[str, str | None]] = []
        index = self

        class Page(BaseHTTPRequestHandler):
            """Answers every request with the page."""

            def do_GET(self) -> None:
                """Answer."""
                index.asked.append((self.path, self.headers["Authorization"]))
                time.sleep(silence_s)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(*args: Any, **options: Any) -> Iterator[Index]:
    """Have an index for a while."""
    index = Index(*args, **options)
    try:
        yield index
    finally:
        index.close()


def page(*versions: str, yanked: str = "") -> bytes:
    """A page of the index in JSON; each version came a day after the one before."""
    files = [
        {
            "filename": f"eventdbx-{version}-py3-none-any.whl",
            "upload-time": f"2026-01-{day:02}T10:00:00Z",
            "yanked": version == yanked,
        }
        for day, version in enumerate(versions, 1)
    ]
    return json.dumps({"name": "eventdbx", "files": files}).encode()


JSON = "application/vnd.pypi.simple.v1+json"


class Ways(SynchronousTestCase):
    """How the program was installed is told from what is to be seen."""

    def seen(self, **differences: Any) -> Installation:
        """An environment of pip's in a folder of its own."""
        self.folder = Path(self.mktemp()).absolute()
        prefix = self.folder / "env"
        prefix.mkdir(parents=True)
        there = Installation(
            executable=str(prefix / "bin" / "python"),
            prefix=prefix,
            base_prefix=Path("/usr"),
            installer="pip",
            location=prefix / "lib" / "site-packages",
            editable=False,
            user_site=False,
            environ={},
            root=self.folder,
            which=lambda name: f"/usr/bin/{name}" if name == "apt-get" else None,
        )
        return there._replace(**differences)

    def test_pip(self) -> None:
        """In an environment of pip's it is pip of the very interpreter."""
        there = self.seen()
        pip = (there.executable, "-m", "pip", "install")
        self.assertEqual(way_to("3.20.0", there).command, (*pip, "--upgrade", "eventdbx==3.20.0"))
        self.assertEqual(way_to(None, there).command, (*pip, "--upgrade", "eventdbx"))
        of_user = there._replace(user_site=True)
        self.assertEqual(way_to(None, of_user).command, (*pip, "--user", "--upgrade", "eventdbx"))
        self.assertIsNone(way_to(None, there).reason)

    def test_pipx(self) -> None:
        """pipx leaves its metadata in the environment."""
        there = self.seen()
        (there.prefix / "pipx_metadata.json").touch()
        self.assertEqual(way_to(None, there).command, ("pipx", "upgrade", "eventdbx"))
        self.assertEqual(
            way_to("3.20.0", there).command, ("pipx", "install", "--force", "eventdbx==3.20.0")
        )

    def test_uv(self) -> None:
        """A tool of uv has a receipt; in other environments uv signed the package."""
        there = self.seen()
        (there.prefix / "uv-receipt.toml").touch()
        self.assertEqual(way_to(None, there).command, ("uv", "tool", "upgrade", "eventdbx"))
        there = self.seen(installer="uv")
        command = way_to("3.20.0", there).command
        self.assertEqual(command[:5], ("uv", "pip", "install", "--python", there.executable))
        self.assertEqual(command[5:], ("--upgrade", "eventdbx==3.20.0"))

    def test_system(self) -> None:
        """A package of the system is left to its package manager, and never run."""
        for there in (
            self.seen(installer="debian"),
            self.seen(installer=None, location=Path("/usr/lib/python3/dist-packages")),
        ):
            way = way_to("3.20.0", there)
            self.assertEqual((way.installed_with, way.command[1]), ("system", "apt-get"))
            self.assertIn("package manager", way.reason or "")

    def test_container(self) -> None:
        """In a container it is the image that changes, whatever installed it there."""
        there = self.seen()
        (there.root / ".dockerenv").touch()
        for container in (there, self.seen(environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})):
            way = way_to("3.20.0", container)
            self.assertEqual(way.installed_with, "container")
            self.assertIn("image", way.reason or "")
            self.assertEqual(way.command[-1], "eventdbx==3.20.0")

    def test_checkout(self) -> None:
        """Sources that it runs from are not overwritten."""
        for there in (self.seen(editable=True), self.seen(location=None)):
            self.assertIn("sources", way_to(None, there).reason or "")


class Versions(SynchronousTestCase):
    """What counts as a version, and which is newer."""

    def test_tags(self) -> None:
        """A ``v`` is added; what is no version says where it ends to be one."""
        self.assertEqual(checked_tag(" 3.16.0"), "v3.16.0")
        self.assertEqual(checked_tag("v4.0.0-rc.1"), "v4.0.0-rc.1")
        for text, cause in (
            ("nonsense", "unexpected character 'n' while parsing major version number"),
            ("3", "unexpected end of input while parsing major version number"),
            ("3.1.x", "unexpected character 'x' while parsing patch version number"),
        ):
            failure = self.assertRaises(Failure, checked_tag, text)
            self.assertEqual((failure.message, failure.causes),
                             (f"invalid version tag 'v{text}'", (cause,)))  # fmt: skip
        failure = self.assertRaises(Failure, checked_tag, "1.13.1")
        self.assertIn("minimum supported version is v1.13.2", failure.message)

    def test_order(self) -> None:
        """Candidates come before their release, later fixes after it."""
        ordered = ["1.9.0", "1.10.0rc1", "1.10.0", "1.10.0.post1", "1.10.1", "2.0a1", "2.0"]
        self.assertEqual(sorted(set(ordered), key=order_of), ordered)


class UpgradeTests(CommandLineCase):
    """The commands."""

    def setUp(self) -> None:
        super().setUp()
        for name in [one for one in os.environ if one.startswith("PIP_")]:
            del os.environ[name]
        os.environ["PIP_CONFIG_FILE"] = os.devnull

    def asked(self, index: Index, *words: str) -> Any:
        """Run a command with that index; return its document."""
        os.environ["PIP_INDEX_URL"] = f"http://user:s3cret@{index.host}/simple/"
        ended = self.dbx(*words)
        self.assertNotIn("s3cret", ended.stdout)
        return ended.document

    def test_list(self) -> None:
        """The index is asked once, as pip is configured, and yanked versions are left out."""
        with serving(
            page("0.0.1", __version__, "3.1.0rc1", "3.1.0", yanked="0.0.1"), JSON
        ) as index:
            listed = self.asked(index, "upgrade", "list", "--json")
            self.assertEqual([one["tag"] for one in listed],
                             ["v3.1.0", "v3.1.0rc1", f"v{__version__}"])  # fmt: skip
            self.assertEqual(index.asked, [("/simple/eventdbx/", "Basic dXNlcjpzM2NyZXQ=")])
            self.assertEqual(
                listed[2],
                {
                    "tag": f"v{__version__}", "name": f"eventdbx {__version__}",
                    "published_at": "2026-01-02T10:00:00Z", "draft": False, "prerelease": False,
                    "html_url": f"http://{index.host}/project/eventdbx/{__version__}/",
                    "installed": True, "active": True,
                },
            )  # fmt: skip
            self.assertTrue(listed[1]["prerelease"])
            self.assertEqual(len(self.asked(index, "upgrade", "list", "--json", "-n", "1")), 1)
            text = self.dbx("upgrade@list").stdout
            self.assertEqual(text.splitlines()[0], "v3.1.0  2026-01-04")
            self.assertEqual(text.splitlines()[-1], f"v{__version__}  2026-01-02  [active]")

    def test_pages_of_html(self) -> None:
        """An older index answers with links."""
        body = b'<a href="../x">eventdbx-3.2.0.tar.gz</a> <a href="y">other-9.0.tar.gz</a>'
        with serving(body, "text/html") as index:
            listed = self.asked(index, "upgrade", "list", "--json")
            self.assertEqual([(one["tag"], one["published_at"]) for one in listed],
                             [("v3.2.0", None)])  # fmt: skip

    def test_pip_files(self) -> None:
        """pip's files name the index when the environment does not."""
        folder = self.home / ".config" / "pip"
        folder.mkdir(parents=True)
        del os.environ["PIP_CONFIG_FILE"]
        os.environ.pop("XDG_CONFIG_HOME", None)
        with serving(page("3.3.0"), JSON) as index:
            (folder / "pip.conf").write_text(f"[global]\nindex_url = http://{index.host}/own\n")
            listed = self.dbx("upgrade", "list", "--json").document
            self.assertEqual(listed[0]["tag"], "v3.3.0")
            self.assertEqual(index.asked, [("/own/eventdbx/", None)])
        os.environ["PIP_NO_INDEX"] = "1"
        self.assertIn("pip is configured to use no package index", self.failed("upgrade", "list"))

    def test_offline(self) -> None:
        """Without an index there is one clear error, and the secret of its address is not in it."""
        os.environ["PIP_INDEX_URL"] = "http://user:s3cret@127.0.0.1:9/simple"
        text = self.failed("upgrade", "list")
        self.assertEqual(
            text,
            "Error: failed to ask the package index http://127.0.0.1:9/simple\n\n"
            "Caused by:\n    Connection refused\n",
        )
        os.environ["EVENTDBX_EXIT_CODES"] = "fine"
        self.assertEqual(self.attempt("upgrade", "list").status, 3)

    def test_odd_answers(self) -> None:
        """An index that answers with something else is told from one without our package."""
        for body, kind, status, words in (
            (b"{}", JSON, 200, "its answer is not that of a package index"),
            (b"<html>", JSON, 200, "Expecting value"),
            (b"", "text/html", 404, "it does not have eventdbx"),
            (b"", "text/html", 503, "it answers 503"),
        ):
            with serving(body, kind, status) as index:
                os.environ["PIP_INDEX_URL"] = f"http://{index.host}/simple"
                self.assertIn(words, self.failed("upgrade", "list"))

    def test_silence(self) -> None:
        """An index that says nothing is not waited for."""
        with serving(b"", JSON, silence_s=1.0) as index:
            asked = upgrade_index.configured_index(
                {"PIP_INDEX_URL": f"http://{index.host}/simple", "PIP_CONFIG_FILE": os.devnull}
            )
            failure = self.assertRaises(Failure, upgrade_index.releases, asked, patience_s=0.1)
            self.assertTrue(failure.causes)

    def test_command(self) -> None:
        """The command is printed, and nothing is run or asked."""
        os.environ["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
        for words in (("upgrade", "3.20.0"), ("upgrade", "use", "v3.20.0"), ("upgrade@3.20.0",)):
            for flag in ((), ("--print-only",)):
                ended = self.attempt(*words, *flag)
                self.assertEqual(ended.status, 0)
                self.assertTrue(ended.stdout.endswith("--upgrade eventdbx==3.20.0\n"), ended)
        self.assertTrue(self.attempt("upgrade").stdout.endswith("--upgrade eventdbx\n"))
        document = self.attempt("upgrade", "3.20.0", "--json").document
        self.assertEqual((document["tag"], document["ran"]), ("v3.20.0", False))
        self.assertEqual(document["command"][-1], "eventdbx==3.20.0")

    def test_refused(self) -> None:
        """What cannot be is said: too old, no version, both at once, two words."""
        self.assertIn("minimum supported version is v1.13.2", self.failed("upgrade", "1.0.0"))
        self.assertIn("one version is installed at a time",
                      self.failed("upgrade", "3.20.0", "--no-switch"))  # fmt: skip
        self.assertIn("unexpected arguments after 'upgrade@3.20.0'",
                      self.failed("upgrade@3.20.0", "now"))  # fmt: skip
        self.assertIn("--print-only", self.misused("upgrade", "--yes", "--print-only"))

    def test_never_here(self) -> None:
        """A container, a checkout or the system's package is not changed, not even with --yes."""
        os.environ["container"] = "podman"
        self.assertIn("the command is not run: this is a container",
                      self.failed("upgrade", "3.20.0", "--yes"))  # fmt: skip

    def test_installed(self) -> None:
        """The version that runs is the one that is installed."""
        self.assertEqual(self.dbx("upgrade", "installed").stdout, f"v{__version__}  [active]\n")
        document = self.dbx("upgrade", "installed", "--json").document
        self.assertEqual(document["versions"], [f"v{__version__}"])
        self.assertRegex(document["target"], r"^\w+-\w+-\w+")

    def test_reminders(self) -> None:
        """Suppressing works without a network, and is kept beside the default configuration."""
        self.assertEqual(self.dbx("upgrade", "--suppress", "3.16.0").stdout,
                         "Suppressing upgrade reminders for v3.16.0\n")  # fmt: skip
        path = self.home / ".eventdbx" / "upgrade-state.json"
        self.assertEqual(json.loads(path.read_text()), {"ignored_version": "v3.16.0"})
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.dbx("upgrade", "--clear-suppress").stdout,
                         "Upgrade reminders have been re-enabled.\n")  # fmt: skip
        self.assertEqual(json.loads(path.read_text()), {})


class Reminder(CommandLineCase):
    """The reminder of newer versions, which is off unless somebody wants it."""

    def terminal(self, *words: str) -> str:
        """Run a command at a terminal; return the reminder that it shows, if it does."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(err, "isatty", lambda: True)
        with redirect_stdout(out), redirect_stderr(err):
            status = main(words)
        self.assertEqual(status, 0, err.getvalue())
        return "".join(one for one in err.getvalue().splitlines() if "EventDBX v" in one)

    def remember(self, **values: Any) -> None:
        """Have asked just now."""
        path = self.home / ".eventdbx" / "upgrade-state.json"
        path.write_text(json.dumps({"last_checked": int(time.time()), **values}))

    def test_shown(self) -> None:
        """A newer version is told of at a terminal, until it is suppressed or nobody wants it."""
        os.environ.pop("DBX_NO_UPGRADE_CHECK", None)
        self.dbx("token", "bootstrap")
        self.remember(latest_known_version="v99.0.0")
        self.assertEqual(self.terminal("aggregate", "list"), "", "off by default")
        self.dbx("config", "--set", "upgrade_reminder=true")
        self.assertIn("EventDBX v99.0.0 is there", self.terminal("aggregate", "list"))
        self.assertEqual(self.attempt("aggregate", "list").stderr, "", "not without a terminal")
        self.assertEqual(self.terminal("aggregate", "list", "--json"), "")
        self.assertEqual(self.terminal("aggregate", "list", "--output=yaml"), "")
        self.dbx("upgrade", "--suppress", "99.0.0")
        self.assertEqual(self.terminal("aggregate", "list"), "")
        self.dbx("upgrade", "--clear-suppress")
        os.environ["DBX_NO_UPGRADE_CHECK"] = "1"
        self.assertEqual(self.terminal("aggregate", "list"), "")
        del os.environ["DBX_NO_UPGRADE_CHECK"]
        self.remember(latest_known_version="v0.0.1")
        self.assertEqual(self.terminal("aggregate", "list"), "", "an older one is no news")

    def test_asked_aside(self) -> None:
        """When it is time, a process of its own asks the index and remembers the answer."""
        os.environ.pop("DBX_NO_UPGRADE_CHECK", None)
        os.environ["PYTHONPATH"] = str(ROOT)
        os.environ["PIP_CONFIG_FILE"] = os.devnull
        self.dbx("config", "--set", "upgrade_reminder=true")
        path = self.home / ".eventdbx" / "upgrade-state.json"
        with serving(page("98.0.0", "99.0.0rc1"), JSON) as index:
            os.environ["PIP_INDEX_URL"] = f"http://{index.host}/simple"
            self.assertEqual(self.terminal("aggregate", "list"), "")
            until = time.monotonic() + 30
            while not path.exists() or "98.0.0" not in path.read_text():
                self.assertLess(time.monotonic(), until, "nothing is remembered")
                time.sleep(0.02)
            self.assertIn("EventDBX v98.0.0 is there", self.terminal("aggregate", "list"))
            self.assertEqual(len(index.asked), 1)


class Run(SynchronousTestCase):
    """The command itself, once it is confirmed."""

    def test_run(self) -> None:
        """With --yes it runs with this terminal, and its failure is ours."""
        from eventdbx.surfaces.cli.upgrade.command import _ran
        from eventdbx.surfaces.cli.upgrade.ways import Way

        mark = Path(self.mktemp()).absolute()
        program = shutil.which("touch") or "touch"
        self.assertTrue(_ran(Way("pip", (program, str(mark)))))
        self.assertTrue(mark.exists())
        failure = self.assertRaises(
            Failure, _ran, Way("pip", (sys.executable, "-c", "raise SystemExit(3)"))
        )
        self.assertEqual(failure.message, "pip ended with status 3")
        failure = self.assertRaises(Failure, _ran, Way("pipx", ("no-such-program-here",)))
        self.assertIn("cannot run no-such-program-here", failure.message)

    def test_confirmed(self) -> None:
        """At a terminal the word is asked for; any other cancels. Without one nothing is run."""
        program = (
            "from eventdbx.surfaces.cli.upgrade.command import _confirmed; print(_confirmed())"
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        for word, words in (("upgrade", "True"), ("yes", "Upgrade cancelled.\r\nFalse")):
            leader, follower = pty.openpty()
            self.addCleanup(os.close, leader)
            asking = subprocess.Popen(
                [sys.executable, "-c", program], stdin=follower, stdout=follower, env=environment
            )
            os.close(follower)
            read_until(leader, 'Type "upgrade" to run this command: ')
            os.write(leader, f"{word}\n".encode())
            read_until(leader, words)
            self.assertEqual(asking.wait(30), 0)
        done = subprocess.run(
            [sys.executable, "-c", program], input="upgrade\n", capture_output=True, text=True,
            env=environment, check=True, timeout=60,
        )  # fmt: skip
        self.assertEqual(done.stdout, "False\n")
