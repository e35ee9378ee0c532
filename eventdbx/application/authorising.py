"""Who may write: what is asked of a caller, and the type that is closed to all but the trail."""

from __future__ import annotations

from collections.abc import Callable

from eventdbx.domain.commands import Write
from eventdbx.domain.identifiers import AUDIT_TYPE
from eventdbx.errors import Unauthorized

Authorise = Callable[[str, str], None]
"""Called with (action, resource); raises Unauthorized."""


def allow_all(_action: str, _resource: str) -> None:
    """Authorise everything: for callers who own the store's files."""


def as_audit_trail(_action: str, _resource: str) -> None:
    """Authorise the audit trail, to whose aggregate type nobody else may write."""


def check_open(aggregate_type: str, authorise: Authorise) -> None:
    """Raise Unauthorized for the audit trail's type, unless it is the trail that writes."""
    if aggregate_type == AUDIT_TYPE and authorise is not as_audit_trail:
        raise Unauthorized


def authorise_write(write: Write, authorise: Authorise) -> None:
    """Raise Unauthorized unless the caller may carry out a write."""
    check_open(write.aggregate_type, authorise)
    resource = f"aggregate:{write.aggregate_type}:{write.aggregate_id}"
    if write.kind == "create":
        authorise("aggregate.create", resource)
    authorise("aggregate.append", resource)
