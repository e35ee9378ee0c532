"""The first five minutes with EventDBX, run for you: ``make quickstart``.

Makes a workspace in a new folder, starts the server there, writes the first events, reads them
back, and stops the server. Every command is printed before it runs, so that you can go on by
hand in the same folder. Needs nothing but the installed package; what each command does is
explained in README.md.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DBX = Path(sys.executable).with_name("dbx")
BUILD = Path(__file__).resolve().parent.parent / "build"
USUAL_PORT = 6363
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.05

FIRST_STEPS = (
    """aggregate create patient p-001 --event patient_created """
    """--field name="Jane Doe" --field status=active""",
    """aggregate list""",
    """aggregate apply patient p-001 patient_discharged --field status=discharged""",
    """aggregate list""",
    """aggregate get patient p-001""",
    """events patient p-001""",
    """aggregate verify patient p-001""",
)


def free_port() -> int:
    """Return the usual port if nobody listens there, else one that the system chooses."""
    for port in (USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise SystemExit("no free port on 127.0.0.1")


def show(arguments: str, note: str = "") -> None:
    """Print a command as one would type it."""
    print(f"\n$ dbx {arguments}{note}", flush=True)


def run(arguments: str, folder: Path) -> None:
    """Print and run one command; the first that fails ends the tour with its exit status."""
    show(arguments)
    finished = subprocess.run([DBX, *shlex.split(arguments)], cwd=folder, check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)


def wait_until_listening(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server takes connections; show its log and give up when it does not."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(POLL_S)
    print(log.read_text(errors="replace"), file=sys.stderr)
    raise SystemExit("the server did not start; its output is above")


def stop(server: subprocess.Popen[bytes], folder: Path) -> int:
    """Stop the server as an operator does and return its exit status."""
    run("stop", folder)
    try:
        return server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return -1


def main() -> int:
    """Run the tour; the exit status is 0 only if every step succeeded."""
    BUILD.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="quickstart-", dir=BUILD))
    print(f"$ cd {os.path.relpath(folder)}")
    run("init --ttl 1d", folder)
    port = free_port()
    run(f"config --bind-addr 127.0.0.1:{port} --port 0", folder)

    log = folder / "server.log"
    show("start --foreground", " > server.log 2>&1 &")
    with log.open("wb") as output:
        server = subprocess.Popen(
            [DBX, "start", "--foreground"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_listening(port, server, log)
        run("status", folder)
        for step in FIRST_STEPS:
            run(step, folder)
        status = stop(server, folder)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    if status:
        print(log.read_text(errors="replace"), file=sys.stderr)
        print(f"the server ended with status {status}", file=sys.stderr)
        return 1
    print(
        f"\nAll done. To go on by hand:\n"
        f"  cd {os.path.relpath(folder)}\n"
        f"  export PATH={DBX.parent}:$PATH\n"
        f"  dbx start\n"
        f"  dbx --help"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
