"""Checkpoints over HTTP, for administrators."""

from __future__ import annotations

from typing import Any

from eventdbx.application.checkpoint_keys import verify
from eventdbx.domain.checkpoints import Trust, check_checkpoint
from eventdbx.domain.notes import parse_note, parse_vkey
from tests.surfaces.admin.visiting import Visit


class CheckpointTests(Visit):
    """What a server with events has signed."""

    server = "checkpoints"

    def test_newest_and_older(self) -> None:
        """The newest is a note that its key verifies; older ones are found by their size."""
        workspace = self.place.workspace
        workspace.attempt("aggregate", "create", "order", "o-1", "--event", "order_made")
        workspace.run("checkpoint", "--sign")
        found: Any = self.good(200, "GET", "/integrity/checkpoint")
        key = parse_vkey(found["key"])
        note = parse_note(found["checkpoint"].encode())
        checkpoint = check_checkpoint(note, Trust(found["origin"], (key,)), verify).checkpoint
        self.assertEqual(checkpoint.size, found["size"])
        self.assertEqual((found["problem"], found["cosigned_by"]), (None, []))
        size = found["size"]
        workspace.run("aggregate", "apply", "order", "o-1", "order_paid")
        workspace.run("checkpoint", "--sign")
        self.assertEqual(self.good(200, "GET", "/integrity/checkpoint")["size"], size + 1)
        older = self.good(200, "GET", f"/integrity/checkpoint?size={size}")
        self.assertEqual(older["checkpoint"], found["checkpoint"])
        self.refused(404, "GET", "/integrity/checkpoint?size=999999999")
        self.refused(400, "GET", "/integrity/checkpoint?size=-1")
        self.refused(401, "GET", "/integrity/checkpoint", token=self.token_for("metrics.read"))
