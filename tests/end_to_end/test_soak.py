"""A few seconds of the soak; ``python -m bench.soak`` runs minutes."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.sinks import Counts
from bench.soak import Soak
from bench.soak_targets import Broken, compare
from bench.soak_writers import Written

EVENTS = 2_000
KILLS = 2


class SoakTests(SynchronousTestCase):
    """What plugins get while the server and a child are killed."""

    def test_every_healthy_plugin_gets_everything_in_order(self) -> None:
        """Fast, slow, failing, a read model; the dead and the hanging one once they live."""
        folder = Path(self.mktemp()).resolve()
        soak = Soak(EVENTS, seed=7, every=(0.3, 0.8), kills_max=KILLS, folder=folder, quiet=True)
        self.addCleanup(soak.close)
        soak.run()
        self.assertEqual(soak.kills, {"daemon": 1, "child": 1})


def body(*places: tuple[str, int]) -> bytes:
    """Return a batch as a web hook gets it."""
    events = [
        f'{{"event":{{"aggregate_type":"o","aggregate_id":"{name}","version":{version}}}}}'
        for name, version in places
    ]
    return f"[{','.join(events)}]".encode()


class Notices(SynchronousTestCase):
    """The soak itself sees what it is there to see."""

    def test_a_gap_is_noticed(self) -> None:
        """A version that was left out counts, one that comes again does not."""
        counts = Counts()
        for place in (("a", 1), ("a", 2), ("a", 1), ("b", 1), ("a", 4)):
            counts.take(f"{place}".encode(), body(place))
        self.assertEqual((counts.gaps, counts.repeated), (1, 1))

    def test_a_repetition_under_a_new_id_is_noticed(self) -> None:
        """An event that comes again must have the id that it had."""
        counts = Counts()
        for id_ in (b"1", b"1", b"2"):
            counts.take(id_, body(("a", 1)))
        self.assertEqual((counts.repeated, counts.unkeyed), (2, 1))

    def test_an_id_of_two_deliveries_is_noticed(self) -> None:
        """Who trusts the ids would take the second for the first."""
        counts = Counts()
        counts.take(b"1", body(("a", 1), ("b", 1)))
        counts.take(b"1", body(("a", 1), ("b", 1)))
        self.assertEqual(counts.misused, 0)
        counts.take(b"1", body(("a", 1), ("c", 1)))
        self.assertEqual(counts.misused, 1)

    def test_what_is_missing_is_noticed(self) -> None:
        """An aggregate that is behind, and one that is not there."""
        compare("p", {"o/a": 2}, {"o/a": 2})
        self.assertRaises(Broken, compare, "p", {"o/a": 1}, {"o/a": 2})
        self.assertRaises(Broken, compare, "p", {}, {"o/a": 2})

    def test_a_place_given_twice_is_noticed(self) -> None:
        """Two writes cannot have been answered with one version, nor versions be left out."""
        written = Written(3)
        written.acknowledged(["a"], [{"version": 1}])
        self.assertRaises(AssertionError, written.acknowledged, ["a"], [{"version": 1}])
        written.acknowledged(["a"], [{"version": 3}])
        self.assertRaises(AssertionError, written.versions)
