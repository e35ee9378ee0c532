"""An event-sourced database: append-only aggregates with verifiable history.

The package root holds only what every room may use (errors, limits, config) and the entry points;
docs/architecture.md describes the rooms.
"""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """``__version__`` as text, on demand: it costs an import that most programs never need."""
    if name == "__version__":
        from eventdbx._version import __version__

        return __version__.public()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
