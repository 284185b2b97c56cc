from __future__ import annotations

from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st

from proxyd.config.flow_routes import FlowRoute, HelloMatch
from proxyd.config.flow_shadow import Shadow, shadowed_hellos

NAMES = ["none", "a", "x.a", "y.x.a", "*.a", "*.x.a"]
PROTOCOLS = ["h2", "h3", "x"]
routes_of = st.lists(
    st.builds(
        lambda sni, alpn: FlowRoute.model_validate({"match": {"sni": sni, "alpn": alpn}, "to": "app"}),
        st.lists(st.sampled_from(NAMES), unique=True, max_size=3),
        st.lists(st.sampled_from(PROTOCOLS), unique=True, max_size=2),
    ),
    max_size=5,
)
# Enough hellos to tell every two of these patterns apart; "z" stands for all protocols without a name here.
HELLOS = list(
    product(
        ["", "a", "x.a", "w.a", "y.x.a", "w.x.a", "other"],
        [offer for size in range(5) for offer in combinations([*PROTOCOLS, "z"], size)],
    )
)


def fits(pattern: str, name: str) -> bool:
    return name.endswith(pattern[1:]) if pattern.startswith("*.") else name == pattern


def takes(route: FlowRoute, name: str, offer: tuple[str, ...], only: str | None = None) -> bool:
    names = route.names if only is None else (only,)
    return (not names or any(fits(pattern, name) for pattern in names)) and (not route.alpn or bool({*route.alpn} & {*offer}))


@given(routes_of)
def test_against_trying_hellos(routes: list[FlowRoute]) -> None:
    """What is called lost takes no hello first; and a name that takes none, although one earlier route would do, is found."""
    found = shadowed_hellos(routes)
    for number, route in enumerate(routes):
        for place, pattern in enumerate(route.names or (None,)):
            left = any(takes(route, *hello, pattern) and not any(takes(other, *hello) for other in routes[:number]) for hello in HELLOS)
            shadow = found.get(number)
            lost = shadow is not None and (shadow.whole or place in shadow.names)
            if lost:
                assert not left
            elif any(all(takes(other, *hello) for hello in HELLOS if takes(route, *hello, pattern)) for other in routes[:number]):
                raise AssertionError((number, pattern))


def test_who_takes_it() -> None:
    routes = [
        FlowRoute.model_validate({"match": match, "to": "app"})
        for match in ({"sni": "a", "alpn": "h2"}, {"sni": "*.a", "alpn": ["h3"]}, {"sni": ["a", "b"], "alpn": ["h2"]}, "*", {"sni": "c"})
    ]
    assert shadowed_hellos(routes) == {2: Shadow(False, (0,), (0,)), 4: Shadow(True, (0,), (3,))}


def test_several_take_together_what_offers_one_of_theirs() -> None:
    routes = [FlowRoute.model_validate({"match": {"alpn": alpn}, "to": "app"}) for alpn in (["h2"], ["h3"], ["h3", "h2"], ["h2", "x"], [])]
    assert shadowed_hellos(routes) == {2: Shadow(True, (), (0, 1))}


def test_ten_thousand_names() -> None:
    routes = [FlowRoute.model_construct(to={}, match=HelloMatch.model_construct(sni=(f"a{i}.b",), alpn=())) for i in range(10_000)]
    assert shadowed_hellos(routes) == {}
