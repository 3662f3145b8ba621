"""Equations as vector paths, set by matplotlib's mathtext."""

from __future__ import annotations

import re
from functools import lru_cache

from reports.html_parts.escaping import escape

__all__ = ["typeset"]

LONGEST_LATEX = 4000
"""Longer equations are shown as text: nobody reads them typeset, and mathtext takes seconds."""
LINE_WIDTH = 56.0
"""Width of a line of an equation, in units of the font size; longer ones are broken before a + or -."""


def typeset(latex: str, label: str = "") -> str | None:
    """An equation as an inline SVG of one path a line, in the text's colour.

    Args:
        latex: LaTeX between two dollar signs; long ones are broken before a + or - that is in no bracket.
        label: Text of the equation, for those who cannot see it.

    Returns:
        The SVG element, or None where mathtext cannot set it.
    """
    if len(latex) > LONGEST_LATEX:
        return None
    try:
        lines = _broken(latex)
    except Exception:  # mathtext raises ValueError, and IndexError, RuntimeError and others from inside its parser
        return None
    drawn, top, width = [], 0.0, 0.0
    for index, (path, box) in enumerate(lines):
        left = 0.0 if index == 0 else 2.0
        baseline = top + box[3]
        drawn.append(f'<path transform="translate({left - box[0]:.2f} {baseline:.2f}) scale(1 -1)" d="{path}"/>')
        top = baseline - min(box[1], 0.0) + 0.6
        width = max(width, left + box[2] - box[0])
    height = top - 0.6
    return (
        f'<svg class="math" role="img" aria-label="{escape(label or latex)}" '
        f'width="{width:.2f}em" height="{height:.2f}em" '
        f'viewBox="-0.05 -0.05 {width + 0.1:.2f} {height + 0.1:.2f}" fill="currentColor">{"".join(drawn)}</svg>'
    )


Line = tuple[str, tuple[float, float, float, float]]
"""Path data with y upwards, and (left, bottom, right, top), both in units of the font size."""


def _broken(latex: str) -> list[Line]:
    """The lines of an equation, each at most `LINE_WIDTH` wide where there is a place to break it."""
    whole = _line(latex)
    if whole[1][2] <= LINE_WIDTH:
        return [whole]
    lines, width = [""], 0.0
    for term in _terms(latex):
        box = _line(rf"{{}} {term}")[1]  # {} keeps a leading + or - a binary one
        added = box[2] - box[0] + 0.25  # and the space before the sign
        if lines[-1] and width + added > LINE_WIDTH:
            lines.append("{}")
            width = 0.0
        lines[-1] = f"{lines[-1]} {term}".strip()
        width += added
    return [_line(line) for line in lines]


def _terms(latex: str) -> list[str]:
    """Cuts LaTeX before every + and - that is in no brace, no bracket and no \\left … \\right."""
    terms, start, depth = [], 0, 0
    for found in re.finditer(r"\\left|\\right|\\[a-zA-Z]+|\\.|[{}()\[\]]|(?<=\s)[+-](?=\s)", latex):
        mark = found.group()
        if mark in ("{", "(", "["):
            depth += 1
        elif mark in ("}", ")", "]"):
            depth -= 1
        elif mark in ("+", "-") and depth == 0 and found.start() > start:
            terms.append(latex[start : found.start()].strip())
            start = found.start()
    return [term for term in [*terms, latex[start:].strip()] if term]


@lru_cache(maxsize=4096)
def _line(latex: str) -> Line:
    """One line as a path.

    Raises:
        ValueError: mathtext cannot set it.
    """
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    size = 100.0
    with mpl.rc_context({"mathtext.fontset": "cm", "axes.unicode_minus": True}):
        display = latex.replace(r"\frac", r"\dfrac")  # mathtext sets all in text style, where fractions are small
        path = TextPath((0, 0), f"${display}$", size=size, prop=FontProperties(family="DejaVu Serif"))
    if not len(path.vertices):
        raise ValueError("an empty formula")
    letters = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    steps, last = [], 0
    for (x, y), code in zip(path.vertices / size, path.codes, strict=True):
        if code == 79:
            steps.append("Z")
        elif code == last and code in (3, 4):
            steps.append(f" {x:.3f} {y:.3f}")
        else:
            steps.append(f"{letters[int(code)]}{x:.3f} {y:.3f}")
        last = code
    box = path.get_extents()
    return "".join(steps), (box.x0 / size, box.y0 / size, box.x1 / size, box.y1 / size)
