"""A figure of what is found after how long: shares over seconds, for several methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reports.figure_parts.canvas import plain, png

__all__ = ["shares_over_seconds"]

Curve = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def shares_over_seconds(panels: Mapping[str, Mapping[str, Curve]], path: str | Path, title: str = "") -> Path:
    """Shares over seconds on a logarithmic axis, a panel for each thing that is counted.

    Args:
        panels: What is counted -> method -> seconds, and the mean, lowest and highest share in per cent. Four
            times `[points]`
        path: The PNG file to write.
        title: One line above the panels.

    Returns:
        The path.
    """
    with png(path, (4.2 * len(panels), 3.8)) as figure:
        figure.suptitle(plain(title), x=0.01, ha="left", fontsize=11, fontweight="bold")
        places = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (what, curves) in zip(places, panels.items(), strict=True):
            for method, (seconds, mean, lowest, highest) in curves.items():
                (line,) = axes.plot(seconds, mean, marker="o", markersize=4, label=plain(method))
                axes.fill_between(seconds, lowest, highest, color=line.get_color(), alpha=0.2, linewidth=0)
                axes.set_xticks(seconds, [f"{each:g}" for each in seconds])
            axes.set(xscale="log", ylim=(0, 100), xlabel="CPU-seconds, one core", title=plain(what))
            axes.minorticks_off()
        places[0].set_ylabel("% of the problems")
        places[0].legend(loc="upper left")
    return Path(path)
