"""Proofs over HTTP, checked with nothing but the key of the log."""

from __future__ import annotations

import json
from typing import Any

from eventdbx.application.checkpoint_keys import signer_of, verify
from eventdbx.domain.checkpoints import Trust
from eventdbx.domain.proofdocuments import Proven, check_file
from eventdbx.services.workspace import open_workspace
from tests.surfaces.admin.visiting import Visit


class ProofTests(Visit):
    """What a server with events proves."""

    server = "proofs"

    def setUp(self) -> None:
        super().setUp()
        workspace = self.place.workspace
        workspace.attempt("aggregate", "create", "order", "o-1", "--event", "order_made")
        workspace.run("aggregate", "apply", "order", "o-1", "order_paid", "--field", "a=b")
        config = str(workspace.folder / ".dbx" / "config.toml")
        opened = open_workspace(config, environ={"HOME": str(workspace.folder)})
        key = signer_of(opened.config.integrity).log_key("default")
        self.trust = Trust(key.name, (key,))

    def check(self, document: Any) -> Proven:
        """Check a document, or the text of a tlog-proof."""
        text = document if isinstance(document, str) else json.dumps(document)
        return check_file(text.encode(), self.trust, verify)

    def test_event(self) -> None:
        """An event is proven in the log, and in its aggregate."""
        path = "/aggregates/order/o-1/events/2/proof"
        found = self.good(200, "GET", path)
        proven = self.check(found["proof"])
        assert proven.leaf is not None
        self.assertEqual((proven.leaf.version, proven.leaf.aggregate_id), (2, "o-1"))
        self.assertEqual(found["size"], proven.checkpoint.size)
        again = self.good(200, "GET", f"{path}?size={found['size']}&in=log")
        self.assertEqual(again["size"], found["size"])
        inside = self.check(self.good(200, "GET", f"{path}?in=aggregate"))
        assert inside.leaf is not None
        self.assertEqual(inside.leaf.hash, proven.leaf.hash)

    def test_aggregate(self) -> None:
        """All events of an aggregate, and that a version is its beginning."""
        document = self.good(200, "GET", "/aggregates/order/o-1/proof")
        self.assertEqual(self.check(document).kind, "aggregate-complete")
        self.assertEqual(len(document["events"]), document["size"])
        document = self.good(200, "GET", "/aggregates/order/o-1/consistency?first=1")
        self.assertEqual(self.check(document).kind, "aggregate-consistency")

    def test_log(self) -> None:
        """Of two checkpoints the earlier is the beginning of the later."""
        size = self.good(200, "GET", "/aggregates/order/o-1/events/1/proof")["size"]
        document = self.good(200, "GET", f"/integrity/consistency?first={size}&second={size}")
        self.assertEqual(self.check(document).checkpoint.size, size)
        self.place.workspace.run("aggregate", "apply", "order", "o-1", "order_paid")
        later = self.good(200, "GET", "/aggregates/order/o-1/proof")["size"]
        self.good(200, "GET", f"/aggregates/order/o-1/events/{later}/proof")
        document = self.good(200, "GET", f"/integrity/consistency?first={size}")
        self.assertGreaterEqual(self.check(document).checkpoint.size, size)

    def test_refusals(self) -> None:
        """What is not there is 404, what makes no sense 400."""
        one = "/aggregates/order/o-1"
        for status, path in (
            (404, one + "/events/0/proof"),
            (404, one + "/events/99999999999999999999999/proof"),
            (404, one + "/events/9223372036854775807/proof"),
            (404, one + "/events/-1/proof"),
            (404, one + "/events/%D9%A1/proof"),
            (404, "/aggregates/order/none/events/1/proof"),
            (404, "/aggregates/order/none/proof"),
            (404, "/aggregates/dbx_admin/tokens/proof"),
            (404, "/aggregates/dbx_admin/tokens/events/1/proof"),
            (404, one + "/events/1/proof?size=9223372036854775807"),
            (400, one + "/events/1/proof?size=0"),
            (400, one + "/events/1/proof?in=head"),
            (400, one + "/consistency"),
            (400, one + "/consistency?first=0"),
            (400, one + "/consistency?first=9223372036854775807"),
            (400, "/integrity/consistency"),
            (400, "/integrity/consistency?first=2&second=1"),
            (400, "/integrity/consistency?first=x"),
            (404, "/integrity/consistency?first=9223372036854775807"),
        ):
            self.refused(status, "GET", path)
