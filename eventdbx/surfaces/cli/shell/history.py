"""The lines that ``dbx shell`` remembers between calls; those with secrets are not among them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from eventdbx.errors import without_tokens

FILE_NAME = "shell_history"
LINES_MAX = 1_000

_SECRET_OPTIONS = re.compile(
    r"(?:^|\s)--(?:token|dek|data-encryption-key|header|secret|env|passphrase)(?:[=\s]|$)"
)
_SECRET_NAMES = re.compile(
    r"(?i)(?:private_key|signing_key|encryption_keys?|metrics_token|secret|password|passphrase)"
    r"\S*\s*[=:]"
)
_SECRET_ADDRESSES = re.compile(r"://[^\s/@]*:[^\s/@]+@")
"""A password in front of a host."""


def may_be_kept(line: str) -> bool:
    """Say whether a line may be written down; one that begins with a blank asks not to be."""
    if not line.strip() or line[:1].isspace():
        return False
    if any(one.search(line) for one in (_SECRET_OPTIONS, _SECRET_NAMES, _SECRET_ADDRESSES)):
        return False
    return without_tokens(line) == line


class History:
    """A file that its owner alone can read; without it the shell works, and forgets."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[str]:
        """Return the newest lines, the oldest first, and cut a file that has grown long."""
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                os.fchmod(file.fileno(), 0o600)
                found = file.read().splitlines()
        except OSError:
            return []
        if len(found) > 2 * LINES_MAX:
            self._cut(found[-LINES_MAX:])
        return found[-LINES_MAX:]

    def _cut(self, lines: list[str]) -> None:
        from eventdbx.errors import IoError
        from eventdbx.services.files import replace_text

        try:
            replace_text(self._path, "".join(f"{line}\n" for line in lines))
        except IoError:
            return

    def add(self, line: str) -> None:
        """Write a line down, unless something in it is secret."""
        if not may_be_kept(line):
            return
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, flags, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            return
