"""``dbx remote``: remotes added, listed, shown and removed."""

from __future__ import annotations

from tests.surfaces.command_line import CommandLineCase

TOKEN = "aaaa1111.bbbb2222.cccc3333"


class Remotes(CommandLineCase):
    """Remotes of an installation."""

    def test_life(self) -> None:
        """A remote is added, replaced on request, listed, shown and removed."""
        self.assertEqual(self.dbx("remote", "ls").stdout, "(no remotes configured)\n")
        self.assertEqual(self.dbx("remote", "ls", "--json").document, {})
        self.assertEqual(
            self.dbx("remote", "add", "standby", "10.10.0.5", "--token", TOKEN).stdout,
            "Remote 'standby' resolved '10.10.0.5' to endpoint tcp://10.10.0.5:6363 "
            "with token aaaa…3333\n",
        )
        self.assertEqual(
            self.dbx("remote", "show", "standby").stdout,
            "name: standby\nendpoint: tcp://10.10.0.5:6363\ntoken: <encrypted>\n",
        )
        again = ("remote", "add", "standby", "10.10.0.6", "--token-env", "STANDBY")
        said = "remote 'standby' already exists (use --replace to overwrite)"
        self.assertIn(said, self.failed(*again))
        self.assertIn("with token <env:STANDBY>", self.dbx(*again, "--replace").stdout)
        self.assertEqual(self.dbx("remote", "ls").stdout, "standby tcp://10.10.0.6:6363\n")
        shown = self.dbx("remote", "show", "standby", "--json").document
        self.assertEqual(self.dbx("remote", "ls", "--json").document, {"standby": shown})
        self.assertEqual(self.dbx("remote", "rm", "standby").stdout, "Removed remote 'standby'\n")
        for command in ("rm", "show"):
            said = self.failed("remote", command, "standby")
            self.assertIn("no remote named 'standby' is configured", said)

    def test_ports(self) -> None:
        """The port is that of the option, else that of the target, else the usual one."""
        for target, port, endpoint in (
            ("h", None, "tcp://h:6363"),
            ("h:7001", None, "tcp://h:7001"),
            ("h:7001", "7002", "tcp://h:7002"),
            ("[::1]", "7002", "tcp://[::1]:7002"),
            ("[::1]:7001", None, "tcp://[::1]:7001"),
            ("[::1]:7001", "7002", "tcp://[::1]:7002"),
        ):
            more = () if port is None else ("--port", port)
            words = ("remote", "add", "a", target, "--token-env", "X", "--replace", *more)
            self.assertIn(f"to endpoint {endpoint} with", self.dbx(*words).stdout)

    def test_refused(self) -> None:
        """Wrong remotes are refused in the words of earlier releases; no token is repeated."""
        for words, said in (
            (("", "h", "--token", TOKEN), "remote name cannot be empty"),
            (("a", "", "--token", TOKEN), "remote target cannot be empty"),
            (("a", "tcp://h", "--token", TOKEN), "must not include a protocol scheme"),
            (("a", "u@h:o/d.dbx", "--token", TOKEN), "when using a locator target"),
            (("a", "u@h:o/d.dbx"), "locators are not resolved"),
            (("a", "h", "--token", TOKEN, "--port", "0"), "port must be greater than zero"),
            (("a", "h"), "either --token or --token-env must be provided"),
            (("a", "h", "--token", ""), "token cannot be empty"),
            (("a", "h", "--token", "hush"), "token must be a JWT with three segments"),
            (("a", "h", "--token-env", "a b"), "token_env must be the name of a variable"),
            (("schema", "h", "--token", TOKEN), "cannot be named 'schema'"),
        ):
            text = self.failed("remote", "add", *words)
            self.assertIn(said, text)
            self.assertNotIn("hush", text)
        self.assertEqual(self.dbx("remote", "ls", "--json").document, {})

    def test_in_the_trail(self) -> None:
        """Who adds and removes remotes leaves word of it, without the token."""
        self.dbx("remote", "add", "a", "h", "--token", TOKEN)
        self.dbx("remote", "rm", "a")
        self.dbx("aggregate", "create", "order", "o-1", "--event", "order_made")
        listed = self.dbx("audit", "log", "--json")
        found = {(one["event"], one["resource"], one["way"]) for one in listed.document}
        self.assertLessEqual(
            {
                ("remote_stored", "a", "dbx remote add"),
                ("remote_removed", "a", "dbx remote rm"),
            },
            found,
        )
        self.assertNotIn("bbbb2222", listed.stdout)
