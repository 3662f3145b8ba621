"""Layers that an equation learner has unless it is told others. Imports nothing, so settings can name them."""

__all__ = ["DEFAULT_LAYERS"]

DEFAULT_LAYERS = (
    "id*3 square cube pow4 pow5 pow6 sin*2 cos*2 exp log mul*2 div*2",
    "add*2 mul*2 div id*4 square sin cos exp sum",
    "add mul*2 div sqrt exp log sin id*3 sum",
    "add*2 mul div id",
)
"""One network for all problems: polynomials, products and quotients, and one function inside another."""
