"""A process that writes through the store and says what was acknowledged, until it is killed."""

from __future__ import annotations

import sys

from eventdbx.storage.rocks import RocksStore
from eventdbx.storage.store import Store, Transaction, threaded

IN_FLIGHT = 20


def main(path: str) -> None:
    """Write numbers into the store at ``path``; print each one that is acknowledged."""
    from twisted.internet import reactor

    store = Store(RocksStore.open(path), hop=threaded(reactor))  # type: ignore[arg-type]
    numbers = iter(range(sys.maxsize))

    def write(_: object = None) -> None:
        number = next(numbers)

        def step(transaction: Transaction) -> int:
            before = transaction.get(b"count") or b"0"
            assert int(before) == number
            transaction.put(b"count", b"%d" % (number + 1))
            transaction.put(b"n%09d" % number, b"x" * (number % 700))
            return number

        store.transact(step).addCallback(acknowledged)

    def acknowledged(number: int) -> None:
        print(number, flush=True)
        write()

    for _ in range(IN_FLIGHT):
        write()
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
