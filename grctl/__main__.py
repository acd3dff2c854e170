"""`python -m grctl`."""

from __future__ import annotations

from grctl.cli.main import main

if __name__ == "__main__":
    main()
