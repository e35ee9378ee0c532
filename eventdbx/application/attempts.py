"""How many wrong tokens an address may show: a budget that fills again by itself.

Whoever shows a good token is never asked; see :mod:`eventdbx.application.admission`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address
from math import ceil

from eventdbx import limits
from eventdbx.errors import AttemptsExceeded


class Attempts:
    """Failed attempts by address.

    Each address may fail ``per_minute`` times in a row, and once more every minute's part after
    that. ``clock`` gives seconds; when it is set back, nobody gains or loses by it. At most
    ``addresses_max`` addresses are remembered, those that failed last; an address that has its
    whole budget needs no memory.
    """

    addresses_max = limits.FAILING_ADDRESSES_MAX

    def __init__(self, clock: Callable[[], float], per_minute: int) -> None:
        self._clock = clock
        self.per_minute = per_minute
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many addresses are remembered."""
        return len(self._spent)

    def check(self, address: str) -> None:
        """Raise AttemptsExceeded while an address has no budget left."""
        spent = self._spent_by(_network(address))
        if spent > self.per_minute - 1:
            wait_s = (spent - self.per_minute + 1) * 60 / self.per_minute
            raise AttemptsExceeded(max(1, ceil(wait_s)))

    def failed(self, address: str) -> None:
        """Count one failed attempt of an address."""
        address = _network(address)
        spent = min(self._spent_by(address) + 1, float(self.per_minute))
        self._spent[address] = spent, self._clock()
        self._spent.move_to_end(address)
        if len(self._spent) > self.addresses_max:
            self._spent.popitem(last=False)

    def _spent_by(self, address: str) -> float:
        known = self._spent.get(address)
        if known is None:
            return 0.0
        spent, at = known
        now = self._clock()
        if now < at:
            self._spent[address] = spent, now
            return spent
        return max(0.0, spent - (now - at) * self.per_minute / 60)


def _network(address: str) -> str:
    """Return what one stranger has at least: an IPv6 address stands for its /64 network."""
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return f"{IPv6Address(int(found) >> 64 << 64)}/64"
