"""Fuzzing of every reader of a file: a little in CI, and as long as you like by `python -m tests.fuzz`."""
