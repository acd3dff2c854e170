"""The database's half of grctl against a small model of it. See ``machine``."""
