"""What the command line prints of the documents that a database answers with.

Documents come as the control protocol has them (docs/protocol.md); here they get the shape and
the lines that scripts of the command line know.
"""

from __future__ import annotations

from typing import Any

from eventdbx.surfaces.cli.output import pretty

Document = dict[str, Any]

EVENT_COLUMNS = (
    "aggregate_type",
    "aggregate_id",
    "version",
    "event_type",
    "metadata.event_id",
    "metadata.created_at",
    "metadata.issued_by.user",
    "metadata.note",
    "payload",
)
"""What tables and CSV show of events."""


def event_view(event: Document) -> Document:
    """Return an event with its extensions among the metadata, without the type as received."""
    view = {
        key: value for key, value in event.items() if key not in ("event_type_raw", "extensions")
    }
    extensions = event.get("extensions")
    if extensions:
        view["metadata"] = {**event["metadata"], **extensions}
    return view


def aggregate_view(aggregate: Document, events: list[Document] | None = None) -> Document:
    """Return an aggregate as ``aggregate get`` prints it: always with its archive flag."""
    view = {**aggregate, "archived": aggregate.get("archived", False)}
    if events is not None:
        view["events"] = [event_view(one) for one in events]
    return view


def aggregate_line(aggregate: Document, *, archive_flag: bool) -> str:
    """Return the line of an aggregate in a list."""
    line = (
        f"aggregate_type={aggregate['aggregate_type']} aggregate_id={aggregate['aggregate_id']} "
        f"version={aggregate['version']} merkle_root={aggregate['merkle_root']}"
    )
    if archive_flag:
        line += f" archived={_flag(aggregate.get('archived', False))}"
    return line


def created_line(aggregate: Document) -> str:
    """Return the line that ``aggregate create`` prints."""
    return (
        f"aggregate_type={aggregate['aggregate_type']} aggregate_id={aggregate['aggregate_id']} "
        f"version={aggregate['version']} archived={_flag(aggregate.get('archived', False))}"
    )


def event_line(event: Document) -> str:
    """Return the line of an event in a list."""
    metadata = event["metadata"]
    note = metadata.get("note")
    return (
        f"aggregate_type={event['aggregate_type']} aggregate_id={event['aggregate_id']} "
        f"version={event['version']} event_type={event['event_type']} "
        f"event_id={metadata['event_id']} created_at={_time(metadata['created_at'])} "
        f"issued_by={_actor(metadata['issued_by']) or '-'} note={'-' if note is None else note}"
    )


def event_block(event: Document) -> str:
    """Return the lines of one event that is looked at closely."""
    metadata = event["metadata"]
    lines = [f"{key}={event[key]}" for key in ("aggregate_type", "aggregate_id", "version")]
    lines += [
        f"event_type={event['event_type']}",
        f"event_id={metadata['event_id']}",
        f"created_at={_time(metadata['created_at'])}",
    ]
    if metadata["issued_by"] is not None:
        lines.append(f"issued_by={_actor(metadata['issued_by'])}")
    if metadata.get("note") is not None:
        lines.append(f"note={metadata['note']}")
    lines += [f"hash={event['hash']}", f"merkle_root={event['merkle_root']}"]
    if event.get("schema") is not None:
        schema = event["schema"]
        lines.append(f"schema={schema['digest']} revision={schema['revision']}")
    lines.append(f"payload={pretty(event['payload'])}")
    if event.get("extensions") is not None:
        lines.append(f"extensions={pretty(event['extensions'])}")
    return "\n".join(lines)


def snapshot_line(snapshot: Document) -> str:
    """Return the line of a snapshot in a list."""
    return (
        f"snapshot_id={snapshot.get('snapshot_id', 'unknown')} "
        f"aggregate_type={snapshot['aggregate_type']} aggregate_id={snapshot['aggregate_id']} "
        f"version={snapshot['version']} created_at={_time(snapshot['created_at'])} "
        f'comment="{snapshot["comment"] or ""}"'
    )


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _time(text: str) -> str:
    return f"{text.removesuffix('Z')}+00:00"


def _actor(actor: Document | None) -> str | None:
    return None if actor is None else f"{actor['group']}:{actor['user']}"
