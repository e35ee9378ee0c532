"""``dbx destroy`` and ``dbx serve destroy``: removing a database, and nothing else.

Only what is known to be ours is deleted. A data directory may have been pointed at a home or a
mount that holds other people's files, and those stay.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from eventdbx.errors import IoError
from eventdbx.services.ournames import is_ours
from eventdbx.services.pidfile import PidFile
from eventdbx.services.workspace import LOCAL_NAME, PID_NAME, Opened
from eventdbx.surfaces.cli.failures import Failure
from eventdbx.surfaces.cli.options import DOCUMENT, option
from eventdbx.surfaces.cli.output import documents_wanted, note, print_line, print_result
from eventdbx.surfaces.cli.places import opened

StopServer = Callable[[Opened], str]


def register_destroy(
    group: click.Group, *, path: str, workspace_only: bool, stop_server: StopServer
) -> None:
    """Add ``destroy`` to the root, or to ``serve``, where it removes the ``.dbx`` directory."""
    remove = _remove_workspace if workspace_only else _remove_everything
    phrase = (
        "Remove the active EventDBX workspace (.dbx)"
        if workspace_only
        else "Destroy all EventDBX data and configuration"
    )

    @group.command("destroy", help=phrase, examples=(f"{path} destroy", f"{path} destroy --yes"))
    @option("--yes", is_flag=True, help="Do not ask")
    @DOCUMENT
    @click.pass_context
    def destroy(context: click.Context, yes: bool) -> None:
        place = opened(context, create=not workspace_only)
        remove(place, yes, stop_server)


def _confirmed(question: str) -> bool:
    sys.stderr.write(f'{question}\nType "destroy" to continue: ')
    sys.stderr.flush()
    if sys.stdin.readline().strip() == "destroy":
        return True
    print_result({"cancelled": True}, "Destroy command cancelled.")
    return False


def _remove_everything(place: Opened, yes: bool, stop_server: StopServer) -> None:
    data_dir, config_path = place.workspace.data_dir, place.workspace.config_path
    question = (
        f"This will permanently delete all EventDBX data under {data_dir} "
        f"and remove the config file at {config_path}."
    )
    if not yes and not _confirmed(question):
        return
    _print_stopped(stop_server(place))
    kept = _empty(place)
    try:
        config_path.unlink(missing_ok=True)
    except OSError as error:
        raise IoError(f"cannot remove {config_path}: {error.strerror}") from None
    if kept:
        note(f"left in {data_dir}, for it is not EventDBX data: {', '.join(kept)}")
    print_result(
        {"removed": str(data_dir), "config": str(config_path), "left": kept},
        f"All EventDBX data and configuration removed from {data_dir}",
    )


def _print_stopped(said: str) -> None:
    if not documents_wanted():
        print_line(said)


def _empty(place: Opened) -> list[str]:
    """Delete our entries of the data directory, and itself if nothing else is in it.

    They are first moved aside in one directory: whatever interrupts the deletion, no half of a
    store is ever taken for a whole one. Returns the names that stay.
    """
    data_dir = place.workspace.data_dir
    # Nobody starts while we delete.
    holding = PidFile(place.workspace.pid_path, doing="dbx destroy")
    holding.acquire(now_ns=time.time_ns())
    try:
        aside = data_dir / ".destroying"
        aside.mkdir(exist_ok=True)
        for name in sorted(os.listdir(data_dir)):
            ours = is_ours(name) and name not in (".destroying", PID_NAME)
            if ours and not _is_mount(data_dir / name):
                os.replace(data_dir / name, _free_name(aside, name))
        shutil.rmtree(aside)
        holding.release()
        kept = sorted(os.listdir(data_dir))
        if not kept and not os.path.ismount(data_dir):
            data_dir.rmdir()
        return kept
    except OSError as error:
        raise IoError(f"cannot remove {error.filename}: {error.strerror}") from None
    finally:
        holding.release()


def _is_mount(path: Path) -> bool:
    return os.path.ismount(path)


def _free_name(folder: Path, name: str) -> Path:
    """Return a name not used by what an interrupted deletion has left."""
    path, number = folder / name, 0
    while path.exists() or path.is_symlink():
        number += 1
        path = folder / f"{name}.{number}"
    return path


def _remove_workspace(place: Opened, yes: bool, stop_server: StopServer) -> None:
    folder = place.workspace.config_path.parent
    if folder.name != LOCAL_NAME:
        raise Failure(f"{folder} is not a {LOCAL_NAME} directory; nothing was removed")
    question = f"This will permanently remove the active EventDBX workspace at {folder}."
    if not yes and not _confirmed(question):
        return
    _print_stopped(stop_server(place))
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise IoError(f"cannot remove {error.filename}: {error.strerror}") from None
    print_result({"removed": str(folder)}, f"Removed EventDBX workspace at {folder}")
