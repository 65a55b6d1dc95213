"""What people read of a bench."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.bench import measure, report
from tests.bench.calls import CORE, KUBECTL, ROLLOUT, Span
from tests.bench.figures import Measurement
from tests.bench.table import WIDTH, number, table

WORDS = st.text("abc×", min_size=1, max_size=9)


@given(st.integers(1, 5).flatmap(lambda wide: st.lists(st.lists(WORDS, min_size=wide, max_size=wide), min_size=2)))
def test_columns_are_aligned_and_nothing_is_lost(cells: list[list[str]]) -> None:
    lines = table(cells[0], cells[1:])
    assert [line.split() for line in [lines[0], *lines[2:]]] == cells
    if len(cells[0]) > 1:
        assert len({len(line) for line in lines}) == 1


def test_a_missing_number_is_a_dash() -> None:
    assert (number(1.23456), number(2.0, 1), number(None)) == ("1.235", "2.0", "–")


def test_times_show_what_failed() -> None:
    floor = Measurement("floor", [0.5, 0.7, 0.6])
    compared = [floor, Measurement("slow", [1.2]), Measurement("broken", [], "why")]
    lines = report.times(compared, [Measurement("apart", [0.1])])
    assert lines[2].split() == ["floor", "0.600", "0.700", "1.00", "3"]
    assert lines[3].split() == ["slow", "1.200", "1.200", "2.00", "1"]
    assert lines[4].split() == ["broken", "FAILED", "0"]
    assert lines[5].split() == ["apart", "0.100", "0.100", "1"]


def test_calls_of_a_release_add_up() -> None:
    spans = [
        (Span("canary_start", 10, 20), {ROLLOUT: 4, CORE: 3}),
        (Span("between stages", 5, 25), {ROLLOUT: 2, KUBECTL: 1}),
    ]
    lines = report.releases(spans)
    assert lines[2].split() == ["canary_start", "10.0", "4", "3", "0", "7"]
    assert lines[-1].split() == ["whole", "release", "20.0", "6", "3", "1", "10"]


def test_a_weight_change_shows_its_usual_calls() -> None:
    floor = Measurement("floor", [1.0])
    rows = [(Measurement("even", [2.0]), [3, 3]), (Measurement("odd", [2.0]), [3, 9, 3]), (Measurement("none"), [])]
    lines = report.changes(rows, floor)
    assert "  3  " in lines[2] and "3 (most 9)" in lines[3] and "FAILED" in lines[4]


def test_it_all_fits_a_terminal() -> None:
    floor = Measurement(measure.FLOOR, [123.456])
    names = [*measure.ROLLBACK, *measure.BREACH]
    lines = report.times([floor, *(Measurement(name, [1234.5]) for name in names)])
    ways = [name for way in measure.WAYS for name in (measure.up_name(way), measure.down_name(way))]
    lines += report.changes([(Measurement(name, [1234.5]), [10, 100]) for name in ways], floor)
    lines += report.releases([(Span("between stages", 0, 1000), {ROLLOUT: 1000})])
    lines += report.definitions()
    assert max(len(line) for line in lines) <= WIDTH
