"""Golden histories: what a run of each kind leaves behind, which every later version must replay.

A file has the run's rows as they are stored, and the history that is read from them. Ids, times,
durations and tracebacks stand for themselves no more: see ``stored``. The workflows whose runs
these are, in ``programs``, must not change; what is new gets a new path.

To record anew what has changed on purpose: ``GRCTL_TEST_RECORD=1 pytest tests/histories``.
"""
