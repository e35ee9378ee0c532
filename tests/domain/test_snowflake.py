"""Ids that only grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from eventdbx.domain.snowflake import EPOCH_MS, check_worker, next_id
from eventdbx.errors import ConfigError


class SnowflakeTests(SynchronousTestCase):
    """Milliseconds, worker and sequence in 64 bits."""

    def test_known_id(self) -> None:
        """The sixth id of worker 7 in a known millisecond is the documented one."""
        now = 1_767_604_211_123
        last = 0
        for _ in range(6):
            last = next_id(last, now, 7)
        self.assertEqual(last, 133859581091672069)

    @given(
        st.lists(st.integers(EPOCH_MS, EPOCH_MS + 10**9), min_size=1, max_size=50),
        st.integers(0, 1023),
    )
    def test_never_backwards(self, clock: list[int], worker: int) -> None:
        """Ids grow and keep their worker, whatever the clock does."""
        last = 0
        for now in clock:
            following = next_id(last, now, worker)
            self.assertGreater(following, last)
            self.assertEqual((following >> 12) & 1023, worker)
            last = following

    def test_full_millisecond(self) -> None:
        """When a millisecond's sequence is used up, the next millisecond begins."""
        last = ((5 << 22) | (3 << 12)) | 4095
        self.assertEqual(next_id(last, EPOCH_MS + 5, 3), (6 << 22) | (3 << 12))

    def test_worker_range(self) -> None:
        """A worker id beyond ten bits is a configuration error that names the maximum."""
        error = self.assertRaises(ConfigError, check_worker, 1024)
        self.assertEqual(
            str(error), "configuration error: snowflake worker id 1024 exceeds maximum 1023"
        )
