"""How fast grctl is: see `python -m benchmarks --help`."""
