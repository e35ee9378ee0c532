"""What surfaces may ask of the installation as a whole: its configuration, remotes and status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred

from eventdbx.domain.grants import Grant
from eventdbx.settings import Value


class Reloaded(NamedTuple):
    """What a reload came to: keys (dotted paths) in force now, and keys that need a restart."""

    changed: tuple[str, ...]
    restart_required: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return it as clients get it."""
        return {"changed": list(self.changed), "restart_required": list(self.restart_required)}


class Administration(Protocol):
    """The installation of a running server. Deferreds fail with EventDBXError."""

    def configuration(self) -> dict[str, Any]:
        """Return every key that is in force, as nested tables, secrets as ``"<hidden>"``."""

    def waiting(self) -> tuple[str, ...]:
        """Return the keys that were changed in the file and count at the next start."""

    def change(self, changes: Mapping[str, Value]) -> Deferred[Reloaded]:
        """Check and save keys (dotted path to value, None removes), then reload."""

    def reload(self) -> Deferred[Reloaded]:
        """Read the configuration again and put into force what can be; all or nothing."""

    def remotes(self) -> dict[str, dict[str, Any]]:
        """Return the remotes by name, tokens sealed or ``"<redacted>"``, never plain."""

    def domain_names(self) -> list[str]:
        """Return the domains that there are; reads the disk."""

    def put_remote(
        self, name: str, endpoint: str, token: str | None, token_env: str | None = None
    ) -> Deferred[tuple[bool, dict[str, Any]]]:
        """Store a remote; fires with whether it is new, and its document."""

    def delete_remote(self, name: str) -> Deferred[bool]:
        """Remove a remote; fires with False when there is none of that name."""

    def data_keys(self) -> Deferred[dict[str, Any]]:
        """Return how the data keys of each domain are wrapped, and what is not sealed yet."""

    def rotate_data_key(self) -> Deferred[Reloaded]:
        """Make a new key the present one; the stores follow in the background."""

    def status(self) -> Deferred[dict[str, Any]]:
        """Return version, mode, uptime, listeners, domains with size and lag, queue counts."""

    def domains(self) -> Deferred[list[dict[str, Any]]]:
        """Return the domains by name, as :func:`eventdbx.application.counting.domain_document`."""


def status_for(status: Mapping[str, Any], grant: Grant) -> dict[str, Any]:
    """Return of a status what the holder of a grant may see: no domains of other tenants."""
    domains = status.get("domains", {})
    allowed = {name: found for name, found in domains.items() if grant.allows_tenant(name)}
    return {**status, "domains": allowed}


def keys_for(report: Mapping[str, Any], grant: Grant) -> dict[str, Any]:
    """Return of the report on data keys what the holder of a grant may see, likewise."""
    if not grant.tenants:
        return dict(report)
    allowed = [one for one in report["domains"] if grant.allows_tenant(one["domain"])]
    # Those of remotes have the names of domains, or are in folders of such names.
    names = (one["file"] for one in report["files"])
    kept = {name for name in names if "/" not in name and not name.startswith("remotes.")}
    files = [one for one in report["files"] if one["file"] in kept]
    return {**report, "domains": allowed, "files": files}


def domains_for(found: list[dict[str, Any]], grant: Grant) -> list[dict[str, Any]]:
    """Return of the domains those that the holder of a grant may use."""
    return [one for one in found if grant.allows_tenant(one["domain"])]
