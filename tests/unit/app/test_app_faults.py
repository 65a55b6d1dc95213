"""Faults of the sample application: what is accepted, what is refused and how, what outlives a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.app.faults import FaultError, FaultFile, Faults


def change(body: object, start: Faults | None = None) -> Faults:
    return (start or Faults()).changed(body, agent_count=61)


def test_faults_add_up_and_an_empty_object_heals() -> None:
    faults = change({"latency": 2}, change({"errors": 0.3}))
    assert faults == Faults(errors=0.3, latency=2)
    assert change({"errors": 0}, faults) == Faults(latency=2)
    assert change({}, faults) == Faults()


@pytest.mark.parametrize(
    "body",
    [
        {"errors": 0},
        {"errors": 1.0},
        {"latency": 60},
        {"agents": 61},
        {"coordination": True},
        {"memory": 4096},
        {"crash": False},
        {"slow_start": 20},
    ],
)
def test_good_values_are_taken(body: dict[str, object]) -> None:
    assert {key: change(body).as_dict()[key] for key in body} == body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"errors": 1.5}, "errors=1.5: must be a share from 0 to 1"),
        ({"errors": True}, "errors=true: must be a share"),
        ({"errors": "0.3"}, 'errors="0.3": must be a share'),
        ({"errors": float("nan")}, "errors=nan: must be a share"),
        ({"latency": -1}, "latency=-1: must be seconds from 0 to 60"),
        ({"latency": None}, "latency=null: must be seconds"),
        ({"agents": 62}, "agents=62: must be a whole number from 0 to 61"),
        ({"agents": 2.5}, "agents=2.5: must be a whole number"),
        ({"coordination": 1}, "coordination=1: must be true or false"),
        ({"memory": 4097}, "memory=4097: must be whole MiB from 0 to 4096"),
        ({"crash": "yes"}, 'crash="yes": must be true or false'),
        ({"slow_start": 601}, "slow_start=601: must be seconds from 0 to 600"),
        ({"error": 0.3}, "error=0.3: no such fault; there are errors, latency"),
        ([], "faults are a JSON object, not []"),
        (None, "faults are a JSON object, not null"),
    ],
)
def test_bad_input_is_refused_by_key_and_value(body: object, said: str) -> None:
    with pytest.raises(FaultError) as caught:
        change(body)
    assert str(caught.value).startswith(said)


def test_one_bad_key_leaves_all_as_it_was() -> None:
    start = Faults(errors=0.1)
    with pytest.raises(FaultError):
        change({"latency": 1, "memory": -1}, start)
    assert start == Faults(errors=0.1)


def test_only_what_concerns_a_start_outlives_it(tmp_path: Path) -> None:
    file = FaultFile(tmp_path / "state")
    file.write(Faults(errors=0.3, memory=10, crash=True, slow_start=5))
    assert file.read(Faults(latency=1)) == Faults(latency=1, crash=True, slow_start=5)
    file.write(Faults(errors=0.3))
    assert file.read(Faults()) == Faults()
    assert list((tmp_path / "state").iterdir()) == []


def test_healing_needs_no_folder_to_write_in() -> None:
    FaultFile(Path("/proc/no-such-folder")).write(Faults(errors=1))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"crash": 3}'])
def test_a_spoilt_file_is_no_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "faults.json").write_text(text)
    assert FaultFile(tmp_path).read(Faults()) == Faults()
