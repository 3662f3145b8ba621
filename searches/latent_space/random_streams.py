"""The streams of random numbers of a latent search, beside each other.

Everything random comes from generators that are seeded by the seed of the search, the stream, and the number of
the generation or start, so that a state need not hold any; NumPy's global generator is never touched.
"""

from __future__ import annotations

__all__ = ["STREAMS"]

STREAMS = {"decoding": 1, "elites": 2, "cma": 3, "prior": 5, "paper": 6, "rewriting": 7}
"""Number of every stream."""
