"""The store against a model that is a dict, in every interleaving that the search finds."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.errors import StorageError, StoreFailed
from eventdbx.storage.interfaces import IReadView
from eventdbx.storage.store import Store, Transaction
from tests.storage.stepper import FaultyStore, Stepper

KEYS = st.sampled_from([b"a", b"b", b"ba", b"c", b"d"])
CHANGES = st.dictionaries(KEYS, st.one_of(st.none(), st.binary(max_size=3)), max_size=4)
EVERYTHING = (b"", b"\xff")

Model = dict[bytes, bytes]


def changed(model: Model, changes: dict[bytes, bytes | None]) -> Model:
    """``model`` after ``changes``."""
    merged = {**model, **changes}
    return {key: value for key, value in merged.items() if value is not None}


class StoreMachine(RuleBasedStateMachine):
    """Steps arrive, the disk moves, views are taken; answers are compared with the model."""

    def __init__(self) -> None:
        super().__init__()
        self.backend = FaultyStore()
        self.hop = Stepper()
        self.told: list[Failure] = []
        self.store = Store(self.backend, hop=self.hop, on_failure=self.told.append)
        self.accepted: Model = {}
        self.durable: Model = {}
        # Everything that was accepted: the model after it; and the answers, in order.
        self.after: list[Model] = []
        self.answers: list[tuple[int, Any]] = []
        self.views: list[tuple[IReadView, Model]] = []

    def answered(self, outcome: Any, number: int) -> None:
        self.answers.append((number, outcome))
        if isinstance(outcome, Failure) and outcome.check(StoreFailed):
            return
        self.durable = self.after[number]

    def transact(self, changes: dict[bytes, bytes | None], raises: bool) -> None:
        number = len(self.after)
        expected = self.accepted

        def step(transaction: Transaction) -> int:
            assert dict(transaction.scan(*EVERYTHING)) == expected
            for key, value in changes.items():
                if value is None:
                    transaction.delete(key)
                else:
                    transaction.put(key, value)
            now = changed(expected, changes)
            assert list(transaction.scan(*EVERYTHING)) == sorted(now.items())
            backwards = list(transaction.scan(*EVERYTHING, reverse=True))
            assert backwards == sorted(now.items(), reverse=True)
            for key in (b"a", b"b", b"ba", b"c", b"d", b"e"):
                assert transaction.get(key) == now.get(key)
            if raises:
                raise LookupError(number)
            return number

        if not raises and not self.told:
            self.accepted = changed(expected, changes)
        self.after.append(self.accepted)
        answer: Deferred[int] = self.store.transact(step)
        answer.addBoth(self.answered, number)

    @rule(changes=CHANGES, raises=st.booleans())
    def step_arrives(self, changes: dict[bytes, bytes | None], raises: bool) -> None:
        self.transact(changes, raises)

    @precondition(lambda self: self.hop.underway)
    @rule()
    def disk_moves(self) -> None:
        self.hop.step()

    @precondition(lambda self: not self.told)
    @rule()
    def view_is_taken(self) -> None:
        self.views.append((self.store.view(), self.durable))

    @precondition(lambda self: self.hop.underway and not self.told)
    @rule()
    def disk_fails(self) -> None:
        self.backend.sync_error = StorageError("disk gone")
        self.hop.step()
        assert len(self.told) == 1
        assert len(self.answers) == len(self.after)

    @invariant()
    def answers_come_in_order(self) -> None:
        assert [number for number, _ in self.answers] == list(range(len(self.answers)))
        lost = [isinstance(a, Failure) and bool(a.check(StoreFailed)) for _, a in self.answers]
        assert lost == sorted(lost), "acknowledged after a loss"

    @invariant()
    def views_stand_still(self) -> None:
        for view, model in [*self.views, (self.store.view(), self.durable)]:
            assert dict(view.scan(*EVERYTHING)) == model

    def teardown(self) -> None:
        closed: list[None] = []
        self.store.close().addCallback(closed.append)
        self.hop.settle()
        assert closed == [None]
        assert len(self.answers) == len(self.after)
        assert self.told or self.durable == self.accepted
        assert self.backend.calls[-1] == "close"


class StoreModelTests(SynchronousTestCase):
    """Whatever arrives and whenever the disk moves, the store does what a dict would."""

    def test_model(self) -> None:
        """No answer comes early, late or out of order, and no view ever changes."""
        run_state_machine_as_test(
            StoreMachine,
            settings=settings(
                max_examples=120, stateful_step_count=40, deadline=None, database=None
            ),
        )
