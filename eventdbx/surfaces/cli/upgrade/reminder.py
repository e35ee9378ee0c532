"""The reminder of newer versions, for those who switched it on: ``upgrade_reminder = true``.

No command waits for it. A command at a terminal may start a process of its own that asks the
package index and remembers the answer; a later one shows it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import click

from eventdbx.errors import EventDBXError
from eventdbx.surfaces.cli.failures import Failure

PAUSE_S = 6 * 3600
OFF = "DBX_NO_UPGRADE_CHECK"

_DOCUMENTS = ("--json", "-o", "--output")


def remind(context: click.Context, args: Sequence[str], environ: Mapping[str, str]) -> None:
    """Show on the terminal that there is a newer version, if one is known; ask if it is time.

    Only commands that have read a configuration that asks for it do so.
    """
    from eventdbx.surfaces.cli.session import known_place

    place = known_place(context)
    if place is None or not place.config.upgrade_reminder or environ.get(OFF) is not None:
        return
    if any(word.partition("=")[0] in _DOCUMENTS for word in args):
        return
    from eventdbx.surfaces.cli.output import note_on_terminal
    from eventdbx.surfaces.cli.upgrade.command import running, state

    remembered = state().read()
    if time.time() - _seconds(remembered.get("last_checked")) > PAUSE_S:
        _ask_aside(environ)
    latest = str(remembered.get("latest_known_version") or "")
    if _is_news(latest, running(), remembered.get("ignored_version")):
        note_on_terminal(
            f"EventDBX {latest} is there (this is v{running()}): `dbx upgrade` says how; "
            f"`dbx upgrade --suppress {latest}` ends this reminder"
        )


def _is_news(latest: str, active: str, ignored: object) -> bool:
    from eventdbx.surfaces.cli.upgrade.tags import order_of

    return bool(latest) and latest != ignored and order_of(latest) > order_of(active)


def _seconds(found: object) -> float:
    return float(found) if isinstance(found, int | float) else 0.0


def _ask_aside(environ: Mapping[str, str]) -> None:
    """Start a process that asks, and forget it."""
    try:
        subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return  # There is no reminder then.


def ask() -> None:
    """Ask the package index, and remember the newest release; a failure waits as long, too."""
    from eventdbx.surfaces.cli.upgrade import index as upgrade_index
    from eventdbx.surfaces.cli.upgrade.command import state

    found = None
    try:
        state().change(last_checked=int(time.time()))  # Nobody else needs to ask meanwhile.
        index = upgrade_index.configured_index(os.environ)
        found = upgrade_index.newest(upgrade_index.releases(index))
        if found is not None:
            state().change(latest_known_version=f"v{found.version}")
    except (Failure, EventDBXError):
        return


if __name__ == "__main__":
    ask()
