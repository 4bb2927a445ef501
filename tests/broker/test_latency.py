import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.latency import LAST, bucket_of, merged, quantile, upper_bound

TIMES = st.floats(2e-6, 60)


@given(TIMES)
def test_a_time_falls_into_the_bucket_that_ends_behind_it(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert upper_bound(bucket - 1) < seconds * 1.000001
    assert seconds <= upper_bound(bucket) * 1.000001


@pytest.mark.parametrize(
    ("seconds", "bucket"), [(-1.0, 0), (0.0, 0), (1e-6, 0), (2e-6, 8), (64.0, 208), (1e9, LAST)]
)
def test_there_are_no_more_buckets_than_that(seconds: float, bucket: int) -> None:
    assert bucket_of(seconds) == bucket


@given(st.lists(TIMES, min_size=1), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_share_is_known_within_a_bucket(times: list[float], share: float) -> None:
    counts = merged(*({bucket_of(seconds): 1} for seconds in times))
    found = quantile(counts, share)
    rank = min(len(times) - 1, max(0, -int(-share * len(times) // 1) - 1))
    assert found is not None
    assert sorted(times)[rank] / 1.1 < found < sorted(times)[rank] * 1.1


def test_nothing_has_no_share() -> None:
    assert quantile({}, 0.5) is None


def test_two_histograms_add_up() -> None:
    assert merged({1: 2, 5: 1}, {5: 3}, {}) == {1: 2, 5: 4}
