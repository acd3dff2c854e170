"""Faults, each made as it happens outside: what is attacked runs in processes of its own."""
