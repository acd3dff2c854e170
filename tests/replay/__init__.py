"""Replay proven by properties: generated step programs, crashed anywhere, must go on the same."""
