"""How large an equation from outside may be: what the printers, the canonical form and SymPy can hold.

Some of these are recursive and some take time that grows with the square of the length, so the limits hold where
an equation is read, as text or as a program.
"""

__all__ = ["MAX_DEPTH", "MAX_TEXT", "MAX_TOKENS"]

MAX_TEXT = 100_000
"""Characters of an equation as text."""

MAX_TOKENS = 1_000
"""Operators, variables and constants of an equation."""

MAX_DEPTH = 200
"""Operators inside each other; a sum of n terms has n - 1."""
