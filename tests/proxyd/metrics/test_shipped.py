"""What is shipped for Prometheus and Grafana speaks of metrics that there are. (promtool reads the expressions: accept_metrics.py.)"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxyd.metrics.docs import MetricDoc, metric_docs

FOLDER = Path(__file__).parents[3] / "config"
METRICS: dict[str, MetricDoc] = {metric.name: metric for metric in metric_docs()}
OF_PROMETHEUS = frozenset({"job", "instance", "le"})
RULES: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus" / "rules.yaml").read_text())
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana" / "proxyd.json").read_text())

RECORDED = {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}
SELECTOR = re.compile(r"\b(?P<name>(?:proxyd|process)_[a-z0-9_]+)(?:\{(?P<matchers>[^}]*)\})?")


def rules() -> Iterator[tuple[str, str]]:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def queries() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        yield variable["name"], variable["query"]["query"] if variable["type"] == "query" else ""
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def metric_of(name: str) -> MetricDoc:
    base = re.sub("_(bucket|sum|count)$", "", name)
    return METRICS[base] if base in METRICS and METRICS[base].type == "histogram" else METRICS[name]


@pytest.mark.parametrize(("where", "text"), [*rules(), *queries()])
def test_metrics_and_their_labels_exist(where: str, text: str) -> None:
    for found in SELECTOR.finditer(text):
        metric = metric_of(found["name"])
        named = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", found["matchers"] or ""))
        assert named <= {*metric.labels} | OF_PROMETHEUS, f"{metric.name} has {metric.labels}"
    assert set(re.findall(r"\bproxyd:[a-z0-9_:]+", text)) <= RECORDED


@pytest.mark.parametrize(("where", "text"), [*rules(), *queries()])
def test_labels_that_are_kept_or_left_exist(where: str, text: str) -> None:
    labels = {label for found in SELECTOR.finditer(text) for label in metric_of(found["name"]).labels} | OF_PROMETHEUS
    for word, names in re.findall(r"\b(by|without)\s*\(([^)]*)\)", text):
        assert set(re.split(r"\s*,\s*", names.strip())) <= labels, word


@pytest.mark.parametrize(("where", "text"), [*rules(), *queries()])
def test_counters_are_read_as_rates(where: str, text: str) -> None:
    for found in SELECTOR.finditer(text):
        if metric_of(found["name"]).type != "gauge" and "label_values" not in text:
            assert re.search(r"(rate|increase)\($", text[: found.start()]), f"{found['name']} is a {metric_of(found['name']).type}"


def test_rules_say_how_bad_it_is_and_what_it_is() -> None:
    alerts = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    assert {rule["labels"]["severity"] for rule in alerts} == {"critical", "warning", "info"}
    assert all(set(rule["annotations"]) == {"summary", "description"} for rule in alerts)


def test_legends_name_labels_that_their_query_keeps() -> None:
    for panel in panels():
        for target in panel["targets"]:
            kept = re.findall(r"\bby\s*\(([^)]*)\)", target["expr"])
            if "{{" in target["legendFormat"] and kept:
                assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= set(re.split(r"\s*,\s*", kept[0])), panel["title"]


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    every = DASHBOARD["panels"]
    assert DASHBOARD["schemaVersion"] >= 38, "Grafana 10"
    assert len({panel["id"] for panel in every}) == len(every)
    assert {panel["type"] for panel in every} == {"row", "stat", "timeseries"}
    assert all(target["datasource"]["uid"] == "${datasource}" for panel in panels() for target in panel["targets"])
    cells: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        own = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & own, f"{panel['title']} lies over another"
        cells |= own


def test_the_scrape_job_is_the_one_that_the_rules_ask_for() -> None:
    scrape = yaml.safe_load((FOLDER / "prometheus" / "scrape.yaml").read_text())
    assert [job["job_name"] for job in scrape["scrape_configs"]] == ["proxyd"]
    assert {job for _, text in rules() for job in re.findall('job="([^"]*)"', text)} == {"proxyd"}
    assert scrape["rule_files"] == ["rules.yaml"]
