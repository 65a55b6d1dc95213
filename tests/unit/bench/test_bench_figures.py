"""What is made of the values of repeated runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.figures import Measurement, Measurements

TIMES = st.lists(st.floats(0.001, 1000), min_size=1, max_size=20)


@given(TIMES)
def test_half_of_the_runs_are_no_slower_than_the_median_and_none_than_the_maximum(values: list[float]) -> None:
    found = Measurement("m", values)
    assert found.median is not None and found.maximum in values
    assert sum(value <= found.median for value in values) * 2 >= len(values)
    assert sum(value >= found.median for value in values) * 2 >= len(values)
    assert all(value <= found.maximum for value in values)


def test_a_multiple_of_the_floor_is_one_of_medians() -> None:
    floor = Measurement("floor", [1.0, 2.0, 9.0])
    assert Measurement("m", [5.0, 1.0, 3.0]).times(floor) == 1.5
    assert Measurement("m", []).times(floor) is None
    assert Measurement("m", [1.0]).times(Measurement("floor")) is None
    assert Measurement("m").document() == {"name": "m", "median": None, "maximum": None, "values": [], "problem": ""}


def test_what_is_missing_is_told_with_its_first_reason() -> None:
    found = Measurements(["a", "b", "c", "d"], runs=2)
    found.add({"a": 1.0, "b": 1.0})
    found.add({"a": 1.0})
    found.fail(["b", "c"], "it broke")
    found.fail(["b"], "it broke again")
    assert found.problems() == ["b (1 of 2 runs); c (0 of 2 runs): it broke", "d (0 of 2 runs): not measured"]
    assert found["a"].values == [1.0, 1.0]
