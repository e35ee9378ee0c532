"""Deliveries to child processes: what is confirmed, what is refused, and children gone wrong."""

from __future__ import annotations

from twisted.internet.defer import gatherResults

from eventdbx import limits
from tests.plugins.children import ACKING, READING, ChildCase, failure_of, items, send


class Acknowledged(ChildCase):
    """With ``ack``, a delivery is accepted when the child says so."""

    async def test_events_come_after_init_numbered_from_one(self) -> None:
        """The child is told who it is, then gets events in order; a batch is marked as one."""
        delivery = self.process(ACKING, ack=True)
        await send(delivery)
        await send(delivery, 3)
        expected = ["0 0 False", "1 1 False", "1 2 True", "1 3 True", "1 4 False"]
        self.assertEqual(self.notes(), expected)
        self.assertTrue(delivery.child.state()["running"])

    async def test_many_deliveries_share_the_window(self) -> None:
        """No more events are unconfirmed than the entry allows."""
        program = """
seen = []
while True:
    kind, sequence, more = read()
    if kind == 1:
        seen.append(sequence)
        if len(seen) == 4:
            import select
            time.sleep(0.05)
            note(f"{len(seen)} {bool(select.select([0], [], [], 0)[0])}")
            ack(sequence)
            seen.clear()
"""
        delivery = self.process(program, ack=True, max_in_flight=4)
        await gatherResults([send(delivery) for _ in range(12)])
        self.assertEqual(self.notes(), ["4 False"] * 3)

    async def test_a_refusal_names_its_event(self) -> None:
        """Events before the refused one are accepted, and its message is the reason."""
        program = """
while True:
    kind, sequence, more = read()
    if kind == 1 and sequence == 3:
        refuse(sequence, "no such column")
    elif kind == 1 and not more:
        ack(sequence)
"""
        delivery = self.process(program, ack=True)
        failed = await failure_of(send(delivery, 5))
        self.assertEqual(
            (failed.reason, failed.accepted, failed.blames, failed.unavailable),
            ("no such column", 2, True, False),
        )
        await send(delivery)

    async def test_a_child_that_never_acks_is_restarted(self) -> None:
        """Silence fails the delivery in time, what was confirmed counts, and a new child comes."""
        program = """
first = not os.path.exists(os.path.join(HERE, "notes"))
note("born")
while True:
    kind, sequence, more = read()
    if kind == 1 and (not first or sequence == 1):
        ack(sequence)
"""
        delivery = self.process(program, ack=True, speed=20, timeout_s=10)
        failed = await failure_of(send(delivery, 3))
        self.assertEqual(
            failed.reason,
            "configuration error: plugin 'relay' did not confirm event 2 within 10 s",
        )
        self.assertEqual((failed.accepted, failed.unavailable, failed.blames), (1, True, False))
        await send(delivery, 2)
        self.assertEqual(self.notes(), ["born", "born"])
        self.assertEqual(delivery.child.state()["restarts"], 1)

    async def test_text_among_answers_is_told(self) -> None:
        """A child that prints where acks belong is told what it printed."""
        delivery = self.process("read(); print('hello', flush=True); time.sleep(60)", ack=True)
        failed = await failure_of(send(delivery))
        self.assertIn("wrote 'hello\\n' to its standard output, which is no answer", failed.reason)
        self.assertTrue(failed.unavailable)

    async def test_acks_of_events_never_sent(self) -> None:
        """Confirming ahead is a fault of the child, not a way to be done early."""
        delivery = self.process("read(); ack(1000)\nwhile True: read()", ack=True)
        failed = await failure_of(send(delivery))
        self.assertIn("answered for event 1000, which it did not get", failed.reason)

    async def test_a_child_that_closes_its_output(self) -> None:
        """Without an output no ack can come; nobody waits for one."""
        delivery = self.process("os.close(1); time.sleep(60)", ack=True)
        failed = await failure_of(send(delivery))
        self.assertIn("closed its standard output, where its acks belong", failed.reason)

    async def test_acks_of_a_dying_child_count(self) -> None:
        """What a child confirms with its last breath is confirmed."""
        delivery = self.process("read(); read(); ack(1); os.kill(os.getpid(), 9)", ack=True)
        await send(delivery)
        await self.until(lambda: not delivery.child.up)

    async def test_closing_lets_the_child_finish(self) -> None:
        """What the child has read when its input ends it may still confirm."""
        program = """
while read()[0] == 0: pass
note("read")
while sys.stdin.buffer.read(1): pass
ack(1)
"""
        delivery = self.process(program, ack=True)
        delivered = send(delivery)
        await self.until(self.notes)
        await delivery.close()
        await delivered


class Unacknowledged(ChildCase):
    """Without ``ack``, a delivery is accepted when it is written."""

    async def test_events_are_written(self) -> None:
        """Everything arrives, in order."""
        delivery = self.process(READING)
        for _ in range(3):
            await send(delivery, 2)
        await self.until(lambda: len(self.notes()) == 7)
        self.assertEqual([line.split()[1] for line in self.notes()], list("0123456"))

    async def test_a_child_that_does_not_read_is_restarted(self) -> None:
        """A full pipe fails the delivery in time; the reactor goes on, and a new child comes."""
        program = """
if not os.path.exists(os.path.join(HERE, "notes")):
    note("born")
    time.sleep(60)
note("born")
while True: read()
"""
        delivery = self.process(program, speed=20, timeout_s=10)
        failed = await failure_of(send(delivery, 10, 100_000))
        self.assertIn("did not read its standard input for 10 s", failed.reason)
        self.assertEqual((failed.unavailable, failed.accepted), (True, 0))
        await send(delivery, 10, 100_000)
        self.assertEqual(self.notes(), ["born", "born"])

    async def test_a_child_that_closes_its_input(self) -> None:
        """A closed input is told as what it is."""
        delivery = self.process("os.close(0); note('closed'); time.sleep(60)")
        delivery.child.ensure()
        await self.until(self.notes)
        failed = await failure_of(send(delivery))
        self.assertIn("closed its standard input", failed.reason)

    async def test_a_child_that_dies_at_once(self) -> None:
        """The reason has the status and the last thing that the child said."""
        delivery = self.process("sys.exit('no configuration')", timeout_s=0.9)
        failed = await failure_of(send(delivery, 10, 100_000))
        self.assertIn("plugin 'relay' exited with status 1 (no configuration)", failed.reason)
        self.assertTrue(failed.unavailable)
        self.assertLessEqual(failed.retry_after_s or 0.0, 1.0)
        again = await failure_of(send(delivery))
        self.assertIn("it is started again in", again.reason)

    async def test_a_flood_on_its_outputs_grows_nothing(self) -> None:
        """A child that writes without end is read slowly; its files stay small, events flow."""
        program = """
import threading
def flood(out):
    while True: out.write(b"x" * 99_999 + b"\\n" + b"y\\n" * 5_000)
threading.Thread(target=flood, args=(sys.stdout.buffer,), daemon=True).start()
threading.Thread(target=flood, args=(sys.stderr.buffer,), daemon=True).start()
while True:
    note(str(read()[1]))
"""
        delivery = self.process(program)
        folder = self.root / "logs" / "plugins"
        await send(delivery)
        await self.until(lambda: (folder / "relay.log.1").exists())
        await send(delivery, 5, 100_000)
        await self.until(lambda: len(self.notes()) == 7)
        size = sum(path.stat().st_size for path in folder.iterdir())
        self.assertLessEqual(size, limits.PLUGIN_LOG_FILES * limits.PLUGIN_LOG_BYTES_MAX)
        longest = max(map(len, (folder / "relay.log.1").read_bytes().split(b"\n")))
        self.assertLess(longest, limits.PLUGIN_LINE_BYTES_MAX + 100)

    async def test_a_missing_program(self) -> None:
        """Each attempt says what is missing, and the first after the installation works."""
        self.installed = False
        delivery = self.process(READING)
        failed = await failure_of(send(delivery))
        self.assertEqual(
            failed.reason,
            "configuration error: plugin 'relay' is unavailable: configuration error: "
            "plugin dbx_relay@1.0.0 is not installed for target t",
        )
        self.installed = True
        await send(delivery)

    async def test_a_program_that_cannot_run(self) -> None:
        """A program that the system refuses is named with the reason."""
        delivery = self.process(READING, timeout_s=0.9)
        (self.root / "program").chmod(0o644)
        failed = await failure_of(send(delivery))
        self.assertIn("cannot start:", failed.reason)
        self.assertIn("Permission denied", failed.reason)


class Concurrent(ChildCase):
    """More than one delivery at a time."""

    async def test_a_crash_fails_each_with_what_it_got(self) -> None:
        """Deliveries in flight are told apart when the child dies among them."""
        program = """
while True:
    kind, sequence, more = read()
    if sequence == 3:
        ack(3)
        os.kill(os.getpid(), 9)
"""
        delivery = self.process(program, ack=True)
        both = [send(delivery, 2), send(delivery, 2)]
        await both[0]
        failed = await failure_of(both[1])
        self.assertEqual((failed.accepted, failed.unavailable), (1, True))
        self.assertIn("was ended by SIGKILL", failed.reason)

    async def test_what_waits_for_a_restart_is_delivered(self) -> None:
        """A delivery that is asked for while the child is down waits for the next one."""
        delivery = self.process(ACKING, ack=True, speed=10, timeout_s=50)
        await send(delivery)
        delivery.child.restart("was in the way")
        self.assertEqual(len(items(delivery, 1)), 1)
        await send(delivery)
        self.assertEqual(self.notes(), ["0 0 False", "1 1 False"] * 2)
