"""The names that this program and older ones give to what is in a data directory.

A data directory may have been pointed at a home or a mount that holds other people's files: what
has none of these names is not ours to remove.
"""

from __future__ import annotations

import re

OURS = frozenset(
    (
        "event_store domains shards tenant_meta schemas plugins versions logs "
        "plugin_queue.db conflicts.db cli.token config.toml schemas.json tokens.json "
        "tokens.json.legacy tokens.journal jwt_revocations.json audit.spool audit.spool.taken "
        "staged_events.json plugins.json checkpoint checkpoint.audit scrub witness.json data_keys "
        "plugin_queue.json remote.json watch.json upgrade-state.json eventdbx.pid .destroying "
        "contexts.json shell_history .restored.json .merging .merged .before-merge .merge.json"
    ).split()
)
"""Every name that this or an older version creates in a data directory."""

OF_THE_PERSON = frozenset(
    (
        "logs", "upgrade-state.json", "contexts.json", "shell_history", "versions",
        "config.toml.before-restore",
    )
)  # fmt: skip
"""What lies in the default directory for whoever works here, not for the database: a directory with
nothing else counts as empty, and a restore leaves it where it is."""

_OURS_TOO = re.compile(r"schemas\.json\.edited-\d+|staged_events\.json\..+|\.backup-[0-9a-f]+")


def is_ours(name: str) -> bool:
    """Say whether an entry of a data directory was made by this program or an older one."""
    return name in OURS or _OURS_TOO.fullmatch(name) is not None
