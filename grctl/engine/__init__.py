"""The pure core: what happens next, decided without I/O, a clock or dice.

Nothing here waits, reads a file, asks the time or talks to a database, so that every rule can be
tried in a test with plain values.
"""
