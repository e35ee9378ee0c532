"""What ends a command early: wrong usage, a failure with its causes, and the exit statuses.

Statuses: 0 done (also "nothing to do"), 1 any failure, 2 wrong usage. With the environment
variable ``EVENTDBX_EXIT_CODES=fine`` a failure is told apart as in :data:`FINE_STATUSES`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile

from eventdbx.errors import AlreadyExists, EventDBXError, without_tokens

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

USAGE = "usage"
"""The code of command lines that cannot be understood."""

INTERNAL = "internal"
"""The code of mistakes of ours."""

_ENDLESS = re.compile(r"\S{1000,}")
_OUTPUT = re.compile(r"--output(?:=(.*))?|-[qvV]*o(?:=?(.+))?", re.DOTALL)
"""The option for the format, behind flags of one letter, too."""

_KEPT = 100
"""So much of a word with a thousand letters is repeated in a message."""

UNREACHABLE = "unreachable"
"""The code of failures to reach a server; it has no error class, for no server sends it."""

FINE_STATUSES: Mapping[str, int] = {
    UNREACHABLE: 3,
    "aggregate_not_found": 4,
    "schema_not_found": 4,
    "schema_exists": 5,
    "schema_violation": 5,
    "aggregate_archived": 5,
    "replication_conflict": 5,
    "invalid_token": 6,
    "token_expired": 6,
    "token_limit_reached": 6,
    "unauthorized": 6,
    "invalid_schema": 7,
    "invalid_cursor": 7,
    "config": 1,
    "storage": 1,
    "io": 1,
    "serialization": 1,
    "tenant_quota": 1,
}
"""Exit status by error code: 3 not reachable, 4 not found, 5 conflict, 6 authorisation,
7 invalid input, 1 everything else."""


class Failure(Exception):
    """A command that cannot go on: a message, what led to it, and what to try instead."""

    def __init__(
        self, message: str, *causes: str, hint: str | None = None, code: str = "config"
    ) -> None:
        self.message = message
        self.causes = causes
        self.hint = hint
        self.code = code
        super().__init__(message)


class UsageFailure(Exception):
    """A command line that cannot be understood. ``usage`` is the line that says how it goes."""

    def __init__(self, message: str, *, usage: str | None = None, tip: str | None = None) -> None:
        self.message = message
        self.usage = usage
        self.tip = tip
        super().__init__(message)

    def text(self) -> str:
        """Return all lines for stderr."""
        parts = [f"error: {self.message}"]
        if self.tip:
            parts.append(f"  tip: {self.tip}")
        if self.usage:
            parts.append(f"Usage: {self.usage}")
        parts.append("For more information, try '--help'.")
        return shown("\n\n".join(parts)) + "\n"


class Stop(Exception):
    """A command that ends at once with a status, having said what there was to say."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(status)


def failure_of(error: EventDBXError) -> Failure:
    """Return the failure that an error of the database is on the command line."""
    shown = error.detail if isinstance(error, AlreadyExists) else str(error)
    return Failure(shown, code=error.code)


def failure_text(failure: Failure, *, hints: bool) -> str:
    """Return all lines for stderr; ``hints`` is for people, scripts compare the rest."""
    lines = [f"Error: {failure.message}"]
    if failure.causes:
        lines += ["", "Caused by:"]
        numbered = len(failure.causes) > 1
        for number, cause in enumerate(failure.causes):
            lines.append(f"    {number}: {cause}" if numbered else f"    {cause}")
    if failure.hint and hints:
        lines += ["", f"hint: {failure.hint}"]
    return shown("\n".join(lines)) + "\n"


def shown(text: str) -> str:
    """Return a message as people see it: without tokens, and words of endless length cut."""
    return _ENDLESS.sub(_cut, without_tokens(text))


def _cut(found: re.Match[str]) -> str:
    return f"{found[0][:_KEPT]}… ({len(found[0])} characters)"


def failure_line(failure: Failure | UsageFailure) -> str:
    """Return the line of JSON for stderr: what people are told in prose, and the code."""
    if isinstance(failure, UsageFailure):
        tips = [one for one in (failure.tip, failure.usage and f"Usage: {failure.usage}") if one]
        hint: str | None = "; ".join(tips) or None
        causes: tuple[str, ...] = ()
        code = USAGE
    else:
        hint, causes, code = failure.hint, failure.causes, failure.code
    import orjson

    error = {
        "code": code,
        "message": shown(failure.message),
        "hint": hint and shown(hint),
        "causes": [shown(one) for one in causes],
    }
    return orjson.dumps({"error": error}).decode() + "\n"


def errors_as_json(args: Sequence[str]) -> bool:
    """Say whether a command line asks for errors as JSON; it need not make sense otherwise."""
    words = list(takewhile(lambda word: word != "--", args))
    for place, word in enumerate(words):
        found = _OUTPUT.fullmatch(word)
        if found is None:
            continue
        glued: str | None = found[1] or found[2]
        following = words[place + 1] if place + 1 < len(words) else ""
        if (following if glued is None else glued) in ("json", "ndjson"):
            return True
    return False


def exit_status(failure: Failure, environ: Mapping[str, str]) -> int:
    """Return the status for a failure: 1, or the fine one if the environment asks for it."""
    if environ.get("EVENTDBX_EXIT_CODES") != "fine":
        return EXIT_FAILED
    return FINE_STATUSES.get(failure.code, EXIT_FAILED)
