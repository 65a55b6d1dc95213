"""HTTPRoutes, Ingresses and Routes made by Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.unit.edge.edge_objects import Object
from tests.unit.edge.edge_strategies import DURATIONS, NAMES, PATHS
from tests.unit.edge.provider_objects import CANDIDATE, STABLE, http_route, ingress, openshift_route

_PAIRS = st.lists(st.fixed_dictionaries({"name": NAMES, "value": NAMES}), max_size=2, unique_by=lambda p: p["name"])
_CONDITIONS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Exact", "RegularExpression"]),
            "name": NAMES,
            "value": st.sampled_from(["a", "[0-9]+"]),
        }
    ),
    max_size=2,
    unique_by=lambda condition: condition["name"],
)
_MATCHES = st.fixed_dictionaries(
    {
        "path": st.builds(
            lambda kind, value: {"type": kind, "value": value},
            st.sampled_from(["Exact", "PathPrefix", "RegularExpression"]),
            PATHS,
        )
    },
    optional={"headers": _CONDITIONS, "queryParams": _CONDITIONS, "method": st.sampled_from(["GET", "POST"])},
)
_MODIFIERS = st.fixed_dictionaries({}, optional={"set": _PAIRS, "add": _PAIRS, "remove": st.lists(NAMES, max_size=2)})
_FULL_PATH = st.fixed_dictionaries({"type": st.just("ReplaceFullPath"), "replaceFullPath": PATHS})
_HEADERS = st.one_of(
    st.builds(lambda m: {"type": "RequestHeaderModifier", "requestHeaderModifier": m}, _MODIFIERS),
    st.builds(lambda m: {"type": "ResponseHeaderModifier", "responseHeaderModifier": m}, _MODIFIERS),
)
_REWRITES = st.builds(lambda p: {"type": "URLRewrite", "urlRewrite": {"hostname": "inner", "path": p}}, _FULL_PATH)
_REDIRECTS = st.builds(
    lambda p, code: {"type": "RequestRedirect", "requestRedirect": {"path": p, "statusCode": code}},
    _FULL_PATH,
    st.sampled_from([301, 302]),
)
_MIRRORS = st.builds(
    lambda percent: {
        "type": "RequestMirror",
        "requestMirror": {"backendRef": {"name": CANDIDATE, "port": 80}, "percent": percent},
    },
    st.integers(0, 100),
)
_BACKENDS = st.lists(
    st.builds(
        lambda name, weight, filters: {"name": name, "port": 80, "weight": weight, "filters": filters},
        st.sampled_from([STABLE, CANDIDATE, "nowhere"]),
        st.integers(0, 1_000_000),
        st.lists(_HEADERS, max_size=1),
    ),
    max_size=3,
)
_FILTERS = st.one_of(
    st.lists(st.one_of(_HEADERS, _MIRRORS), max_size=2),
    st.builds(lambda one: [one], st.one_of(_REWRITES, _REDIRECTS)),
)
RULES = st.fixed_dictionaries(
    {"backendRefs": _BACKENDS, "matches": st.lists(_MATCHES, max_size=2)},
    optional={
        "filters": _FILTERS,
        "timeouts": st.fixed_dictionaries({"request": DURATIONS}),
        "sessionPersistence": st.fixed_dictionaries({"sessionName": NAMES}),
    },
)
HTTP_ROUTES = st.builds(lambda rules: http_route(*rules), st.lists(RULES, min_size=8, max_size=16))
_KINDS = st.sampled_from(["Exact", "Prefix", "ImplementationSpecific"])
_INGRESS_PATHS = st.lists(st.tuples(PATHS, _KINDS), min_size=1, max_size=4)
_CANARIES = st.fixed_dictionaries(
    {"canary": st.just("true"), "canary_weight": st.integers(0, 100).map(str)},
    optional={
        "canary_by_header": NAMES,
        "canary_by_header_value": NAMES,
        "canary_by_header_pattern": st.just("^(a|b)$"),
        "canary_by_cookie": NAMES,
        "affinity_canary_behavior": st.sampled_from(["sticky", "legacy"]),
    },
)
_MAINS = st.fixed_dictionaries({}, optional={"affinity": st.just("cookie"), "proxy_read_timeout": st.just("30")})


@st.composite
def ingresses(draw: st.DrawFn) -> list[Object]:
    """A main Ingress and a canary for the same paths."""
    paths = draw(_INGRESS_PATHS)
    main = ingress("claude-enhancer", STABLE, *paths, **draw(_MAINS))
    return [main, ingress("claude-enhancer-canary", CANDIDATE, *paths, **draw(_CANARIES))]


OPENSHIFT_ROUTES = st.builds(
    lambda weight, path, annotations: openshift_route(weight, path=path, annotations=annotations),
    st.integers(0, 100),
    PATHS,
    st.fixed_dictionaries({}, optional={"router.openshift.io/cookie_name": NAMES}),
)
