"""An example for each body of the Admin API, for the OpenAPI document; the tests send them all."""

from __future__ import annotations

from collections.abc import Mapping

from eventdbx.domain.canonical import JSON

TOKEN_ID = "3f1c2f0e-6f5e-4b7a-9d0a-0123456789ab"
"""Stands for a token that there is."""

EXAMPLES: Mapping[str, JSON] = {
    "IssueTokenRequest": {
        "group": "ops",
        "user": "shop",
        "actions": ["aggregate.*"],
        "resources": ["aggregate:order:*"],
        "ttl_secs": 86_400,
    },
    "RevokeOneRequest": {"token": TOKEN_ID, "reason": "left the team"},
    "RefreshTokenRequest": {"ttl_secs": 3600},
    "RefreshOneRequest": {"token": TOKEN_ID, "ttl_secs": 3600},
    "RotateKeysRequest": {"overlap_secs": 604_800},
    "CreateSchemaRequest": {
        "aggregate": "order",
        "events": ["order_created", "order_paid"],
        "snapshot_threshold": 100,
    },
    "SchemaSet": {"order": {"events": {"order_created": {"fields": ["total"]}}}},
    "SchemaDocument": {
        "events": {"order_created": {"fields": ["total"]}, "order_paid": {"fields": []}},
        "column_types": {"total": "integer"},
    },
    "UpdateSchemaRequest": {
        "snapshot_threshold": None,
        "locked": False,
        "field_lock": {"field": "total", "lock": True},
        "add_fields": {"order_paid": ["method"]},
    },
    "AddEventsRequest": {"events": ["order_shipped"]},
    "ValidateRequest": {"event": "order_paid", "payload": {"method": "card"}},
    "PublishRequest": {"reason": "first release", "labels": ["release"], "activate": True},
    "RollbackRequest": {"reason": "the release was too early"},
    "ActivateRequest": {"reason": "the release is wanted after all"},
    "ActivateSchemaRequest": {"version": "latest"},
    "PluginUpsert": {"enabled": True, "config": {"type": "log", "level": "info"}},
    "PluginPatch": {"payload_mode": "event-only", "config": {"level": "debug"}},
    "PluginRename": {"to": "journal"},
    "PluginSwitch": {"with": "journal"},
    "SeekRequest": {"to": "end"},
    "ReplayRequest": {"aggregate_type": "order"},
    "RetryRequest": {"plugin": "orders"},
    "EraseRequest": {"reason": "asked for on 2026-01-05"},
    "EraseSubjectRequest": {
        "subject": "anna@example.org",
        "reason": "asked for on 2026-01-05",
        "dry_run": True,
    },
    "BackupRequest": {"name": "nightly", "keys": True},
    "TenantUpsert": {"shard": "shard-0003", "quota_mb": 500},
    "TenantQuota": {"max_mb": 1000},
    "RemoteUpsert": {"endpoint": "tcp://standby.example:6363", "token_env": "STANDBY_TOKEN"},
    "ConfigurationChange": {"page_limit": 500, "log": {"level": "debug"}},
}
"""By the name of the body's component schema."""
