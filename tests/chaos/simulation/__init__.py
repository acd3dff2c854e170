"""Real workers in a simulated world: one seed, one history. See ``story``."""
