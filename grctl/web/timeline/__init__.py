"""The timeline: a run's history as a picture. ``story`` and ``telling`` say what there is to see,
``axis`` where a time is, ``picture`` what is drawn. All of it is pure.
"""

from __future__ import annotations
