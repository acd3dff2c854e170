"""The tables and a small model of them stay the same, whatever happens in whatever order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as limits
from hypothesis.stateful import run_state_machine_as_test

from grctl.settings import Settings
from tests.chaos.model.database import Shifted
from tests.chaos.model.machine import Machine


@pytest.fixture
def machine(settings: Settings) -> Iterator[type[Machine]]:
    class Bound(Machine):
        database = Shifted(settings)

    yield Bound
    Bound.database.close()


def test_the_tables_are_what_the_model_says(machine: type[Machine]) -> None:
    explore(machine, examples=120, steps=40)


@pytest.mark.chaos
def test_the_tables_are_what_the_model_says_in_thousands_of_stories(
    machine: type[Machine],
) -> None:
    explore(machine, examples=2000, steps=60)


def explore(machine: type[Machine], *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=limits(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
