"""``dbx head-map``: where the map is, and making a damaged one anew."""

from __future__ import annotations

from eventdbx.storage import keys
from eventdbx.storage.rocks import RocksStore
from tests.surfaces.command_line import CommandLineCase


class HeadMapTests(CommandLineCase):
    """Without a server."""

    def test_it_follows_proofs_and_is_made_anew(self) -> None:
        """A proof of a whole timeline advances it; a damaged one is dropped, and made again."""
        for number in range(3):
            name = f"o-{number}"
            self.dbx("aggregate", "create", "order", name, "--event", "made", "--payload", "{}")
        before = self.dbx("head-map", "--json").document
        self.assertEqual((before["position"], before["behind"]), (0, 3))
        self.dbx("proof", "aggregate", "order", "o-1")
        found = self.dbx("head-map", "--json").document
        self.assertEqual((found["position"], found["behind"], found["aggregates"]), (3, 0, 3))
        self.assertIn("position 3", self.dbx("head-map").stdout)
        self.damage()
        verified = self.attempt("verify")
        self.assertIn("head map", verified.stdout + verified.stderr)
        self.assertIn("damaged", self.attempt("proof", "aggregate", "order", "o-1").stderr)
        again = self.dbx("head-map", "--again", "--json").document
        self.assertEqual((again["position"], again["behind"]), (0, 3))
        self.dbx("proof", "aggregate", "order", "o-1")
        self.assertEqual(self.dbx("head-map", "--json").document, found)
        self.dbx("verify")
        self.assertEqual(
            self.dbx("audit", "log", "--json").document[0]["event"], "head_map_dropped"
        )

    def damage(self) -> None:
        """Take a bucket out of the store, as somebody with the files can."""
        store = RocksStore.open(str(self.store))
        try:
            view = store.view()
            key, _record = next(view.scan(keys.MAP_BUCKET, keys.after(keys.MAP_BUCKET)))
            del view
            store.write({key: None}, sync=True)
        finally:
            store.close()
