"""The text of the configuration: what is read, refused, kept and shown."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.config import (
    Config,
    Value,
    check_changes,
    fresh_text,
    parse_config,
    shown_text,
    split_address,
    updated_text,
)
from eventdbx.errors import ConfigError, EventDBXError, SerializationError

DATA_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

OLD_FILE = """\
# kept by the operations team
port = 7070
data_dir = "/srv/eventdbx"   # on the fast disk
domain = "default"
api_mode = "rest"
restrict = "default"
created_at = "2026-01-02T03:04:05.678901234Z"

[replication]
bind_addr = "0.0.0.0:6363"

[remotes.standby1]
endpoint = "tcp://10.0.0.2:6363"
token = "secret-token"

[socket]
bind_addr = "0.0.0.0:7443"

[admin]
enabled = true
bind_addr = "0.0.0.0"
port = 7171

[auth]
issuer = "eventdbx://self"
"""


def parse(text: str, **environ: str) -> Config:
    return parse_config(text, origin="/etc/config.toml", environ=environ)


class Reading(SynchronousTestCase):
    """What a configuration file and the environment mean."""

    def test_empty_file(self) -> None:
        """Every key is optional, and a server that nobody configured is not open to the network."""
        config = parse("")
        self.assertEqual(config, Config())
        self.assertEqual(config.socket.host, "127.0.0.1")
        self.assertEqual(config.socket.port, 6363)
        self.assertEqual(config.durability, "always")

    def test_file_of_an_old_version(self) -> None:
        """A file of an older version is understood, legacy address and unknown keys included."""
        config = parse(OLD_FILE)
        self.assertEqual(config.socket.bind_addr, "0.0.0.0:6363")
        self.assertTrue(config.admin.enabled)
        self.assertEqual(config.remotes[0].name, "standby1")
        self.assertEqual(config.remotes[0].token, "secret-token")

    def test_fresh_file(self) -> None:
        """A new file holds the lines that scripts edit, and reads back as the defaults."""
        text = fresh_text(
            data_dir="/d",
            created_at="2026-01-02T03:04:05Z",
        )
        for line in ('restrict = "default"', 'domain = "default"', "port = 7070"):
            self.assertIn(line + "\n", text)
        self.assertEqual(parse(text).data_dir, "/d")
        self.assertNotIn("durability", text)

    def test_environment_beats_file(self) -> None:
        """A variable of the environment beats the file; a blank one counts as unset."""
        config = parse("port = 1\npage_limit = 20", EVENTDBX_PORT="8080", EVENTDBX_PAGE_LIMIT=" ")
        self.assertEqual((config.port, config.page_limit), (8080, 20))
        self.assertEqual(parse("", EVENTDBX_SOCKET_BIND_ADDR="[::1]:7").socket.host, "::1")
        self.assertEqual(parse("", EVENTDBX_DEK=DATA_KEY).data_encryption_key, DATA_KEY)
        self.assertTrue(parse("", EVENTDBX_NO_NOISE="1").no_noise)

    def test_environment_that_is_not_meant_for_us(self) -> None:
        """The address that Kubernetes puts into EVENTDBX_PORT and a data directory are ignored."""
        config = parse("", EVENTDBX_PORT="tcp://10.0.0.1:6363", EVENTDBX_DATA_DIR="/elsewhere")
        self.assertEqual((config.port, config.data_dir), (7070, ""))

    def test_command_line_beats_environment(self) -> None:
        """What was given on the command line beats everything."""
        config = parse_config(
            "port = 1", origin="f", environ={"EVENTDBX_PORT": "2"}, overrides={"port": 3}
        )
        self.assertEqual(config.port, 3)

    def test_schema_modes(self) -> None:
        """Schema modes have many spellings; an unknown one falls back with a warning."""
        for text, meaning in (
            ('restrict = "strict"', "strict"),
            ('restrict = "prod"', "default"),
            ("restrict = false", "off"),
            ('restrict = "tight"', "default"),
        ):
            self.assertEqual(parse(text).restrict, meaning)
        self.assertIn("tight", parse('restrict = "tight"').warnings[0])
        self.assertEqual(parse("", EVENTDB_RESTRICT="dev").restrict, "off")

    def test_values_that_always_were_moved_into_range(self) -> None:
        """Lifetimes and skews outside their range are moved into it, as older versions did."""
        config = parse("[auth]\ndefault_ttl_secs = 5\nclock_skew_secs = 9000")
        self.assertEqual((config.auth.default_ttl_secs, config.auth.clock_skew_secs), (60, 300))

    def test_wrong_values_name_key_and_file(self) -> None:
        """A wrong value is refused with the name of its key and of the file."""
        for text, key in (
            ("port = 70000", "port"),
            ('port = "x"', "port"),
            ("list_page_size = 0", "list_page_size"),
            ("list_page_size = 20\npage_limit = 10", "list_page_size"),
            ("snowflake_worker_id = 1024", "snowflake_worker_id"),
            ('[socket]\nbind_addr = "nowhere"', "socket.bind_addr"),
            ('[socket]\nbind_addr = "h:99999"', "socket.bind_addr"),
            ("socket = 3", "socket"),
            ("remotes.x = 3", "remotes.x"),
            ('data_encryption_key = "short"', "data_encryption_key"),
            ('durability = "sometimes"', "durability"),
            ("[tenants]\nshard_count = 0", "tenants.shard_count"),
            ("restrict = 7", "restrict"),
            ("no_noise = 1", "no_noise"),
        ):
            error = self.assertRaises(ConfigError, parse, text)
            self.assertIn(f"configuration error: {key} ", str(error))
            self.assertIn("/etc/config.toml", str(error))

    def test_wrong_environment_names_the_variable(self) -> None:
        """A wrong value from the environment is blamed on the variable, not on the file."""
        error = self.assertRaises(ConfigError, parse, "", EVENTDBX_PORT="many")
        self.assertEqual(
            str(error),
            "configuration error: port must be an integer (got 'many') in EVENTDBX_PORT",
        )

    def test_text_that_is_not_toml(self) -> None:
        """A syntax error is reported with line, column and file."""
        error = self.assertRaises(SerializationError, parse, "port = 1\nport 2\n")
        self.assertIn("TOML parse error at line 2, column 6\n  in /etc/config.toml: ", str(error))

    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever the file holds, reading it ends in a configuration or in one clear error."""
        try:
            parse(text)
        except EventDBXError:
            pass

    @given(st.text(max_size=20))
    def test_addresses(self, text: str) -> None:
        """An address is host and port, or refused."""
        try:
            host, port = split_address(text)
        except ValueError:
            return
        self.assertTrue(host)
        self.assertLessEqual(port, 65_535)


class Changing(SynchronousTestCase):
    """Saving touches what was changed and nothing else."""

    def test_comments_and_unknown_keys_stay(self) -> None:
        """Comments, unknown keys and tables of other versions survive a change."""
        text = updated_text(OLD_FILE, {"port": 8080, "tenants.shard_count": 4, "no_noise": True})
        self.assertIn("port = 8080\n", text)
        self.assertIn("# on the fast disk", text)
        self.assertIn('api_mode = "rest"', text)
        read = tomllib.loads(text)
        self.assertEqual(read["remotes"]["standby1"]["endpoint"], "tcp://10.0.0.2:6363")
        self.assertEqual(read["tenants"], {"shard_count": 4})
        self.assertTrue(read["no_noise"])

    def test_removal(self) -> None:
        """A key set to nothing leaves the file; removing what is not there changes nothing."""
        text = updated_text(OLD_FILE, {"api_mode": None, "log.level": None, "snapshot": None})
        self.assertEqual(text, OLD_FILE.replace('api_mode = "rest"\n', ""))

    @given(st.integers(0, 65_535), st.text(max_size=30), st.booleans())
    def test_round_trip(self, port: int, issuer: str, plain: bool) -> None:
        """What was saved is what is read again."""
        changes: dict[str, Value] = {"port": port, "auth.issuer": issuer, "no_noise": plain}
        config = parse(updated_text(OLD_FILE, changes))
        self.assertEqual((config.port, config.auth.issuer, config.no_noise), (port, issuer, plain))

    def test_checked_before_saving(self) -> None:
        """A change that the next start would refuse, or an unknown key, is refused at once."""
        for changes in (
            {"port": 70_000},
            {"restrict": "tight"},
            {"snowflake_worker_id": 2_000},
            {"data_encryption_key": "short"},
            {"socket.bind_addr": "x"},
            {"no_such_key": 1},
            {"auth.issuer": "x" * 16_385},
            {"admin.hosts": ("x",) * 1_001},
            {"admin.hosts": ("x" * 16_385,)},
            {"auth.previous_keys": ({"key_id": 5},)},
            {"auth.previous_keys": ("x",)},
            {"socket.no_such_key": 1},
        ):
            self.assertRaises(ConfigError, check_changes, changes)
        self.assertEqual(
            check_changes({"restrict": "prod", "auth.clock_skew_secs": 900, "domain": "a"}),
            {"restrict": "default", "auth.clock_skew_secs": 300, "domain": "a"},
        )


class AdminPlace(SynchronousTestCase):
    """Where the Admin API listens is looked at before a file is saved, not at the next start."""

    def test_refused(self) -> None:
        """A name is no address; a port of its own or of the main listener there has to be."""
        for wrong in ('bind_addr = "localhost"', 'bind_addr = "10.0.0.300"', "port = 0"):
            text = f"port = 0\n[admin]\nenabled = true\n{wrong}\n"
            self.assertRaises(ConfigError, parse, text)
            parse(text.replace("true", "false"))

    def test_taken(self) -> None:
        """On the main port the address is not used, and endpoints are places, too."""
        for right in (
            'port = 7070\n[admin]\nbind_addr = "localhost"\nport = 0',
            'port = 7070\n[admin]\nbind_addr = "[::1]"',
            'port = 0\n[admin]\nport = 0\nendpoints = ["unix:/run/admin.sock"]',
        ):
            parse(f"{right}\nenabled = true\n")


class Showing(SynchronousTestCase):
    """``dbx config`` without options."""

    def test_lean(self) -> None:
        """A fresh configuration shows the keys that people ask about, and no more."""
        text = shown_text(Config(data_dir="/d"))
        for part in ("port = 7070", 'data_dir = "/d"', "[socket]", "[auth]", "no_noise = false"):
            self.assertIn(part, text)
        for part in ("multi_tenant", "snapshot_threshold", "plugin_max_attempts"):
            self.assertNotIn(part, text)

    def test_changes_show(self) -> None:
        """What differs from its default is shown, in TOML that reads back."""
        text = shown_text(parse(OLD_FILE))
        read = tomllib.loads(text)
        self.assertTrue(read["admin"]["enabled"])
        self.assertIn("standby1", read["remotes"])

    def test_lists_of_tables(self) -> None:
        """Earlier keys are shown as they are written: a list of tables, beside named ones."""
        keys = '[[auth.previous_keys]]\nkey_id = "a"\npublic_key = "x"\n\n' * 2
        config = parse(keys + '[remotes.0]\nendpoint = "tcp://h:1"\n')
        for everything in (True, False):
            read = tomllib.loads(shown_text(config, everything=everything))
            shown = [{"key_id": "a", "public_key": "x"}] * 2
            self.assertEqual(read["auth"]["previous_keys"], shown)
            self.assertEqual(read["remotes"], {"0": {"endpoint": "tcp://h:1"}})
        self.assertIn("[[auth.previous_keys]]", shown_text(config, table="auth"))

    def test_secrets(self) -> None:
        """Secrets are hidden unless they are asked for."""
        config = parse(f'data_encryption_key = "{DATA_KEY}"\n' + OLD_FILE)
        self.assertNotIn(DATA_KEY, shown_text(config))
        self.assertNotIn("secret-token", shown_text(config, everything=True))
        self.assertIn('"<hidden>"', shown_text(config))
        self.assertIn(DATA_KEY, shown_text(config, secrets=True))

    def test_everything(self) -> None:
        """All keys can be listed with their values in effect."""
        read = tomllib.loads(shown_text(Config(), everything=True))
        self.assertEqual(read["plugin_queue"]["prune"]["done_ttl_secs"], 86_400)
        self.assertEqual(read["limits"]["requests_in_flight_max"], 256)
