"""Answers that wait for something to happen, and can be hurried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred


class Waiting(Deferred[Any]):
    """An answer that is still waited for.

    ``hurry`` makes it fire soon with what is known; cancelling it does the same, and nobody gets
    the answer. One that ``gives_way`` is hurried as soon as its connection has another request to
    answer, for answers keep the order of requests.
    """

    def __init__(self, hurry: Callable[[], None], *, gives_way: bool = False) -> None:
        super().__init__(lambda _self: hurry())
        self.hurry = hurry
        self.gives_way = gives_way
