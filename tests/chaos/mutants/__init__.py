"""Planted bugs, each of which some test must notice. See ``__main__``."""
