"""Keys by their paths: which there are, which were mistyped, and what a running server takes up."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from eventdbx.config import Config, check_changes, parse_config
from eventdbx.errors import ConfigError
from eventdbx.keys import declared, environment_names, key_at, taken_up, value_at, with_value


class Declarations(SynchronousTestCase):
    """Every key is declared once, in a way that documents can be made of."""

    def test_each_is_described(self) -> None:
        """Every key says what it is about."""
        self.assertEqual([one.path for one in declared() if not one.item.metadata["about"]], [])

    def test_variables_are_distinct(self) -> None:
        """No variable of the environment sets two keys."""
        names = [name for one in declared() for name in environment_names(one.path)]
        self.assertEqual(len(names), len(set(names)))

    def test_mistyped(self) -> None:
        """A mistyped key is answered with the nearest one there is, or with the right table."""
        for wrong, right in (
            ("page_limits", "page_limit"),
            ("auth.default_ttl", "auth.default_ttl_secs"),
            ("bootstrap_ttl_secs", "auth.bootstrap_ttl_secs"),
        ):
            error = self.assertRaises(ConfigError, key_at, wrong)
            self.assertIn(f"did you mean '{right}'?", str(error))
        error = self.assertRaises(ConfigError, check_changes, {"zzz": 1})
        self.assertNotIn("did you mean", str(error))


class UnknownInFile(SynchronousTestCase):
    """Keys of a file that mean nothing."""

    def warnings(self, text: str) -> tuple[str, ...]:
        return parse_config(text, origin="/c.toml", environ={}).warnings

    def test_warned_of(self) -> None:
        """An unknown key is passed over, and the operator is told which one was meant."""
        self.assertEqual(
            self.warnings("page_limits = 5\n[auth]\nissuers = 'a'\n[remotes.a]\nendpont = 'b'\n"),
            (
                "unknown configuration key 'page_limits' in /c.toml; did you mean 'page_limit'?",
                "unknown configuration key 'auth.issuers' in /c.toml; did you mean 'auth.issuer'?",
                "unknown configuration key 'remotes.a.endpont' in /c.toml",
            ),
        )

    def test_other_versions(self) -> None:
        """Keys that other versions have are no mistakes."""
        text = (
            "memory_threshold = 5\napi_mode = 'rest'\nmaster_key = 'x'\n"
            "[admin]\nmaster_key_hash = 'h'\n[replication]\nidentity_key = 'k'\n"
            "[remotes.a]\nendpoint = 'tcp://h:1'\npublic_key = 't'\n"
        )
        self.assertEqual(self.warnings(text), ())


class TakenUp(SynchronousTestCase):
    """What a running server makes of a changed configuration."""

    def test_live_and_not(self) -> None:
        """Live keys count at once; the others wait, and are named again each time."""
        old = Config()
        new = with_value(replace(old, page_limit=500, port=8080), "auth.default_ttl_secs", 60)
        taken = taken_up(old, new)
        self.assertEqual(taken.changed, ("page_limit", "auth.default_ttl_secs"))
        self.assertEqual(taken.restart_required, ("port",))
        self.assertEqual(taken.config.port, old.port)
        self.assertEqual(value_at(taken.config, "auth.default_ttl_secs"), 60)
        self.assertEqual(taken_up(taken.config, new), (taken.config, (), ("port",)))

    def test_admin_api_that_is_turned_on(self) -> None:
        """Where the Admin API listens can be said together with turning it on, not later."""
        off = Config()
        on = with_value(with_value(off, "admin.enabled", True), "admin.port", 7070)
        taken = taken_up(off, on)
        self.assertEqual(taken.changed, ("admin.enabled", "admin.port"))
        moved = taken_up(taken.config, with_value(on, "admin.port", 7171))
        self.assertEqual((moved.changed, moved.restart_required), ((), ("admin.port",)))

    def test_times_of_the_file(self) -> None:
        """That a file was saved again is no change."""
        taken = taken_up(Config(), Config(updated_at="2026-01-02T03:04:05Z"))
        self.assertEqual((taken.changed, taken.restart_required), ((), ()))
