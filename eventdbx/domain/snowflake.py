"""Snowflake ids: 64 bits of milliseconds, worker and sequence (docs/glossary.md).

Pure arithmetic: the clock and the last id are arguments. Ids never go backwards, whatever the
clock does, and nothing ever waits for the clock.
"""

from __future__ import annotations

from eventdbx.errors import ConfigError

EPOCH_MS = 1_735_689_600_000
"""2025-01-01T00:00:00Z in Unix milliseconds."""

WORKER_MAX = 1023
_SEQUENCE_MAX = 0xFFF


def check_worker(worker: int) -> int:
    """Return the worker id, or raise ConfigError when it does not fit ten bits."""
    if not 0 <= worker <= WORKER_MAX:
        raise ConfigError(f"snowflake worker id {worker} exceeds maximum {WORKER_MAX}")
    return worker


def next_id(last: int, now_ms: int, worker: int) -> int:
    """Return the id that follows ``last`` at Unix time ``now_ms`` (milliseconds)."""
    candidate = ((now_ms - EPOCH_MS) << 22) | (worker << 12)
    if candidate > last:
        return candidate
    if last & _SEQUENCE_MAX < _SEQUENCE_MAX and (last >> 12) & WORKER_MAX == worker:
        return last + 1
    return (((last >> 22) + 1) << 22) | (worker << 12)


def time_ms(identifier: int) -> int:
    """Return the Unix time of an id in milliseconds, as its maker's clock had it."""
    return (identifier >> 22) + EPOCH_MS
