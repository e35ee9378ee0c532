"""Leaves read out of proofs, whatever bytes stand there."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.events import Actor, leaf_data
from eventdbx.domain.merkle import leaf_hash
from eventdbx.domain.proofdocuments import read_leaf
from eventdbx.domain.proofs import ProofError

U64 = st.integers(0, (1 << 64) - 1)
TIME = st.integers(-(1 << 63), (1 << 63) - 1)
NAME = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
TEXT = st.text(max_size=12)
LEAVES = st.tuples(
    NAME, NAME, NAME, st.none() | NAME, U64, TIME, st.none() | st.builds(Actor, TEXT, TEXT),
    st.integers(1, (1 << 64) - 1), st.binary(min_size=32, max_size=32),
    st.none() | st.binary(min_size=18, max_size=18),
)  # fmt: skip


class Leaves(SynchronousTestCase):
    """What is said of an event in the clear."""

    @settings(deadline=None)
    @given(LEAVES)
    def test_read(self, parts: tuple[object, ...]) -> None:
        """A leaf says what it was made of."""
        kind, name, event, _raw, event_id, at, actor, version, committed, _schema = parts
        data = leaf_data(*parts)  # type: ignore[arg-type]
        found = read_leaf(data)
        self.assertEqual(
            found, (version, event_id, at, committed, kind, name, event, actor, leaf_hash(data))
        )

    @settings(deadline=None)
    @given(LEAVES, st.data())
    def test_damaged(self, parts: tuple[object, ...], data: st.DataObject) -> None:
        """A leaf that is cut off or longer is refused, and so are bytes of any kind."""
        whole = leaf_data(*parts)  # type: ignore[arg-type]
        cut = data.draw(st.integers(0, len(whole) - 1))
        self.assertRaises(ProofError, read_leaf, whole[:cut])
        self.assertRaises(ProofError, read_leaf, whole + b"\x00")
        at = data.draw(st.integers(0, len(whole) - 1))
        changed = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :]
        try:
            read_leaf(changed).words  # noqa: B018
        except ProofError:
            pass
