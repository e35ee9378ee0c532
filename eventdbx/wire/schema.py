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

import capnp as pycapnp

from eventdbx.errors import ConfigError

# To a type checker the folder capnp/ of a checkout looks like the package, which has no types.
capnp: Any = pycapnp

# It would turn schema files found anywhere on sys.path into modules.
capnp.remove_import_hook()

_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDERS = (_PACKAGE / "_capnp", _PACKAGE.parent / "capnp")

SchemaError = capnp.KjException
"""What pycapnp raises for a value that a schema does not take or bytes that it cannot read."""


@cache
def load(name: str) -> Any:
    """Return the schema file ``<name>.capnp`` as a pycapnp module.

    Raises ConfigError when the installation lacks it.
    """
    for folder in _FOLDERS:
        path = folder / f"{name}.capnp"
        if path.exists():
            return capnp.load(str(path), imports=[str(folder)])
    raise ConfigError(f"the schema file {name}.capnp is missing from this installation")
