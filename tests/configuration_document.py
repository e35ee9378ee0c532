"""The page about the configuration, printed from the declarations of the keys.

``python -m tests.configuration_document > docs/configuration.md``; a test holds the page equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from eventdbx.keys import GENERATED, ON_FILES_ALONE, Declared, declared, environment_names
from eventdbx.surfaces.cli.config_command import SETTINGS

HEAD = """\
# Configuration

Each key once: its value by default, its range, and whether a running server takes it up. The tables
are printed from the declarations (`python -m tests.configuration_document > docs/configuration.md`); a
test holds this page equal to them.

## The file

`config.toml` of the workspace ([operations.md](operations.md) says where it is), TOML, every key
optional. `dbx` writes it in one step under a lock, readable by its owner alone; a crash leaves the old
file or the new one. Comments, the order of things, and keys that only other EventDBX releases know stay
when it is changed. A key that no release knows is passed over; the server warns of it at its start,
and `dbx config --check` fails and says which key was meant.

An option of the command line beats the environment, which beats the file, which beats the default.
Values of the environment are never written to the file. Each key has the variable that its table
names. A secret (marked so) can also be in a file: `EVENTDBX_DATA_ENCRYPTION_KEY_FILE` names it, and so
on for the others; or a command prints it, `EVENTDBX_DATA_ENCRYPTION_KEY_COMMAND`. A list is separated by commas there, or written as in TOML.

## Showing and changing it

| command | does |
|---|---|
| `dbx config` | shows what is asked about most, and all that differs from its default; secrets as `<hidden>` |
| `dbx config --all` | shows every key |
| `dbx config page_limit` | prints one value, bare; `dbx config auth` one table |
| `dbx config --show-secrets` | shows secrets, too |
| `dbx config --page-limit 500` | changes a key that has an option |
| `dbx config --set auth.default_ttl_secs=900` | changes any key |
| `dbx config --unset log.dir` | goes back to the default |
| `dbx config --check` | says whether the file is valid, with changes whether they would do; for CI |
| `dbx config --reload` | lets the running server read the file again |

A change is checked as a whole before it is saved: a value out of its range, a key of the wrong type
or two keys that do not go together are refused with the name of the key.

## While a server runs

A server takes up what is marked *at once* below: when `dbx config` changes something, at
`dbx config --reload`, on SIGHUP (in the foreground and under `twistd`, too), and by
`PATCH /admin/config` or `POST /admin/config/reload` of the Admin API. Either all of it is in force
afterwards or, when one part refuses (a port that is taken, a key that is none, a file that does not
parse), nothing; the reason is told to who asked, and logged. Open connections stay.

The other keys count at the next start. They are named: `restart required for: port`, in `dbx status`
and in `GET /admin/status`.

- `admin.bind_addr`, `admin.port` and `admin.endpoints` are taken up at once while the Admin API is off.
- New schemas take `snapshot_threshold` as it is then; those that exist keep theirs.
- `data_encryption_key` is changed while no server runs: it could not read what is sealed anew.
- A new signing key is taken up without a restart when `dbx token rotate` made it, or when the file changes.
- Remotes and previous signing keys are tables: `dbx token rotate` and the Admin API keep them.

{ALONE} are changed on the server's own files alone, not over the Admin API.

## Keys
"""  # noqa: E501 - lines of a page

TABLES = {
    "": "At the top of the file.",
    "plugin_queue.prune": "What is remembered of deliveries that went well.",
    "replication": "",
    "socket": "The control port.",
    "http": "The port of health and metrics.",
    "admin": "The Admin API.",
    "tenants": "",
    "auth": "Tokens.",
    "log": "",
    "limits": "Bounds that may be moved; all others are fixed.",
    "integrity": "What is signed and who vouches for it ([integrity.md](integrity.md)).",
}
"""What is said before the keys of a table."""

MANY = {
    "auth.previous_keys": "One table for each key, newest last.",
    "remotes": "`[remotes.NAME]`, one for each remote.",
}


def _range(key: Declared) -> str:
    rules, kind = key.item.metadata, str(key.item.type)
    if kind.startswith("bool"):
        return "`true`, `false`"
    if kind.startswith("int"):
        low, high = rules["low"], rules["high"]
        if high is None:
            return "whole number"
        bounds = f"{low:,} to {high:,}" if high < 2**62 else f"from {low:,}"
        return bounds + (", moved into it" if rules["clamp"] else "")
    return "list of texts" if kind.startswith("tuple") else "text"


def _default(value: Any, path: str) -> str:
    if path in GENERATED or path == "auth.key_id":
        return "made"
    if value is None or value in ("", ()):
        return "–"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _row(key: Declared, options: dict[str, str]) -> str:
    rules = key.item.metadata
    about = rules["about"] + (" (secret)" if rules["secret"] else "")
    names = environment_names(key.path)
    cells = (
        f"`{key.path}`",
        about,
        _default(key.item.default, key.path),
        _range(key),
        f"`{options[key.path]}`" if key.path in options else "",
        f"`{names[0]}`" if names else "",
        "at once" if rules["live"] else "next start",
    )
    return "| " + " | ".join(cells) + " |"


def _tables() -> Iterator[str]:
    options = {one.path: one.flags[0] for one in SETTINGS} | {"no_noise": "--no-noise"}
    table = None
    for key in declared():
        if key.many is not None:
            continue
        head = key.path.rpartition(".")[0]
        if head != table:
            table = head
            yield f"\n### {f'`[{head}]`' if head else 'Top'}\n"
            if TABLES[head]:
                yield TABLES[head] + "\n"
            yield "| key | what | default | range | option | variable | counts |"
            yield "|---|---|---|---|---|---|---|"
        yield _row(key, options)
    for key in declared():
        if key.many is not None:
            yield f"\n### `{key.path}`\n"
            about = key.item.metadata["about"]
            yield f"{about[0].upper()}{about[1:]}. {MANY[key.path]} All of it counts at once.\n"
            yield "| key | what |"
            yield "|---|---|"
            for one in declared(key.many):
                if one.item.metadata["about"]:
                    yield f"| `{one.path}` | {one.item.metadata['about']} |"


def document() -> str:
    """Return the whole page."""
    alone = ", ".join(f"`{path}`" for path in sorted(ON_FILES_ALONE))
    return HEAD.replace("{ALONE}", alone) + "\n".join(_tables()) + "\n"


if __name__ == "__main__":
    print(document(), end="")
