"""The published Rust client ``eventdbx-client`` 1.2.1, unmodified, against a running daemon.

``python -m tests.interop.check_rust_client``, a part of ``make interop``. It is outside the suite
because it needs cargo and the Cap'n Proto compiler. What is checked is in ``rust/src/checks``; this
module starts a server in each of three ways and sees that no method of the client is left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.interop.rust_program import SOURCES, ToolMissing, build, client_sources
from tests.interop.servers import MODES, reader_token, set_up

CLIENT_TIMEOUT_S = 120.0


def public_methods(source: str) -> set[str]:
    """Return the names of the public functions in the client's ``impl EventDbxClient``."""
    body = source.split("impl EventDbxClient {", 1)[1].split("\n}\n", 1)[0]
    return set(re.findall(r"^    pub (?:async )?fn (\w+)", body, re.MULTILINE))


def uncalled() -> list[str]:
    """Return the public methods of the client that no source of the program calls."""
    client = (client_sources() / "client.rs").read_text(encoding="utf-8")
    ours = "".join(path.read_text(encoding="utf-8") for path in SOURCES.rglob("src/**/*.rs"))
    called = set(re.findall(r"(?:\.|EventDbxClient::)(\w+)\(", ours))
    return sorted(public_methods(client) - called)


def check(program: Path, mode: str, folder: Path) -> bool:
    """Run all checks against a server set up in this way; True when they pass."""
    workspace = set_up(mode, folder)
    reader = reader_token(workspace)
    workspace.start()
    try:
        done = subprocess.run(
            [program, "check"],
            env={
                **os.environ,
                "INTEROP_PORT": str(workspace.port),
                "INTEROP_MODE": mode,
                "INTEROP_ROOT": workspace.token,
                "INTEROP_READER": reader,
            },
            timeout=CLIENT_TIMEOUT_S,
            check=False,
        )
    finally:
        workspace.stop()
    return done.returncode == 0


def main() -> int:
    """Build, check in every mode, and return the exit status."""
    try:
        program = build()
    except ToolMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError:
        print("the program in tests/interop/rust does not build", file=sys.stderr)
        return 1
    problems = [f"the client's method {name} is never called" for name in uncalled()]
    with TemporaryDirectory() as folder:
        for mode in MODES:
            print(f"== eventdbx-client, {mode}", flush=True)
            if not check(program, mode, Path(folder) / mode):
                problems.append(f"{mode}: not all checks passed")
    for problem in problems:
        print(f"rust client: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
