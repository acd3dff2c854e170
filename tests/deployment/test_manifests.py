"""What is given to Kubernetes and systemd, checked by their own rules."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deployment.compose import REPOSITORY

MANIFESTS = sorted((REPOSITORY / "deploy" / "kubernetes").glob("*.yaml"))
UNITS = sorted((REPOSITORY / "deploy" / "systemd").glob("*.service"))


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_accepts_it(manifest: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("kubernetes-validate"), "--strict", manifest],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_it(unit: Path, tmp_path: Path) -> None:
    # It asks that the program exists; where it will be is not here.
    there = tmp_path / unit.name.replace("@", "@1")
    there.write_text(unit.read_text().replace("/opt/grctl/bin/grctl", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", there],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert unit.name.partition("@")[0] not in done.stderr, done.stderr


def test_a_container_is_given_longer_to_drain_than_it_takes() -> None:
    from grctl.settings import Settings

    drain = Settings.model_fields["shutdown_seconds"].default
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    assert int(compose["services"]["worker"]["stop_grace_period"].removesuffix("s")) > drain
    deployment, _ = yaml.safe_load_all((REPOSITORY / "deploy/kubernetes/worker.yaml").read_text())
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > drain
    unit = (REPOSITORY / "deploy/systemd/grctl-worker@.service").read_text()
    assert f"TimeoutStopSec={int(drain) + 10}" in unit


def test_the_image_is_told_only_settings_that_there_are() -> None:
    from grctl.settings import Settings, variable_of

    known = {variable_of(name) for name in Settings.model_fields}
    files = [REPOSITORY / "Dockerfile", REPOSITORY / "docker-compose.yml", *MANIFESTS]
    for file in files:
        for name in set(re.findall(r"\bGRCTL_[A-Z_]+", file.read_text())) - {"GRCTL_IMAGE"}:
            assert name in known, f"{file.name}: {name}"
