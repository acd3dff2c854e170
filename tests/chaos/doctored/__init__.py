"""Records of a real storm, doctored: what each bug would have left behind.

Each function changes one thing, and gives the run (or workflow id) of which the invariant that is
named in its first letters must complain.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.doctored import dealings, execution
from tests.chaos.records import Records

DOCTORED: dict[str, Callable[[Records], str]] = {
    name: made
    for module in (execution, dealings)
    for name, made in vars(module).items()
    if name.startswith("i") and name.split("_")[0][1:].isdigit()
}
"""By name."""
