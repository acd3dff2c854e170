"""Tests of the dashboard; `chromium` is shared with the pictures of the documentation."""

from __future__ import annotations
