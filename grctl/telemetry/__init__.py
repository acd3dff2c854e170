"""What operators see of a process: metrics, health and traces."""

from __future__ import annotations

from grctl.telemetry.metrics import Metrics

__all__ = ["Metrics"]
