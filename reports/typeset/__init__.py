"""Formulas for the eye, set by code of our own: MathML for a page, characters for a terminal."""
