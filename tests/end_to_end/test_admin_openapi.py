"""Every route of a running server, asked what its OpenAPI document promises.

schemathesis makes requests that fit the document and requests that do not. No answer may be a
5xx, and none may be missing in the document.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Workspace, free_port, outside

SECONDS_MAX = 120
CONFIGURATION = """
[headers]
Authorization = "Bearer {token}"

[checks]
negative_data_rejection.expected-statuses = [
    400, 401, 403, 404, 405, 409, 412, 413, 414, 415, 422, 428, 429, 431
]
"""


class PromisesTests(SynchronousTestCase):
    """The whole API from outside."""

    def test_no_surprises(self) -> None:
        """Whatever is sent, the answer is one that the document shows, and none is a 5xx."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        server = Workspace(Path(folder.name) / "database")
        port = free_port()
        server.run(
            "config", "--admin-enabled", "true", "--admin-bind", "127.0.0.1",
            "--admin-port", str(port),
        )  # fmt: skip
        for key in (
            "admin.requests_per_second",
            "admin.requests_burst",
            "auth.failures_per_minute",
        ):
            server.run("config", "--set", f"{key}=1000000")
        server.start()
        self.addCleanup(server.stop)
        settings = Path(folder.name) / "schemathesis.toml"
        settings.write_text(CONFIGURATION.format(token=server.token))
        asked = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run",
                f"http://127.0.0.1:{port}/admin/openapi.json", "--checks", "all",
                "--exclude-checks",
                "positive_data_acceptance",  # No document can say whether a filter parses.
                "--max-examples", "2", "--phases", "coverage,fuzzing", "--seed", "5",
                "--generation-deterministic", "--no-color",
            ],
            cwd=folder.name,
            env=outside(),
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )  # fmt: skip
        found = asked.stdout.partition("= FAILURES =")[2] or asked.stdout[-4000:]
        self.assertEqual(asked.returncode, 0, found[:20_000] + asked.stderr[-1000:])
        self.assertRegex(asked.stdout, r"Tested: [5-9]\d")
        self.assertNotIn("Traceback", server.log)
