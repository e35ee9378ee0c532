"""The examples of the OpenAPI document: each is sent, as it is, to a running server."""

from __future__ import annotations

import json
from typing import Any

from eventdbx.surfaces.admin.examples import TOKEN_ID
from tests.surfaces.admin.visiting import Visit

STEPS: tuple[tuple[str, dict[str, str]], ...] = (
    ("createSchema", {}),
    ("addSchemaEvents", {"aggregate": "order"}),
    ("updateSchema", {"aggregate": "order"}),
    ("validateEvent", {"aggregate": "order"}),
    ("publishSchemas", {}),
    ("putSchema", {"aggregate": "order"}),
    ("publishSchemas", {}),
    ("rollbackSchemas", {}),
    ("activateSchemas", {"version": "latest"}),
    ("activateSchema", {"aggregate": "order"}),
    ("replaceSchemas", {}),
    ("putPlugin", {"name": "orders"}),
    ("renamePlugin", {"name": "orders"}),
    ("putPlugin", {"name": "orders"}),
    ("updatePlugin", {"name": "orders"}),
    ("switchPlugin", {"name": "orders"}),
    ("seekPlugin", {"name": "orders"}),
    ("replayPlugin", {"name": "orders"}),
    ("retryJobs", {}),
    ("eraseAggregate", {"type": "order", "id": "erased-1"}),
    ("eraseSubject", {}),
    ("createBackup", {}),
    ("putTenant", {"tenant": "acme"}),
    ("putTenantQuota", {"tenant": "acme"}),
    ("putRemote", {"name": "standby"}),
    ("postRemote", {"name": "standby"}),
    ("changeConfig", {}),
    ("issueToken", {}),
    ("refreshToken", {"token": TOKEN_ID}),
    ("refreshTokenInBody", {}),
    ("revokeTokenInBody", {}),
    ("rotateKeys", {}),
)
"""Every operation with a body, in an order in which all of them work, and its path."""


class ExampleTests(Visit):
    """What people copy from the document."""

    server = "examples"

    def test_each_works(self) -> None:
        """Every body has an example, and the server does what it says."""
        with_body = {
            operation["operationId"]: (method, path, operation["requestBody"]["content"])
            for path, methods in self.good(200, "GET", "/openapi.json")["paths"].items()
            for method, operation in methods.items()
            if "requestBody" in operation
        }
        self.assertEqual(with_body.keys(), {name for name, _params in STEPS})
        self.place.workspace.run(
            "aggregate", "create", "order", "erased-1", "--event", "order_made"
        )
        jti = ""
        for name, params in STEPS:
            method, path, content = with_body[name]
            text = json.dumps([path.format(**params), content["application/json"]["example"]])
            asked, body = json.loads(text.replace(TOKEN_ID, jti))
            answer = self.call(method.upper(), asked.removeprefix("/admin"), body)
            self.assertIn(answer.status, (200, 201, 202, 204), (name, answer.document))
            document: Any = answer.document
            if isinstance(document, dict):
                jti = document.get("jti", jti)
