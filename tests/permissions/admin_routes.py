"""Every route of the Admin API with what it needs, by the name of its operation.

Paths and methods are not here: the tests take them from the document that the server shows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.permissions.operations import CONFIGURED, EMPTIED, GONE, NOTES, PUBLISHED, SPARE
from tests.permissions.rules import Holder, Needs, allowed

OPEN = Needs()
"""Asks for no token at all."""


class Route(NamedTuple):
    """What a route needs; its body and query; the status it ends with once it is let in, 2xx if 0.

    ``before`` as with operations. ``params`` are those of the path that are not what they are
    everywhere else.
    """

    needs: Needs
    body: Any = None
    ends: int = 0
    before: tuple[tuple[str, dict[str, Any]], ...] = ()
    query: str = ""
    params: dict[str, str] = {}  # noqa: RUF012 - never changed.


def _needs(action: str) -> Needs:
    return Needs((action,), "everything")


TOKENS, ISSUES = _needs("token.read"), _needs("token.manage")
LOOKS, CHANGES = _needs("schema.read"), _needs("schema.write")
SEES, MANAGES = _needs("plugin.read"), _needs("plugin.manage")
QUEUE, CLEARS = _needs("queue.read"), _needs("queue.manage")
AUDIT = _needs("audit.read")
TENANTS, TENANT = _needs("tenant.manage"), {"tenant": "default"}
READ_ONE = Needs(("aggregate.read",), "aggregate")

CASE = {"do": "create", "aggregate": "case", "events": ["case_made", "case_paid"]}
MADE = (EMPTIED, ("schema", {"do": "change", "changes": [CASE]}))
TWO_VERSIONS = (*MADE, PUBLISHED, PUBLISHED)
LOG = {"config": {"type": "log", "level": "info"}}
REMOTE = {"endpoint": "10.0.0.2", "token_env": "STANDBY_TOKEN"}
HELD = (CONFIGURED, ("plugins", {"do": "pause", "name": "notes"}))

ROUTES: dict[str, Route] = {
    "listTokens": Route(TOKENS),
    "getToken": Route(TOKENS),
    "issueToken": Route(ISSUES, {"group": "g", "user": "u", "actions": ["aggregate.read"]}),
    "revokeToken": Route(ISSUES),
    "revokeTokenInBody": Route(ISSUES, {"token": "{token}"}),
    "refreshToken": Route(ISSUES, {}),
    "refreshTokenInBody": Route(ISSUES, {"token": "{token}"}),
    "rotateKeys": Route(ISSUES),
    "getPublicKeys": Route(OPEN),
    "listSchemas": Route(LOOKS),
    "getSchema": Route(LOOKS, before=MADE),
    "validateEvent": Route(LOOKS, {"event": "case_made", "payload": {}}, before=MADE),
    "listSchemaVersions": Route(LOOKS),
    "getSchemaVersion": Route(LOOKS, before=TWO_VERSIONS),
    "listVersionsOfSchema": Route(LOOKS, before=TWO_VERSIONS),
    "createSchema": Route(
        CHANGES, {"aggregate": "case", "events": ["case_made"]}, before=(EMPTIED,)
    ),
    "replaceSchemas": Route(CHANGES, {}),
    "putSchema": Route(CHANGES, {"locked": False}, before=MADE),
    "updateSchema": Route(CHANGES, {"locked": True}, before=MADE),
    "deleteSchema": Route(CHANGES, before=MADE),
    "addSchemaEvents": Route(CHANGES, {"events": ["case_kept"]}, before=MADE),
    "deleteSchemaEvent": Route(CHANGES, before=MADE),
    "publishSchemas": Route(CHANGES, {"force": True}),
    "rollbackSchemas": Route(CHANGES, {}, before=TWO_VERSIONS),
    "activateSchemas": Route(CHANGES, {}, before=TWO_VERSIONS),
    "activateSchema": Route(CHANGES, {"version": "latest"}, before=TWO_VERSIONS),
    "listPlugins": Route(SEES),
    "getPlugin": Route(SEES, before=(CONFIGURED,)),
    "getPluginLag": Route(SEES, before=(CONFIGURED,)),
    "getReplay": Route(SEES, ends=404, before=(CONFIGURED,)),
    "getPluginProcess": Route(SEES, ends=404, before=(CONFIGURED,)),
    "putPlugin": Route(MANAGES, LOG),
    "updatePlugin": Route(MANAGES, {"payload_mode": "all"}, before=(CONFIGURED,)),
    "deletePlugin": Route(MANAGES, before=(SPARE,), query="disable=true", params={"name": "spare"}),
    "enablePlugin": Route(MANAGES, before=(CONFIGURED,)),
    "disablePlugin": Route(MANAGES, before=(CONFIGURED,)),
    "pausePlugin": Route(MANAGES, before=(CONFIGURED,)),
    "resumePlugin": Route(MANAGES, before=HELD),
    "renamePlugin": Route(
        MANAGES, {"to": "renamed"}, before=(SPARE, *GONE), params={"name": "spare"}
    ),
    "switchPlugin": Route(MANAGES, {"with": "spare"}, before=(CONFIGURED, SPARE)),
    "seekPlugin": Route(MANAGES, {"to": "end"}, before=(CONFIGURED,)),
    "testPlugin": Route(MANAGES, before=(CONFIGURED,)),
    "replayPlugin": Route(MANAGES, {"aggregate_type": "order"}, before=(CONFIGURED,)),
    "cancelReplay": Route(MANAGES, ends=404, before=(CONFIGURED,)),
    "startPluginProcess": Route(MANAGES, ends=404, before=(CONFIGURED,)),
    "stopPluginProcess": Route(MANAGES, ends=404, before=(CONFIGURED,)),
    "getQueue": Route(QUEUE),
    "listLags": Route(QUEUE),
    "listJobs": Route(QUEUE),
    "getJob": Route(QUEUE),
    "dropJob": Route(CLEARS),
    "retryJobs": Route(CLEARS, {}),
    "dropJobs": Route(CLEARS, query="status=dead"),
    "listTenants": Route(TENANTS),
    "getTenant": Route(TENANTS, params=TENANT),
    "putTenant": Route(TENANTS, {"shard": "3", "quota_mb": 1_000_000}, params=TENANT),
    "deleteTenant": Route(TENANTS, ends=404, params={"tenant": "nobody"}),
    "putTenantQuota": Route(TENANTS, {"max_mb": 1_000_000}, params=TENANT),
    "deleteTenantQuota": Route(TENANTS, params=TENANT),
    "measureTenant": Route(TENANTS, params=TENANT),
    "reloadTenant": Route(TENANTS, params=TENANT),
    "listRemotes": Route(_needs("remote.read")),
    "getRemote": Route(_needs("remote.read"), ends=404, params={"name": "nowhere"}),
    "putRemote": Route(_needs("remote.manage"), REMOTE),
    "postRemote": Route(_needs("remote.manage"), REMOTE),
    "deleteRemote": Route(_needs("remote.manage"), ends=404, params={"name": "nowhere"}),
    "getConfig": Route(_needs("config.read")),
    "changeConfig": Route(_needs("config.write"), {"list_page_size": 10}),
    "reloadConfig": Route(_needs("config.write")),
    "getDataKeys": Route(_needs("config.read")),
    "rotateDataKey": Route(_needs("config.write")),
    "getCheckpoint": Route(Needs(("aggregate.read",))),
    "listBackups": Route(_needs("config.read")),
    "createBackup": Route(_needs("config.write"), {"keys": False}),
    "getScrub": Route(_needs("config.read")),
    "startScrub": Route(_needs("config.write")),
    "stopScrub": Route(_needs("config.write")),
    "listAggregates": Route(Needs(("aggregate.read",), "items")),
    "getAggregate": Route(READ_ONE),
    "listEvents": Route(READ_ONE),
    "verifyAggregate": Route(READ_ONE),
    "getEventProof": Route(READ_ONE, params={"version": "1"}),
    "getAggregateProof": Route(READ_ONE),
    "eraseAggregate": Route(
        Needs(("aggregate.erase",), "aggregate"), {"reason": "r", "dry_run": True}
    ),
    "eraseSubject": Route(
        Needs(("aggregate.erase",), "all"), {"subject": "nobody", "reason": "r"}
    ),
    "getAggregateConsistency": Route(READ_ONE, query="first=1"),
    "getLogConsistency": Route(
        Needs(("aggregate.read",)), ends=404, query="first=9007199254740991"
    ),
    "listAudit": Route(AUDIT),
    "verifyAudit": Route(AUDIT, before=(CONFIGURED,), params={"area": "plugins"}),
    "getStatus": Route(_needs("metrics.read")),
    "listDomains": Route(_needs("config.read")),
    "getOpenApi": Route(OPEN),
}  # fmt: skip
"""``NOTES`` is the plugin that most of them name."""

NAME = str(NOTES["name"])


def refusal(needs: Needs, holder: Holder) -> int:
    """Return the status that a request is refused with, 0 if it is let in.

    Whoever lacks the right is told no more than whoever has no token at all; who has it, but not
    for this domain or this aggregate, is told so.
    """
    if needs == OPEN:
        return 0
    if holder.ended:
        return 401
    right = needs._replace(on="" if needs.actions[0].startswith("aggregate.") else needs.on)
    if not allowed(right, holder):
        return 401
    return 403 if holder.tenants or not allowed(needs, holder) else 0
