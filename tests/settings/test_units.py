import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviver.model.units import parse_duration, parse_size
from reviver.settings.describe import duration, size


@given(st.integers(min_value=0, max_value=10**12))
def test_a_duration_that_is_written_is_read_as_the_same(milliseconds: int) -> None:
    assert parse_duration(duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=0.0005)


@given(st.integers(min_value=0, max_value=10**15))
def test_a_size_that_is_written_is_read_as_the_same(length: int) -> None:
    assert parse_size(size(length)) == length


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.5, "500ms"), (5.0, "5s"), (90.0, "1m30s"), (3600.0, "1h"), (93600.0, "1d2h"), (1209600.0, "2w")],
)
def test_a_duration_is_written_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("length", "text"), [(0, "0B"), (1, "1B"), (65536, "64KiB"), (10**6, "1MB"), (1500, "1500B")])
def test_a_size_is_written_as_people_do(length: int, text: str) -> None:
    assert size(length) == text
