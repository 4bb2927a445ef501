from broker.cli.latency_view import CELLS, PLAIN_BARS, histogram, milliseconds


def test_a_histogram_shows_where_the_most_are() -> None:
    line = histogram([1.0] * 8 + [2.0], PLAIN_BARS)
    assert (len(line), line[0], line[-1]) == (CELLS, "#", ".")
    assert set(line[1:-1]) == {"_"}


def test_samples_that_are_all_alike() -> None:
    assert histogram([1.0, 1.0], PLAIN_BARS) == "#" + "_" * (CELLS - 1)


def test_times_have_hundredths() -> None:
    assert milliseconds(0.018239) == "18.24 ms"
