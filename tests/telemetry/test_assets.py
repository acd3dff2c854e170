"""The dashboard, the alerts and the documentation name metrics that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from grctl.postgres.depths import Depths, DueType
from grctl.telemetry import Metrics
from tests.support.processes import REPOSITORY
from tests.telemetry.exposed import claim, end, said, task

ASSETS = REPOSITORY / "grctl" / "telemetry" / "assets"
DASHBOARD = json.loads((ASSETS / "grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((ASSETS / "prometheus-alerts.yml").read_text(encoding="utf-8"))
PAGE = (REPOSITORY / "docs" / "observability.md").read_text(encoding="utf-8")

_SELECTOR = re.compile(r"(grctl_\w+)\{([^}]*)\}")


@pytest.fixture(scope="module")
def samples() -> list[str]:
    """A sample of every series there can be, with the labels it has."""
    metrics = Metrics()
    metrics.claimed([claim("scheduled"), claim("running")])
    metrics.committed([task("n", 1), end("gone")], 0.001)
    return list(said(metrics, Depths((DueType("t", 1, 1.0, 1),), 0, 0, 0, 1, 0)))


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in DASHBOARD["templating"]["list"]:
        yield variable.get("definition", "")
    for group in ALERTS["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_every_metric_that_is_asked_for_exists(samples: list[str]):
    names = {sample.split(" ")[0] for sample in samples}
    asked = {name for each in expressions() for name in re.findall(r"\bgrctl_\w+", each)}
    assert len(asked) > 20
    assert asked - names == set()


def test_every_label_that_is_asked_for_exists(samples: list[str]):
    known = {
        (name, pair.partition("=")[0])
        for name, *pairs in (sample.split(" ") for sample in samples)
        for pair in pairs
    }
    of_prometheus = {"job", "instance"}
    for expression in expressions():
        for name, labels in _SELECTOR.findall(expression):
            for label in re.findall(r"(\w+)[=!]", labels):
                assert label in of_prometheus or (name, label) in known, expression


def test_every_metric_is_documented_and_no_other(samples: list[str]):
    names = {
        re.sub(r"_(bucket|sum|count|created|total)$", "", sample.split(" ")[0])
        for sample in samples
    }
    documented = set(re.findall(r"^\| `(grctl_\w+)", PAGE, re.MULTILINE))
    assert documented == names


def test_every_alert_has_its_remedy():
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            assert f"| `{rule['alert']}` |" in PAGE, rule["alert"]


def test_the_panels_of_the_dashboard_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + dx, place["y"] + dy)
            for dx in range(place["w"])
            for dy in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
