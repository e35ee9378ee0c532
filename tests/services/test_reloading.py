"""The configuration of a running server: all of a change, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import TestCase

from eventdbx.application.admission import Admission
from eventdbx.application.attempts import Attempts
from eventdbx.application.token_keys import signing_key, verification_keys
from eventdbx.application.tokens import Verifier, issue
from eventdbx.config import Config
from eventdbx.errors import ConfigError, EventDBXError, TokenExpired
from eventdbx.services.reloading import LiveConfiguration, Step, at_once, judging
from eventdbx.services.workspace import open_workspace


def run_now(work: Callable[[], Any]) -> Deferred[Any]:
    try:
        return succeed(work())
    except EventDBXError as error:
        return fail(error)


class Place(TestCase):
    """A workspace with a configuration in force."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.workspace, config = open_workspace(environ={"HOME": str(self.home)}, cwd=self.home)
        self.live = LiveConfiguration(
            config, self.workspace, run_slowly=run_now, report=lambda: succeed({})
        )
        self.done: list[str] = []

    def edit(self, old: str, new: str) -> None:
        path = self.workspace.config_path
        self.assertIn(old, path.read_text())
        path.write_text(path.read_text().replace(old, new))

    def part(self, name: str) -> Callable[[Config, Config], Step]:
        def prepare(_old: Config, new: Config) -> Step:
            if new.page_limit == 666:
                raise ConfigError(f"{name} cannot")
            done = self.done.append
            return Step(lambda: done(f"{name} {new.page_limit}"), lambda: done(f"{name} back"))

        return prepare


class Reloading(Place):
    """Reading the file again."""

    async def test_in_force(self) -> None:
        """Live keys are in force for every part; the others are named until the restart."""
        self.live.parts += [self.part("a"), at_once(lambda new: self.done.append("b"))]
        self.edit("page_limit = 1000", "page_limit = 50")
        self.edit("port = 7070", "port = 7077")
        reloaded = await self.live.reload()
        self.assertEqual(reloaded, (("page_limit",), ("port",)))
        self.assertEqual(self.done, ["a 50", "b"])
        config = self.live.config
        self.assertEqual((config.page_limit, config.port), (50, 7070))
        self.assertEqual(self.live.waiting(), ("port",))
        self.assertEqual((await self.live.reload()).restart_required, ("port",))

    async def test_refused_by_one_part(self) -> None:
        """If one part cannot, those before it let go, and nothing is in force."""
        waiting: Deferred[Step] = Deferred()
        self.live.parts += [
            lambda _old, _new: Step(lambda: None, lambda: self.done.append("first back")),
            lambda _old, _new: waiting,
            self.part("last"),
        ]
        self.edit("page_limit = 1000", "page_limit = 666")
        reloading = self.live.reload()
        self.assertNoResult(reloading)
        waiting.callback(Step(lambda: None, lambda: self.done.append("second back")))
        self.assertIn("last cannot", self.failureResultOf(reloading).getErrorMessage())
        self.assertEqual(self.done, ["first back", "second back"])
        self.assertEqual(self.live.config.page_limit, 1000)

    async def test_one_after_the_other(self) -> None:
        """Two changes at once come one after the other, and both count."""
        waiting: list[Deferred[Step]] = [Deferred(), Deferred()]
        queue = iter(waiting)
        self.live.parts.append(lambda _old, _new: next(queue))
        first = self.live.change({"page_limit": 50})
        second = self.live.change({"list_page_size": 5})
        waiting[1].callback(Step(lambda: self.done.append("second")))
        self.assertNoResult(second)
        waiting[0].callback(Step(lambda: self.done.append("first")))
        await first
        await second
        self.assertEqual(self.done, ["first", "second"])
        self.assertEqual((self.live.config.page_limit, self.live.config.list_page_size), (50, 5))

    async def test_unreadable(self) -> None:
        """A file that does not parse leaves all as it was."""
        self.live.parts.append(self.part("a"))
        self.workspace.config_path.write_text("port = \n")
        error = self.failureResultOf(self.live.reload()).value
        self.assertIn("TOML parse error", str(error))
        self.assertEqual((self.done, self.live.config.page_limit), ([], 1000))


class Changing(Place):
    """Saving and putting into force in one."""

    async def test_saved(self) -> None:
        """A change is in the file and in force."""
        reloaded = await self.live.change({"page_limit": 50, "log.level": "debug"})
        self.assertEqual(reloaded.changed, ("page_limit", "log.level"))
        self.assertEqual(self.workspace.read().page_limit, 50)
        self.assertEqual(self.live.configuration()["log"]["level"], "debug")

    async def test_not_saved(self) -> None:
        """What a part refuses, or what is wrong, is not saved."""
        self.live.parts.append(self.part("a"))
        before = self.workspace.config_path.read_text()
        for changes in ({"page_limit": 666}, {"page_limit": 0}, {"page_limitz": 1}):
            error = self.failureResultOf(self.live.change(changes)).value
            self.assertIsInstance(error, ConfigError)
        self.assertEqual(self.workspace.config_path.read_text(), before)

    async def test_file_that_cannot_be_written(self) -> None:
        """When saving fails, what was made ready is let go of, and nothing is in force."""
        self.live.parts.append(self.part("a"))

        def folder_gone(_old: Config, _new: Config) -> Step:
            folder = self.workspace.config_path.parent
            folder.rename(folder.with_name("elsewhere"))
            return Step(lambda: None)

        self.live.parts.append(folder_gone)
        error = self.failureResultOf(self.live.change({"page_limit": 50})).value
        self.assertIsInstance(error, EventDBXError)
        self.assertEqual((self.done, self.live.config.page_limit), (["a back"], 1000))

    async def test_remotes(self) -> None:
        """Remotes that are stored are in force at once."""
        created, document = await self.live.put_remote("a", "h", None, "TOKEN")
        self.assertTrue(created)
        self.assertEqual(self.live.remotes(), {"a": document})
        self.assertEqual(self.live.config.remotes[0].endpoint, "tcp://h:6363")
        self.assertTrue(await self.live.delete_remote("a"))
        self.assertEqual(self.live.config.remotes, ())


class Judging(Place):
    """The terms of tokens."""

    async def test_terms(self) -> None:
        """Clock skew and patience with strangers count for tokens that are known already, too."""
        auth = self.live.config.auth
        token = issue(
            signing_key(auth), issuer=auth.issuer, audience=auth.audience, jti="j",
            now_s=1_000, ttl_s=60, subject="s", group="g", user="u", actions=["*.*"],
            resources=["*"], issued_by="test",
        )  # fmt: skip
        keys = verification_keys(self.live.config)
        verifier = Verifier(
            keys, auth.issuer, auth.audience, 30, lambda: 1_080.0, lambda _jti: False
        )
        admission = Admission(verifier, Attempts(lambda: 0.0, 10))
        self.live.parts.append(judging(admission))
        self.assertEqual(admission.verify(token, "").jti, "j")
        await self.live.change({"auth.clock_skew_secs": 5, "auth.failures_per_minute": 3})
        self.assertRaises(TokenExpired, admission.verify, token, "")
        self.assertEqual(admission.attempts.per_minute, 3)

    async def test_key_that_is_none(self) -> None:
        """A signing key that is no key is refused, and the present one goes on."""
        admission = Admission(
            Verifier([], "i", "a", 0, lambda: 0.0, lambda _jti: False), Attempts(lambda: 0.0, 10)
        )
        self.live.parts.append(judging(admission))
        key = self.live.config.auth.public_key
        assert key is not None
        self.edit(f'public_key = "{key}"', 'public_key = "no key"')
        self.assertIsInstance(self.failureResultOf(self.live.reload()).value, ConfigError)
        self.assertEqual(self.live.config.auth.public_key, key)
