"""The document, the dashboard and the alerts speak of the numbers that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from eventdbx.measures import Counted, Family, Measures, Observed
from tests.services.test_observing import ObservingCase

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
ROW = re.compile(r"^\| `(eventdbx_\w+)` \| (\w+) \| ([\w, ]*?) ?\|", re.M)
NAME = re.compile(r"\b(?:eventdbx|process|python)_[a-z0-9_]+\b")
PANELS_MIN, RULES_MIN = 20, 10


def filled() -> Measures:
    """Measures in which everything was counted once."""
    measures = Measures(lambda: 1.0)
    for one in vars(measures).values():
        if isinstance(one, Observed):
            one.add(("x",) * len(one._labels), 1.0, 1.0)
        elif isinstance(one, Counted):
            one.add(*("x",) * len(one._labels))
    return measures


class Documents(ObservingCase):
    """What is written against what is shown."""

    def families(self) -> list[Family]:
        """Every family there is."""
        self.start()
        self.addCleanup(self.stop)
        return [*filled().families(), *self.successResultOf(self.observing.gather())]

    def test_every_metric_is_described(self) -> None:
        """The table has each family with its type and its labels, and no others."""
        text = (DOCS / "observability.md").read_text()
        written = {name: (kind, labels) for name, kind, labels in ROW.findall(text)}
        families = self.families()
        self.assertEqual(
            {family.name: family.kind for family in families},
            {name: kind for name, (kind, _labels) in written.items()},
        )
        for family in families:
            for sample in family.samples:
                shown = [name for name, _value in sample.labels if name not in ("le", "quantile")]
                self.assertEqual(", ".join(shown), written[family.name][1], family.name)

    def test_every_metric_has_a_text(self) -> None:
        """HELP is there for every family, as a sentence."""
        for family in self.families():
            self.assertRegex(family.help, r"^[A-Z0-9].+\.(md)?$", family.name)

    def test_the_dashboard_asks_for_what_there_is(self) -> None:
        """Each query of each panel names families that exist."""
        board = json.loads((DOCS / "dashboards" / "eventdbx.json").read_text())
        queries = [
            target["expr"] for panel in board["panels"] for target in panel.get("targets", ())
        ]
        self.assertGreater(len(queries), PANELS_MIN)
        self.check_names("\n".join(queries))
        places = [panel["gridPos"] for panel in board["panels"]]
        self.assertTrue(all(place["x"] + place["w"] <= 24 for place in places))

    def test_the_alerts_ask_for_what_there_is(self) -> None:
        """Each rule names families that exist, and says what to do."""
        text = (DOCS / "alerts.yml").read_text()
        rules = text.split("- alert: ")[1:]
        self.assertGreater(len(rules), RULES_MIN)
        for rule in rules:
            name = rule.split("\n", 1)[0]
            for part in ("expr:", "labels: {severity: ", "summary: ", "action: "):
                self.assertIn(part, rule, name)
            expression = rule.split("expr:", 1)[1].split("labels:", 1)[0]
            self.check_names(expression)

    def check_names(self, expressions: str) -> None:
        """Fail for a name that nothing has."""
        known = {"process_start_time_seconds", "process_open_fds", "process_max_fds",
                 "process_cpu_seconds_total", "process_resident_memory_bytes"}  # fmt: skip
        for family in self.shown():
            known |= {family.name} | {family.name + sample.suffix for sample in family.samples}
        self.assertEqual(sorted(set(NAME.findall(expressions)) - known), [])

    def shown(self) -> list[Family]:
        """The families, read once."""
        if not hasattr(self, "_shown"):
            self._shown = self.families()
        return self._shown
