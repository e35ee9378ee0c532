"""The Cap'n Proto schemas, loaded; the only importer of pycapnp.

They stand in ``capnp/`` of a checkout and in ``eventdbx/_capnp/`` of an installed package. Messages
are built with them by clients. The server reads and answers without them, for speed and because
it must see the sizes of structs (:mod:`eventdbx.wire.pointers`); the tests hold the two against
each other.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from eventdbx.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDERS = (_PACKAGE / "_capnp", _PACKAGE.parent / "capnp")


@cache
def _library() -> Any:
    """Return pycapnp, imported late: commands on a store without a server never need it."""
    import capnp

    # To a type checker the folder capnp/ of a checkout looks like the package, which has no types.
    library: Any = capnp
    # It would turn schema files found anywhere on sys.path into modules.
    library.remove_import_hook()
    return library


@cache
def load(name: str) -> Any:
    """Return the schema file ``<name>.capnp`` as a pycapnp module.

    Raises ConfigError when the installation lacks it.
    """
    for folder in _FOLDERS:
        path = folder / f"{name}.capnp"
        if path.exists():
            return _library().load(str(path), imports=[str(folder)])
    raise ConfigError(f"the schema file {name}.capnp is missing from this installation")
