"""Undelivered events as lines of JSON, with the document that each would be sent as."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

import orjson

from eventdbx.domain.canonical import parse
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.plugin.calls import Asking, Document

STATUSES = ("dead", "processing", "pending")
ALL = (1 << 31) - 1
"""A limit that is none."""


def export_jobs(
    plugins: Asking, name: str | None, path: str, statuses: Sequence[str] = STATUSES
) -> int:
    """Write the jobs of a plugin (None: of all) to a new file, ``-`` for stdout; return how many.

    Raises Failure when the file cannot be written; an existing one is not touched.
    """
    if path == "-":
        return _write(jobs_of(plugins, name, statuses), sys.stdout)
    try:
        with open(path, "x", encoding="utf-8") as file:
            return _write(jobs_of(plugins, name, statuses), file)
    except OSError as error:
        raise Failure(f"cannot write {path}", str(error.strerror), code="io") from None


def jobs_of(plugins: Asking, name: str | None, statuses: Sequence[str]) -> Iterator[Document]:
    """Yield jobs with their documents."""
    operation: Document = {"do": "queue", "limit": ALL}
    if name is not None:
        operation["name"] = name
    jobs = plugins.do(operation)["jobs"]
    for status in statuses:
        for job in jobs[status]:
            yield job_of(plugins, job["id"], job["name"]) or job


def job_of(plugins: Asking, number: int, name: str | None = None) -> Document | None:
    """Return a job with its document, or None when there is none of that number."""
    operation: Document = {"do": "job", "id": number}
    if name is not None:
        operation["name"] = name
    found = plugins.do(operation)
    if found["id"] is None:
        return None
    if isinstance(found.get("document"), str):
        found["document"] = parse(found["document"])
    return found


def _write(jobs: Iterator[Document], file: TextIO) -> int:
    count = 0
    for job in jobs:
        file.write(orjson.dumps(job).decode() + "\n")
        count += 1
    return count
