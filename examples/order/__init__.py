"""An order: reserve the items, charge the card, ship the parcels.

Try it with `grctl dev examples.order`. The workflow is in `workflow.py`, what it does to the world
in `tasks.py`, its data in `model.py`.
"""

from __future__ import annotations

from examples.order.workflow import workflow

__all__ = ["workflow"]
