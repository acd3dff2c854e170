"""``python -m tests.chaos.faults.serve HOME [NAME=VALUE ...]``: an embedded PostgreSQL, started
from where this process is (a network namespace, a false clock), until its stdin ends."""

from __future__ import annotations

import sys
from pathlib import Path

from grctl.dev import EmbeddedPostgres


def main(home: str, *settings: str) -> None:
    with EmbeddedPostgres(
        Path(home), settings=dict(each.split("=", 1) for each in settings)
    ) as server:
        print(server.dsn, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
