"""Fifty orders, and a worker that is killed in the middle: `python -m examples.demo`."""

from __future__ import annotations
