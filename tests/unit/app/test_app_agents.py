"""Agent files of the sample application: made, written, read back, and refused where they are wrong."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.app.agent_files import AgentFileError, load_agents, parse_agent
from rehearsal.app.agents import VERSIONS, make_agent_files, write_agent_files

GOOD = "---\nname: tester\ndescription: Tests\ncategory: quality\ntools: [Read, Bash]\n---\n\n# Tester\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_has_56_standard_and_5_system_agents(version: str) -> None:
    files = make_agent_files(version)
    agents = [parse_agent(text, key) for key, text in files.items()]
    categories = Counter(agent.category for agent in agents)
    assert len(files) == 61
    assert categories.pop("system") == 5
    assert set(categories) == {"development", "business", "industry", "quality", "specialized"}
    assert len({agent.name for agent in agents}) == 61
    assert {f"{agent.category}__{agent.name}.md" for agent in agents} == set(files)
    assert all(500 <= len(text.encode()) <= 2000 for text in files.values())


def test_the_files_are_the_same_each_time_and_differ_a_little_between_versions() -> None:
    old, new = make_agent_files("5.0"), make_agent_files("5.1")
    assert new == make_agent_files("5.1")
    assert old.keys() == new.keys()
    changed = {key for key in old if old[key] != new[key]}
    assert changed == {
        "development__backend-architect.md",
        "specialized__workflow-optimizer.md",
        "system__orchestrator.md",
        "quality__performance-engineer.md",
    }


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'4\.9'.*5\.0, 5\.1"):
        make_agent_files("4.9")


def test_sub_folders_and_flat_keys_load_alike(tmp_path: Path) -> None:
    flat, nested = tmp_path / "flat", tmp_path / "nested"
    flat.mkdir()
    for key, text in make_agent_files("5.1").items():
        (flat / key).write_text(text)
    write_agent_files("5.1", nested)
    assert load_agents(flat) == load_agents(nested)
    assert len(load_agents(flat).agents) == 61
    assert load_agents(flat).failures == ()


def test_a_config_map_volume_is_seen_once(tmp_path: Path) -> None:
    real = tmp_path / "..2026_11_20"
    real.mkdir()
    (real / "quality__tester.md").write_text(GOOD)
    (tmp_path / "..data").symlink_to(real.name)
    (tmp_path / "quality__tester.md").symlink_to("..data/quality__tester.md")
    loaded = load_agents(tmp_path)
    assert [agent.name for agent in loaded.agents] == ["tester"]
    assert loaded.failures == ()


def test_tools_may_be_words_between_commas() -> None:
    agent = parse_agent(GOOD.replace("[Read, Bash]", "Read, Bash"), "x.md")
    assert agent.tools == ("Read", "Bash")
    assert agent.color is None
    assert agent.instructions == "# Tester"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# no head\n", "x.md:1: no front matter"),
        ("", "x.md:1: no front matter"),
        ("---\nname: a\n", "x.md:1: front matter is not closed by ---"),
        ("---\n- a\n---\n", "x.md:2: front matter is not a mapping"),
        ("---\nname: a\ncategory: [b\n---\n", "x.md:4: front matter is not YAML"),
        ("---\nname: 2026-99-99\n---\n", "x.md:2: front matter is not YAML"),
        (GOOD.replace("name: tester\n", ""), "x.md:1: front matter has no 'name'"),
        (GOOD.replace("category: quality", "category: 7"), "x.md:1: front matter has no 'category'"),
        (GOOD.replace("tools: [Read, Bash]\n", ""), "x.md:1: front matter has no list 'tools'"),
        (GOOD.replace("[Read, Bash]", "[]"), "x.md:1: front matter has no list 'tools'"),
    ],
)
def test_a_bad_file_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(AgentFileError) as caught:
        parse_agent(text, "x.md")
    assert str(caught.value).startswith(said)


def test_bad_files_are_counted_and_the_rest_is_loaded(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tester.md").write_text(GOOD)
    (tmp_path / "binary.md").write_bytes(b"---\n\xff\xfe\n---\n")
    (tmp_path / "bare.md").write_text("no head")
    loaded = load_agents(tmp_path)
    assert [agent.name for agent in loaded.agents] == ["tester"]
    assert len(loaded.failures) == 3
    assert any(failure.startswith("b/tester.md: the name 'tester' is taken") for failure in loaded.failures)
    assert any(failure.startswith("binary.md: can't be read") for failure in loaded.failures)


@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    for candidate in (text, f"---\n{text}\n---\n", GOOD.replace("Tests", text)):
        try:
            assert parse_agent(candidate, "x.md").name
        except AgentFileError as error:
            assert str(error).startswith("x.md:")
