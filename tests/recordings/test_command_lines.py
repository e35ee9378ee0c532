"""What command lines of earlier releases printed is printed today, but for what is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from twisted.trial.unittest import SynchronousTestCase

from tests.recordings.command_lines_forks import forks
from tests.recordings.command_lines_replay import RECORDINGS, Outcome, differences, load, replay
from tests.recordings.command_lines_text import with_sorted_keys

HELP = RECORDINGS / "help.json"
OPTION_ROW = re.compile(r"(?m)^  (?:(-\w, )|    )(--[\w-]+(?: \[?<\S+)?)(.*(?:\n {10,}.*)*)")


class Replayed(SynchronousTestCase):
    """Each recorded scenario in a home of its own."""

    def holds(self, theme: str) -> None:
        """Replay the scenarios of a theme."""
        found = []
        for scenario in load(RECORDINGS / f"{theme}.json"):
            outcomes = replay(scenario, Path(self.mktemp()).absolute())
            self.assertGreater(len(outcomes), 0)
            found += [f"{scenario['name']}: {one}" for one in differences(outcomes)]
        self.assertEqual("\n".join(found), "")

    def test_aggregate_create(self) -> None:
        """Aggregates are created, and what cannot be one is refused."""
        self.holds("aggregate_create")

    def test_aggregate_read(self) -> None:
        """Aggregates are listed, sorted, filtered, shown and verified."""
        self.holds("aggregate_read")

    def test_aggregate_write(self) -> None:
        """Events are applied, documents patched, aggregates archived and restored."""
        self.holds("aggregate_write")

    def test_cli_page(self) -> None:
        """What the command page of the documents shows works; unknown words are refused."""
        self.holds("cli_page")

    def test_config(self) -> None:
        """The configuration is changed, kept, and checked when it is read."""
        self.holds("config")

    def test_events(self) -> None:
        """Events are listed and inspected."""
        self.holds("events")

    def test_getting_started(self) -> None:
        """What a newcomer reads first works."""
        self.holds("getting_started")

    def test_plugin(self) -> None:
        """Plugins are configured, tested, replayed and installed."""
        self.holds("plugin")

    def test_publish(self) -> None:
        """An event goes to the plugins that were named; wrong names are refused."""
        self.holds("publish")

    def test_queue(self) -> None:
        """The queue is empty, or holds a job that a failing web hook left dead."""
        self.holds("queue")

    def test_queue_dead(self) -> None:
        """Dead jobs are cleared after asking, or tried again when the target is well."""
        self.holds("queue_dead")

    def test_quickstart(self) -> None:
        """The first steps of the home page, with a server and without."""
        self.holds("quickstart")

    def test_schema(self) -> None:
        """Schemas are declared, shown and enforced."""
        self.holds("schema")

    def test_schema_field(self) -> None:
        """Columns and the fields of events are declared."""
        self.holds("schema_field")

    def test_schema_versions(self) -> None:
        """Sets of schemas are published, compared, put in force and taken back."""
        self.holds("schema_versions")

    def test_server(self) -> None:
        """Commands beside a running server, tokens with limits, pid files."""
        self.holds("server")

    def test_snapshots(self) -> None:
        """Snapshots are taken, listed and shown."""
        self.holds("snapshots")

    def test_tenant(self) -> None:
        """Tenants are assigned to shards and given quotas."""
        self.holds("tenant")

    def test_token(self) -> None:
        """Tokens are issued, listed, refreshed and revoked."""
        self.holds("token")

    def test_none_is_forgotten(self) -> None:
        """Every theme has a test above."""
        source = Path(__file__).read_text(encoding="utf-8")
        named = re.findall(r'self\.holds\("([^"]+)"\)', source)
        themes = [path.stem for path in RECORDINGS.glob("*.json") if path != HELP]
        self.assertEqual(sorted(named), sorted(themes))


class Noticed(SynchronousTestCase):
    """The comparison is worth something."""

    def scenario(self, theme: str, name: str) -> dict[str, Any]:
        """Return one scenario."""
        (found,) = [one for one in load(RECORDINGS / f"{theme}.json") if one["name"] == name]
        return found

    def outcomes(self, scenario: dict[str, Any]) -> list[Outcome]:
        """Replay it."""
        return replay(scenario, Path(self.mktemp()).absolute())

    def test_one_byte(self) -> None:
        """A recording fails when one byte of a recorded answer is another."""
        name = "first event without any server or set-up"
        source = (RECORDINGS / "quickstart.json").read_text(encoding="utf-8")
        place = source.index("version=1", source.index(f'"name": "{name}"')) + 8
        changed = Path(self.mktemp()).absolute()
        changed.write_text(source[:place] + "2" + source[place + 1 :], encoding="utf-8")
        (scenario,) = [one for one in load(changed) if one["name"] == name]
        (said,) = differences(self.outcomes(scenario))
        self.assertIn("aggregate_id=p-001 version=2 archived=false", said)
        self.assertIn("aggregate_id=p-001 version=1 archived=false", said)

    def test_any_byte(self) -> None:
        """It does not matter which byte: outside the numbers of placeholders each one counts."""
        outcomes = self.outcomes(self.scenario("aggregate_create", "outputs and options"))
        self.assertEqual(differences(outcomes), [])
        changes = 0
        for one in outcomes:
            if one.step.get("compare"):
                continue
            for answer in one.step["answers"]:
                for changed in changed_answers(answer):
                    step = {**one.step, "answers": [changed]}
                    self.assertEqual(len(differences([one._replace(step=step)])), 1, changed)
                    changes += 1
        self.assertGreater(changes, 1000)

    def test_stale_departure(self) -> None:
        """A departure that is none any more, or another one than was described, is noticed."""
        outcomes = self.outcomes(self.scenario("config", "print, set, persist"))
        departure = next(one for one in outcomes if one.step.get("departs"))
        self.assertEqual(differences([departure]), [])
        step = departure.step
        answers = [{"releases": ["3.9.13"], **step["here"]}]
        back = departure._replace(step={**step, "answers": answers})
        self.assertIn("departs no more", differences([back])[0])
        other = departure._replace(step={**step, "here": {**step["here"], "exit": 3}})
        self.assertIn("expected", differences([other])[0])

    def test_layout(self) -> None:
        """The order of members does not count, the layout of documents and their digits do."""
        recorded = '{\n  "b": 1e21,\n  "a": "x"\n}\n'
        turned = '{\n  "a": "x",\n  "b": 1e21\n}\n'
        self.assertEqual(with_sorted_keys(recorded), with_sorted_keys(turned))
        for other in ('{"a": "x", "b": 1e21}\n', turned.replace("1e21", "1e+21"), turned[:-1]):
            self.assertNotEqual(with_sorted_keys(recorded), with_sorted_keys(other))


def changed_answers(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return copies of a recorded answer, each with another byte changed."""
    yield {**answer, "exit": answer["exit"] + 1}
    for stream in ("stdout", "stderr"):
        text = answer.get(stream, "")
        numbers = {
            place for found in re.finditer(r"_[0-9]+>", text) for place in range(*found.span())
        }
        for place in sorted(set(range(len(text))) - numbers):
            other = chr(ord(text[place]) ^ 1)
            yield {**answer, stream: text[:place] + other + text[place + 1 :]}


class Help(SynchronousTestCase):
    """The pages of ``--help``."""

    def test_pages(self) -> None:
        """Commands, arguments, options, values and phrases that were there are there.

        Each counts: another word in its place is found lacking.
        """
        pages = orjson.loads(HELP.read_bytes())["pages"]
        self.assertGreater(len(pages), 40)
        texts = self.texts([page["path"] for page in pages])
        found = []
        for page, text in zip(pages, texts, strict=True):
            found += [f"{' '.join(page['path'])}: {one}" for one in lacking(page, text)]
            for changed in changed_pages(page):
                self.assertEqual(len(lacking(changed, text)), 1, changed)
        self.assertEqual("\n".join(found), "")

    def texts(self, paths: list[list[str]]) -> list[str]:
        """Return the help pages of commands."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        stdin, stdout, stderr = (folder / name for name in ("stdin", "stdout", "stderr"))
        texts = []
        for path in paths:
            for stream in (stdin, stdout, stderr):
                stream.write_bytes(b"")
            status = forks().run(
                [*path, "--help"],
                folder=folder,
                environment={"HOME": str(folder), "LANG": "C.UTF-8"},
                streams=[stdin, stdout, stderr],
            )
            self.assertEqual((status, stderr.read_text()), (0, ""), path)
            texts.append(stdout.read_text())
        return texts


def lacking(page: dict[str, Any], text: str) -> list[str]:
    """Return what a recorded page has and a help text has not; more is welcome."""
    rows = {}
    for short, option, rest in OPTION_ROW.findall(text):
        # Other spellings of an option follow behind a comma.
        rows[short + option.removesuffix(",").removesuffix("...")] = " ".join(rest.split())
    words = " ".join(text.split())
    found = [] if page["phrase"] in words else [f"phrase {page['phrase']}"]
    for command in page.get("commands", ()):
        if not re.search(rf"(?m)^  {re.escape(command)}  ", text):
            found.append(f"command {command}")
    usage = words.partition("Usage: ")[2].partition(" Options:")[0]
    taken = re.findall(r"[<\[]([A-Z_]+)[>\]]", usage)
    for argument in page.get("arguments", ()):
        if argument in taken:
            del taken[: taken.index(argument) + 1]
        else:
            found.append(f"argument {argument}")
    for option, marks in page.get("options", {}).items():
        if option not in rows:
            found.append(f"option {option}")
        found += [f"{option} {mark}" for mark in marks if mark not in rows.get(option, mark)]
    return found


def changed_pages(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return copies of a page, each with another word changed."""
    yield {**page, "phrase": page["phrase"] + "X"}
    for kind in ("arguments", "commands"):
        words = page.get(kind, [])
        for place, word in enumerate(words):
            yield {**page, kind: [*words[:place], word + "X", *words[place + 1 :]]}
    options = page.get("options", {})
    for option, marks in options.items():
        others = {key: value for key, value in options.items() if key != option}
        yield {**page, "options": {**others, option + "X": []}}
        for place, mark in enumerate(marks):
            changed = [*marks[:place], mark + "X", *marks[place + 1 :]]
            yield {**page, "options": {**others, option: changed}}
