"""From what a handler returns, or a problem, to status, headers and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from eventdbx import __version__
from eventdbx.surfaces.admin.conditions import is_unchanged
from eventdbx.surfaces.admin.paging import next_headers, page_of
from eventdbx.surfaces.admin.problems import PROBLEM_TYPE, problem_document
from eventdbx.surfaces.admin.table import Answer, Call, Problem, Row

JSON_TYPE = "application/json"


class Reply(NamedTuple):
    """What goes out."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def reply_of(
    row: Row, call: Call, answer: Answer, path: str, page_limit: int, shown: Mapping[str, str]
) -> Reply:
    """Return the reply to a request that succeeded; ``shown`` are headers of the framework."""
    headers = {**shown, **answer.headers, "X-EventDBX-Version": __version__}
    document: Any = answer.document
    cursor = answer.next_cursor
    if row.lists:
        page = page_of(document, call.query, page_limit)
        document, cursor = page.items, page.next_cursor
    if cursor is not None:
        headers |= next_headers(path, call.query, cursor)
    if row.secret:
        headers["Cache-Control"] = "no-store"
    if answer.etag is not None:
        headers["ETag"] = answer.etag
        headers.setdefault("Cache-Control", "no-cache")
        if row.method == "GET" and is_unchanged(call.headers, answer.etag):
            return Reply(304, headers, b"")
    if row.answers.get(answer.status) is None:
        return Reply(answer.status, headers, b"")
    headers["Content-Type"] = JSON_TYPE
    return Reply(answer.status, headers, orjson.dumps(document))


def error_reply(problem: Problem, path: str, headers: Mapping[str, str]) -> Reply:
    """Return the reply to a request that failed, in the form that its client asks for."""
    wanted = headers.get("accept", "")
    kind = PROBLEM_TYPE if PROBLEM_TYPE in wanted else JSON_TYPE
    body = orjson.dumps(problem_document(problem, path))
    sent = {"Cache-Control": "no-store", **problem.headers, "Content-Type": kind}
    return Reply(problem.status, sent, body)
