"""Sessions: which requests count as a side's own, and what a change of weights does to them."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rehearsal.edge.names import ClusterName, ServiceName
from rehearsal.edge.persistence import SessionCookie, Side, kept, share, weighted

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,10}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9.-]{0,20}", fullmatch=True)
BASE: dict[str, Any] = {"match": {"prefix": "/"}, "route": {"timeout": "0s"}}


def side(name: str, weight: int = 1) -> Side:
    return Side(ClusterName(ServiceName("ns", name), 80), weight)


def value_of(cookie: SessionCookie, target: Side) -> str:
    """The cookie as a browser brings it back, with a request id filled in."""
    text: str = cookie.setting(target)["header"]["value"]
    return text.partition(";")[0].replace("%REQ(x-request-id)%", "3fa82692-8875")


def carries(cookie: SessionCookie, target: Side, header: str) -> bool:
    return bool(re.fullmatch(cookie.carried(target)["string_match"]["safe_regex"]["regex"], header))


@given(name=NAMES, before=st.dictionaries(NAMES, VALUES, max_size=3), after=st.dictionaries(NAMES, VALUES, max_size=3))
def test_a_cookie_is_known_among_others_and_by_its_own_side_only(
    name: str, before: dict[str, str], after: dict[str, str]
) -> None:
    cookie, ours, other = SessionCookie(name), side("candidate"), side("stable")
    words = [f"{key}={value}" for key, value in before.items() if key != name]
    words += [value_of(cookie, ours), *(f"{key}={value}" for key, value in after.items() if key != name)]
    assert carries(cookie, ours, "; ".join(words))
    assert not carries(cookie, other, "; ".join(words))


@given(name=NAMES, prefix=st.sampled_from(["x", "x-", "_"]))
def test_a_cookie_whose_name_only_ends_alike_is_another(name: str, prefix: str) -> None:
    cookie, ours = SessionCookie(name), side("candidate")
    assert not carries(cookie, ours, prefix + value_of(cookie, ours))


@given(weights=st.lists(st.integers(0, 1_000_000), min_size=1, max_size=4))
def test_a_split_has_the_weights_given_and_leaves_its_template_alone(weights: list[int]) -> None:
    sides = [side(f"s{index}", weight) for index, weight in enumerate(weights)]
    route = weighted(BASE, sides, SessionCookie("c"))
    assert [one["weight"] for one in route["route"]["weighted_clusters"]["clusters"]] == weights
    assert BASE == {"match": {"prefix": "/"}, "route": {"timeout": "0s"}}


def test_users_are_kept_side_by_side_only_with_a_cookie() -> None:
    sides = [side("stable"), side("candidate")]
    assert kept(BASE, sides, None) == []
    routes = kept(BASE, sides, SessionCookie("c"))
    assert [route["route"]["weighted_clusters"]["clusters"][0]["name"] for route in routes] == [
        str(each.cluster) for each in sides
    ]


def test_a_cookie_ends_with_the_browser_unless_it_has_an_age() -> None:
    assert "Max-Age" not in str(SessionCookie("c").setting(side("s")))
    assert "; Max-Age=60; Path=/app; HttpOnly" in str(SessionCookie("c", "/app", 60).setting(side("s")))


@given(part=st.integers(0, 1000), rest=st.integers(1, 1000))
def test_a_share_of_the_requests_is_what_it_says(part: int, rest: int) -> None:
    fraction = share(BASE, part, part + rest)["match"]["runtime_fraction"]["default_value"]
    assert abs(fraction["numerator"] / 1_000_000 - part / (part + rest)) <= 0.5e-6
