"""The version of this package, kept by ``incremental``; nothing else lives here.

Change it with ``python -m incremental.update eventdbx --newversion X.Y.Z``.
"""

from __future__ import annotations

from incremental import Version

__version__ = Version("eventdbx", 0, 1, 0)
__all__ = ["__version__"]
