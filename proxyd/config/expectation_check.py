"""Names in `tests` that the config does not have: told as such, for what a misspelt name expects can only fail."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from proxyd.config.builtin import BUILT_IN
from proxyd.config.doubt import Doubt
from proxyd.config.expectations import NONE_WORD, Expectation
from proxyd.config.model import Config
from proxyd.diagnostics.fail import shown
from proxyd.diagnostics.marked import Step
from proxyd.diagnostics.suggest import closest


def expectation_mistakes(config: Config) -> Iterator[Doubt]:
    if not config.tests:
        return
    routes = {route.name for routes in config.tables() for route in routes}
    routes |= {route.name for name in config.listeners for route in config.flow_routes_of(name)}
    policies = {*config.policies, *BUILT_IN}
    known: dict[str, Collection[str]] = {
        "listener": config.listeners,
        "route": {*routes, NONE_WORD},
        "upstream": config.upstreams,
        "policies": policies,
        "limit": policies,
        "refused": {*policies, *config.listeners, NONE_WORD},
    }
    for index, test in enumerate(config.tests):
        for field, names in known.items():
            yield from _unknown(test, field, names, ("tests", index, field))


def _unknown(test: Expectation, field: str, known: Collection[str], here: tuple[Step, ...]) -> Iterator[Doubt]:
    value = getattr(test, field)
    for number, name in enumerate((value,) if isinstance(value, str) else value or ()):
        if name not in known:
            near = closest(name, known)
            help = (f"did you mean `{near}`? " if near else "") + f"there are: {', '.join(sorted(known)[:20]) or 'none'}"
            what = {"policies": "policy", "limit": "policy", "refused": "policy"}.get(field, field)
            place = here if isinstance(value, str) else (*here, number)
            yield Doubt("PXD-054", f"the test speaks of the {what} {shown(name)}, which is not defined", place, help)
