"""An event-sourced database: append-only aggregates with verifiable history.

The package root holds only what every room may use (errors, limits, config) and the entry points;
docs/architecture.md describes the rooms.
"""

from __future__ import annotations

from eventdbx._version import __version__

__all__ = ["__version__"]
