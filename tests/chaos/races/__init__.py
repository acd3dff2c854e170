"""A wait, its timer and an event within a millisecond of each other. See ``course``."""
