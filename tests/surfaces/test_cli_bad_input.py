"""Bad input: one clear message, the right status, and nothing changed."""

from __future__ import annotations

import os
import resource
import subprocess

from eventdbx.storage.lock import ProcessLock
from tests.daemon import CHECKOUT_DBX, ROOT
from tests.surfaces.command_line import CommandLineCase

WRITE = "--event", "order_created"


class Refused(CommandLineCase):
    """Commands on a small database that stays as it is."""

    def setUp(self) -> None:
        super().setUp()
        self.create("order", "o-1", "--field", "total=12")
        self.before = self.everything()

    def everything(self) -> str:
        """All that a reader can see."""
        return "".join(
            self.dbx(*line).stdout
            for line in (
                ("events", "--json", "--include-archived", "--take", "100"),
                ("aggregate", "list", "--json", "--include-archived"),
                ("snapshots", "list", "--json"),
            )
        )

    def assertRefused(self, message: str, *arguments: str, stdin: str = "") -> None:
        """Check status, the whole of stderr, and that the database is as before."""
        self.assertEqual(self.failed(*arguments, stdin=stdin), f"Error: {message}\n")
        self.assertEqual(self.everything(), self.before)

    def test_unknown_aggregate(self) -> None:
        """What does not exist is not found, and not made by an event."""
        for command in ("get", "select", "replay", "verify", "archive", "restore", "remove",
                        "snapshot"):  # fmt: skip
            self.assertRefused("aggregate not found", "aggregate", command, "order", "o-9")
        self.assertRefused("aggregate not found", "snapshots", "create", "order", "o-9")
        missing = "aggregate order::o-9 does not exist"
        self.assertRefused(missing, "aggregate", "apply", "order", "o-9", "order_paid")
        self.assertRefused(missing, "aggregate", "patch", "order", "o-9", "order_changed",
                           "--patch", '[{"op":"add","path":"/a","value":1}]')  # fmt: skip

    def test_existing_aggregate(self) -> None:
        """Nothing is created twice."""
        self.assertRefused("aggregate order::o-1 already exists",
                           "aggregate", "create", "order", "o-1", *WRITE)  # fmt: skip

    def test_names(self) -> None:
        """Types, ids and event types that are none."""
        aggregate_type = "invalid schema: aggregate_type must be lowercase snake_case"
        for bad in ("Order", "my-order", "1order", "", "order\n"):
            self.assertRefused(aggregate_type, "aggregate", "create", bad, "o-2", *WRITE)
        for bad, why in (
            ("", "must not be empty"),
            (" o-2", "cannot include leading or trailing whitespace"),
            ("o:2", "may only contain letters, numbers, underscores, or hyphens"),
            ("x" * 129, "cannot exceed 128 characters"),
        ):
            self.assertRefused(f"invalid schema: aggregate_id {why}",
                               "aggregate", "create", "order", bad, *WRITE)  # fmt: skip
        for bad in ("order-created", "OrderCreated", "", "a..b", "_ref_nullify"):
            self.assertRefused(
                "invalid schema: event_type must be lowercase snake_case; "
                "dots may be used as separators",
                "aggregate", "create", "order", "o-2", "--event", bad,
            )  # fmt: skip

    def test_large_payload(self) -> None:
        """300 KiB of payload are too much; so are 70,000 bytes of metadata and a long note."""
        create = "aggregate", "create", "order", "o-2", *WRITE
        self.assertRefused(
            "invalid schema: payload_json exceeds maximum size of 262144 bytes",
            *create, "--payload", "-", stdin='{"a":"%s"}' % ("x" * 300 * 1024),
        )  # fmt: skip
        self.assertRefused("invalid schema: metadata exceeds maximum size of 65536 bytes",
                           *create, "--metadata", '{"@a":"%s"}' % ("x" * 70_000))  # fmt: skip
        self.assertRefused("note cannot exceed 128 characters", *create, "--note", "n" * 129)

    def test_malformed_json(self) -> None:
        """The option and the place of the fault are named."""
        apply = "aggregate", "apply", "order", "o-1", "order_paid"
        for option, noun in (("--payload", "payload"), ("--metadata", "metadata")):
            self.assertRefused(
                f"failed to parse JSON {noun} provided via {option}\n\nCaused by:\n"
                "    key must be a string at line 1 column 2",
                *apply, option, "{bad",
            )  # fmt: skip
        self.assertRefused(
            "failed to parse JSON value of 'n' provided via --field\n\nCaused by:\n"
            "    expected value at line 1 column 1",
            *apply, "--field", "n:=x",
        )  # fmt: skip
        self.assertRefused(
            "failed to parse JSON patch provided via --patch\n\nCaused by:\n"
            "    EOF while parsing an object at line 1 column 2",
            "aggregate", "patch", "order", "o-1", "order_changed", "--patch", "[{",
        )  # fmt: skip
        self.assertRefused("invalid schema: metadata must be a JSON object",
                           *apply, "--metadata", "5")  # fmt: skip
        self.assertRefused(
            "invalid schema: metadata key 'source' must start with '@' followed by letters, "
            "numbers, underscores, or hyphens",
            *apply, "--metadata", '{"source":1}',
        )  # fmt: skip
        self.assertRefused("--payload cannot be used together with --field",
                           *apply, "--payload", "{}", "--field", "a=1")  # fmt: skip

    def test_missing_file(self) -> None:
        """A file that is not there is named."""
        path = self.home / "none.json"
        self.assertRefused(
            f"cannot read {path} given to --payload\n\nCaused by:\n    No such file or directory",
            "aggregate", "apply", "order", "o-1", "order_paid", "--payload", f"@{path}",
        )  # fmt: skip

    def test_patches(self) -> None:
        """What a patch may not do."""
        for patch, why in (
            ("{}", "patch must be provided as a JSON array"),
            ("[]", "patch must modify at least one path"),
            ('[{"op":"move","from":"/a","path":"/b"}]', "unsupported patch operation 'move'"),
            ('[{"op":"add","path":"total","value":1}]', "patch path 'total' must start with '/'"),
            ('[{"op":"add"}]', "patch entry is missing 'path'"),
            ('[{"op":"remove","path":"/total"}]',
             "patch removed key 'total' and removals are not supported"),
            ('[{"op":"replace","path":"/nope","value":1}]',
             "failed to apply patch: Operation '/0' failed at path '/nope': path is invalid"),
        ):  # fmt: skip
            self.assertRefused(f"invalid schema: {why}", "aggregate", "patch", "order", "o-1",
                               "order_changed", "--patch", patch)  # fmt: skip

    def test_wrong_version(self) -> None:
        """An expected version that is not the present one."""
        self.assertRefused("schema violation: expected version 7, found 1", "aggregate", "apply",
                           "order", "o-1", "order_paid", "--expect-version", "7")  # fmt: skip

    def test_lists(self) -> None:
        """Filters, sorts, cursors and sizes that make no sense."""
        for message, options in (
            ("--take must be greater than zero", ("--take", "0")),
            ("invalid filter expression: who =\n\nCaused by:\n    unexpected end of filter",
             ("--filter", "who =")),
            ("invalid sort specification: invalid sort order 'up' (expected 'asc' or 'desc')",
             ("--sort", "version:up")),
        ):  # fmt: skip
            self.assertRefused(message, "aggregate", "list", *options)
            self.assertRefused(message, "events", *options)
        self.assertRefused(
            "invalid sort specification: unsupported aggregate sort field 'nope'",
            "aggregate", "list", "--sort", "nope",
        )  # fmt: skip
        self.assertRefused(
            "invalid cursor 'bad'\n\nCaused by:\n    invalid cursor: unknown cursor segment 'bad'",
            "aggregate", "list", "--cursor", "bad",
        )  # fmt: skip
        self.assertRefused(
            "invalid cursor 'a:b'; expected format a:aggregate_type:aggregate_id:version\n\n"
            "Caused by:\n    invalid cursor: cursor missing aggregate_id",
            "events", "--cursor", "a:b",
        )  # fmt: skip
        self.assertRefused(
            "--cursor can only be combined with --sort when sorting by created_at or updated_at",
            "aggregate", "list", "--sort", "version", "--cursor", "a:order:o-1",
        )  # fmt: skip
        self.assertRefused(
            "invalid cursor: timestamp cursors must use the 'ts:' prefix "
            "(ts:<field>:<order>:...)",
            "aggregate", "list", "--sort", "created_at", "--cursor", "a:order:o-1",
        )  # fmt: skip
        self.assertRefused("timestamp cursors require --sort created_at or updated_at",
                           "aggregate", "list", "--cursor", "ts:order:o-1")  # fmt: skip
        self.assertRefused("--cursor cannot be combined with --sort", "events", "--sort", "version",
                           "--cursor", "a:order:o-1:1")  # fmt: skip
        self.assertRefused("--resolve requires --json output for aggregate listings",
                           "aggregate", "list", "--resolve")  # fmt: skip

    def test_ids(self) -> None:
        """Event and snapshot ids that are none, or of nothing."""
        self.assertRefused("event 12345 not found", "events", "12345")
        self.assertRefused(
            "invalid snowflake id 'abc'\n\nCaused by:\n    invalid digit found in string",
            "events", "--event", "abc",
        )  # fmt: skip
        self.assertRefused("aggregate filters cannot be combined with --event",
                           "events", "--event", "1", "order")  # fmt: skip
        self.assertRefused("listing options cannot be combined with --event",
                           "events", "--event", "1", "--take", "1")  # fmt: skip
        self.assertRefused("event inspection cannot be combined with listing filters",
                           "events", "1", "--filter", "version = 1")  # fmt: skip
        self.assertRefused("snapshot 5 not found", "snapshots", "get", "5")
        self.assertRefused(
            "snapshot_id abc is not a valid snowflake\n\nCaused by:\n"
            "    invalid digit found in string",
            "snapshots", "get", "abc",
        )  # fmt: skip

    def test_staged_publishing(self) -> None:
        """An event that is kept for later is delivered to nobody now."""
        apply = "aggregate", "apply", "order", "o-1", "order_paid"
        self.assertRefused("--publish cannot be combined with --stage",
                           *apply, "--stage", "--publish", "mail")  # fmt: skip

    def test_locked_store(self) -> None:
        """A write names the process that holds the store; reads go on."""
        lock = ProcessLock(str(self.store / "eventdbx.lock"))
        self.addCleanup(lock.release)
        text = self.failed("aggregate", "apply", "order", "o-1", "order_paid")
        self.assertEqual(
            text,
            f"Error: storage error: event store lock at {self.store}/eventdbx.lock is held by "
            f"process {os.getpid()}; stop the running dbx instance and retry\n",
        )
        self.assertEqual(self.everything(), self.before)

    def test_full_disk(self) -> None:
        """A disk that takes nothing more fails the write, and the store stays sound."""

        def no_room() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

        done = subprocess.run(
            [*CHECKOUT_DBX, "aggregate", "apply", "order", "o-1", "order_paid", "--payload", "-"],
            input=f'{{"a":"{os.urandom(60_000).hex()}"}}',
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            preexec_fn=no_room,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertIn("storage error: ", errors[0])
        self.assertEqual(self.everything(), self.before)
        self.dbx("verify")

    def test_unreadable_config(self) -> None:
        """A broken configuration is named with file and place, and stays as it is."""
        path = self.home / ".eventdbx" / "config.toml"
        good = path.read_text()
        for text, message, lines in (
            ("port = !", "Error: serialization error: TOML parse error at line 1, column 8\n", 2),
            ('port = "x"', "port must be an integer", 1),
        ):
            path.write_text(text)
            said = self.failed("aggregate", "list")
            self.assertIn(message, said)
            self.assertIn(str(path), said)
            self.assertEqual(len(said.splitlines()), lines, said)
            self.assertEqual(path.read_text(), text)
        path.write_text(good)
        self.assertRefused(f"io error: Is a directory (os error 21)\n  reading {self.home}",
                           "--config", str(self.home), "aggregate", "list")  # fmt: skip

    def test_no_server_there(self) -> None:
        """A server that does not answer is named; the local store is not touched instead."""
        text = self.failed("--socket", "127.0.0.1:1", "aggregate", "list")
        self.assertTrue(
            text.startswith(
                "Error: failed to reach the database via running server socket 127.0.0.1:1\n\n"
                "Caused by:\n    0: failed to connect to CLI proxy at 127.0.0.1:1\n    1: "
            ),
            text,
        )
        self.assertIn("no address", self.failed("--socket", "nowhere", "aggregate", "list"))
        os.environ["EVENTDBX_EXIT_CODES"] = "fine"
        self.assertEqual(self.attempt("--socket", "127.0.0.1:1", "aggregate", "list").status, 3)


class Made(CommandLineCase):
    """What the first command makes."""

    def test_private(self) -> None:
        """Configuration and data are readable by their owner alone."""
        self.create("order", "o-1")
        for path in (self.home / ".eventdbx").iterdir():
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)
