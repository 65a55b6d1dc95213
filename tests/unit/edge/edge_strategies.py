"""VirtualServices made by Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.unit.edge.edge_objects import Object, target

NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
PATHS = st.from_regex(r"/[a-z0-9/]{0,12}", fullmatch=True)
DURATIONS = st.builds("{}{}".format, st.integers(1, 90), st.sampled_from(["ms", "s", "m"]))


def _some(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Object]:
    """An object with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


STRINGS = st.one_of(
    st.fixed_dictionaries({"exact": PATHS}),
    st.fixed_dictionaries({"prefix": PATHS}),
    st.fixed_dictionaries({"regex": st.sampled_from(["/api/v[0-9]+/.*", "(GET|POST)", ".*"])}),
)
MATCHES = _some(
    {
        "uri": STRINGS,
        "method": STRINGS,
        "ignoreUriCase": st.booleans(),
        "headers": st.dictionaries(NAMES, st.one_of(STRINGS, st.just({})), max_size=2),
        "withoutHeaders": st.dictionaries(NAMES, STRINGS, max_size=1),
        "queryParams": st.dictionaries(NAMES, STRINGS, max_size=1),
    }
)
VALUES = st.dictionaries(NAMES, NAMES, max_size=2)
OPERATIONS = _some({"set": VALUES, "add": VALUES, "remove": st.lists(NAMES, max_size=2, unique=True)})
HEADERS = _some({"request": OPERATIONS, "response": OPERATIONS})
PERCENTAGES = st.fixed_dictionaries({"value": st.floats(0, 100)})
FAULTS = _some(
    {
        "delay": st.fixed_dictionaries({"fixedDelay": DURATIONS, "percentage": PERCENTAGES}),
        "abort": st.fixed_dictionaries({"httpStatus": st.sampled_from([418, 500, 503]), "percentage": PERCENTAGES}),
    }
).filter(bool)
RETRIES = _some({"attempts": st.integers(0, 5), "perTryTimeout": DURATIONS, "retryOn": st.just("5xx,reset,503")})


@st.composite
def destinations(draw: st.DrawFn) -> list[Object]:
    """One to three destinations whose weights sum to 100."""
    count = draw(st.integers(1, 3))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=count - 1, max_size=count - 1)))
    weights = [high - low for low, high in zip([0, *cuts], [*cuts, 100], strict=True)]
    made = []
    for weight, subset in zip(weights, ("stable", "candidate", "elsewhere"), strict=False):
        one = target(subset, weight)
        headers = draw(HEADERS)
        made.append(one | ({"headers": headers} if headers else {}))
    return made


ROUTES = st.builds(
    lambda route, options: {"route": route} | options,
    destinations(),
    _some(
        {
            "match": st.lists(MATCHES, min_size=1, max_size=3),
            "timeout": DURATIONS,
            "retries": RETRIES,
            "headers": HEADERS,
            "fault": FAULTS,
            "mirror": st.just({"host": "claude-enhancer", "subset": "candidate"}),
        }
    ),
)
