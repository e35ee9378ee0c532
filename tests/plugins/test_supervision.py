"""The life of a child: how it is started, what it inherits, when it is started again, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from eventdbx.errors import ConfigError
from eventdbx.plugins import supervision
from eventdbx.plugins.interfaces import DeliveryFailed
from tests.plugins.children import ACKING, READING, ChildCase, failure_of, send


def alive(pid: int) -> bool:
    """Say whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Launching(ChildCase):
    """What a program finds when it begins."""

    async def test_secrets_of_the_server_stay_there(self) -> None:
        """The child inherits the environment without keys and tokens, and learns where it is."""
        self.environ |= {
            "HOME": "/nowhere",
            "EVENTDBX_DATA_ENCRYPTION_KEY": "k",
            "EVENTDBX_DEK": "k",
            "EVENTDBX_AUTH_PRIVATE_KEY": "k",
            "EVENTDBX_TOKEN": "t",
            "EVENTDBX_PLUGIN_ACK": "1",
        }
        program = """
for key in sorted(os.environ):
    if key.startswith("EVENTDBX_") or key in ("HOME", "ADDED"): note(key + "=" + os.environ[key])
note(os.getcwd()); note(str(sys.argv[1:])); note(str(os.getsid(0) == os.getpid()))
while True: read()
"""
        (self.root / "inside").mkdir()
        delivery = self.process(
            program,
            args=("--port", "8080"),
            env={"ADDED": "yes", "EVENTDBX_TOKEN": "its own"},
            working_dir="inside",
        )
        await send(delivery)
        await self.until(lambda: len(self.notes()) == 10)
        pid_file = self.root / "run" / "relay.pid"
        self.assertEqual(
            self.notes(),
            [
                "ADDED=yes",
                "EVENTDBX_CONTROL_ADDR=127.0.0.1:6363",
                "EVENTDBX_DOMAIN=default",
                f"EVENTDBX_PLUGIN_NAME={delivery.child.name}",
                f"EVENTDBX_PLUGIN_PID_FILE={pid_file}",
                "EVENTDBX_TOKEN=its own",
                "HOME=/nowhere",
                str(self.root / "inside"),
                "['--port', '8080']",
                "True",
            ],
        )

    async def test_acknowledged_mode_is_told(self) -> None:
        """A program learns from its environment that its answers are read."""
        delivery = self.process("note(os.environ['EVENTDBX_PLUGIN_ACK'])" + ACKING, ack=True)
        await send(delivery)
        self.assertEqual(self.notes()[0], "1")

    async def test_limits_hold(self) -> None:
        """Memory and open files of the child are bounded by the system."""
        program = """
import resource
note(str(resource.getrlimit(resource.RLIMIT_AS)))
note(str(resource.getrlimit(resource.RLIMIT_NOFILE)))
while True: read()
"""
        delivery = self.process(program, memory_mb=512, open_files=32)
        await send(delivery)
        self.assertEqual(self.notes(), [str((512 << 20, 512 << 20)), str((32, 32))])

    async def test_an_unknown_user(self) -> None:
        """A user that does not exist is named."""
        delivery = self.process(READING, user="nobody-of-that-name")
        failed = await failure_of(send(delivery))
        self.assertIn("there is no user 'nobody-of-that-name'", failed.reason)

    async def test_files_say_that_it_runs(self) -> None:
        """Scripts find the pids of the child and of the server, as long as they are true."""
        delivery = self.process(READING, domain="sales/east")
        pid, already = await delivery.child.start()
        self.assertFalse(already)
        run = self.root / "run"
        self.assertEqual((run / "sales_east.relay.pid").read_text(), f"{pid}\n")
        self.assertEqual((run / "sales_east.relay.worker").read_text(), f"{os.getpid()}\n")
        self.assertEqual(await delivery.child.start(), (pid, True))
        await delivery.close()
        self.assertEqual(list(run.iterdir()), [])
        self.assertFalse(alive(pid))

    async def test_a_child_of_a_killed_server_is_ended_first(self) -> None:
        """Never two children of one plugin: one that was left behind goes before the next comes."""
        delivery = self.process(ACKING, ack=True, speed=10, timeout_s=300)
        marks = {
            "EVENTDBX_PLUGIN_NAME": "relay",
            "EVENTDBX_PLUGIN_PID_FILE": str(self.root / "run" / "relay.pid"),
        }
        sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
        left = subprocess.Popen(sleeping, env=marks, start_new_session=True)
        self.addCleanup(left.kill)
        (self.root / "run").mkdir()
        (self.root / "run" / "relay.pid").write_text(f"{left.pid}\n")
        delivered = send(delivery)
        await self.until(lambda: left.poll() is not None)
        self.assertEqual(left.returncode, -signal.SIGTERM)
        await delivered

    async def test_a_stranger_with_an_old_pid_is_left_alone(self) -> None:
        """A pid that belongs to somebody else by now is nobody's business."""
        delivery = self.process(ACKING, ack=True)
        sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
        stranger = subprocess.Popen(sleeping, start_new_session=True)
        self.addCleanup(stranger.wait)
        self.addCleanup(stranger.kill)
        (self.root / "run").mkdir()
        (self.root / "run" / "relay.pid").write_text(f"{stranger.pid}\n")
        await send(delivery)
        self.assertIsNone(stranger.poll())


class Restarting(ChildCase):
    """When a child is started again, and when no longer."""

    async def test_a_crash_loop_ends(self) -> None:
        """After many failures in a row the child stays down, and it is said how to go on."""
        delivery = self.process("note('born'); sys.exit('no table')", speed=1000, ageing=False)
        delivery.child.ensure()
        await self.until(lambda: delivery.child.held)
        self.assertEqual(len(self.notes()), supervision.CRASHES_MAX)
        state = delivery.child.state()
        self.assertEqual((state["running"], state["stopped"]), (False, True))
        failed = await failure_of(send(delivery))
        self.assertIn(
            "plugin 'relay' was stopped after 15 failures in a row, the last: exited with status 1 "
            "(no table); 'dbx plugin start relay' starts it again",
            failed.reason,
        )
        await delivery.child.start()
        await self.until(lambda: len(self.notes()) > supervision.CRASHES_MAX)

    async def test_progress_ends_a_row_of_failures(self) -> None:
        """A child that is killed often, but works in between, is started again each time."""
        delivery = self.process(ACKING, ack=True, speed=500, timeout_s=5000, ageing=False)
        for _ in range(supervision.CRASHES_MAX + 2):
            await send(delivery)
            pid = delivery.child.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await self.until(lambda pid=pid: delivery.child.pid != pid)
        self.assertIsNone(delivery.child.held)

    async def test_what_a_child_leaves_behind_is_ended(self) -> None:
        """Processes that a crashed child had started go with it."""
        program = """
left = os.fork()
if left == 0:
    time.sleep(60)
note(str(left))
os.kill(os.getpid(), 9)
"""
        delivery = self.process(program, timeout_s=0.9)
        failed = await failure_of(send(delivery))
        self.assertIn("was ended by SIGKILL", failed.reason)
        left = int(self.notes()[0])
        await self.until(lambda: not alive(left) or _is_zombie(left))


def _is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        return stat.read().rsplit(")", 1)[1].split()[0] == "Z"


class Stopping(ChildCase):
    """The end of a child, asked for."""

    async def test_the_end_of_its_input_is_enough(self) -> None:
        """A child that ends with its input is not signalled."""
        program = """
signal.signal(signal.SIGTERM, lambda *_: note("signalled"))
while sys.stdin.buffer.read(1): pass
note("ended")
"""
        delivery = self.process(program)
        pid, _ = await delivery.child.start()
        await self.until(lambda: "started" in self.output())
        self.assertEqual(await delivery.child.stop(), pid)
        self.assertEqual(self.notes(), ["ended"])
        self.assertIn("exited with status 0", self.output())

    async def test_a_child_that_does_not_end_is_ended(self) -> None:
        """First the end of its input, then a signal that it can ignore, then one that it cannot."""
        program = """
signal.signal(signal.SIGTERM, lambda *_: note("signalled"))
note("born")
while True: time.sleep(1)
"""
        delivery = self.process(program, speed=20)
        pid, _ = await delivery.child.start()
        await self.until(self.notes)
        self.assertEqual(await delivery.child.stop(), pid)
        self.assertEqual(self.notes(), ["born", "signalled"])
        self.assertIn("was ended by SIGKILL", self.output())
        self.assertFalse(alive(pid))

    async def test_a_stopped_child_stays_down(self) -> None:
        """Deliveries fail and say why, until somebody starts it."""
        delivery = self.process(ACKING, ack=True)
        await send(delivery)
        await delivery.child.stop()
        failed = await failure_of(send(delivery))
        self.assertEqual(failed.reason, "configuration error: plugin 'relay' was stopped")
        self.assertTrue(failed.unavailable)
        self.assertIsNone(await delivery.child.stop())
        self.assertEqual(delivery.held, "its process was stopped")
        await delivery.child.start()
        await send(delivery)

    async def test_a_child_runs_with_the_server(self) -> None:
        """The program runs before the first event, whether or not one ever comes."""
        delivery = self.process(READING)
        delivery.begin()
        await self.until(lambda: self.notes() == ["0 0 False"])
        self.assertIsNone(delivery.held)

    async def test_starting_while_it_stops(self) -> None:
        """A child that is wanted again before it is gone comes back after that."""
        program = "note('born')\nwhile sys.stdin.buffer.read(1): pass\ntime.sleep(0.2)"
        delivery = self.process(program)
        first, _ = await delivery.child.start()
        await self.until(self.notes)
        stopped = delivery.child.stop()
        second, already = await delivery.child.start()
        self.assertEqual(await stopped, first)
        self.assertNotEqual(first, second)
        self.assertFalse(already)

    async def test_a_start_that_fails_says_why(self) -> None:
        """Whoever starts a program that is missing gets the reason."""
        self.installed = False
        delivery = self.process(READING)
        with self.assertRaisesRegex(ConfigError, "is not installed"):
            await delivery.child.start()

    async def test_closing_ends_what_waits(self) -> None:
        """No delivery outlives its plugin."""
        delivery = self.process("while True: time.sleep(1)", ack=True, speed=20)
        delivered = send(delivery)
        await self.until(lambda: delivery.child.up)
        await delivery.close()
        with self.assertRaises(DeliveryFailed):
            await delivered
