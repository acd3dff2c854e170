"""The dashboard: how things stand, what a run did and does, and the means to put it right.

Pages are made on the server; a small script renews them in place. ``app`` puts it together,
``serve`` runs it. ``guard`` decides who gets in, ``pages`` has one module a page, ``timeline``
draws a run. It reads by ``grctl.postgres`` and acts by ``grctl.client`` alone. Needs the extra
``grctl[web]``.
"""

from __future__ import annotations
