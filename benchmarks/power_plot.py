"""Plot the results of `calibration.py`: share of failed audits against the size of the planted fault."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

LABELS = {
    "moved": "moved towards the targets,\nin noise floors",
    "blended": "share kept of what sets\nthe original's answers apart",
    "trained": "share of the forgotten samples\nthat it was trained on",
}
TITLES = {"band": "score 200 or more", "random": "60 at random"}
STYLES = {"5": ("#d55e00", (7, 3)), "8": ("#009e73", (3, 1.8)), "16": ("#0072b2", ())}


def draw(found: Mapping[str, Any], file: Path) -> None:
    """Draw the figure; the same numbers give the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "unregress", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 5), layout="constrained")
        axes = figure.subplots(len(found), len(LABELS), sharey=True, sharex="col")
        for row, (name, request) in zip(axes, found.items(), strict=True):
            for axis, kind in zip(row, LABELS, strict=True):
                curves = request["power"][kind]
                for golds, (colour, dashes) in STYLES.items():
                    axis.plot(curves["x"], curves[golds]["FAIL"], color=colour, dashes=dashes, label=f"{golds} golds")
                axis.axhline(0.05, color="#777777", linewidth=0.8)
                axis.set_ylim(0, 1.02)
                axis.spines[["top", "right"]].set_visible(False)
            row[0].set_ylabel(f"{TITLES[name]}\nshare of FAIL")
        for axis, label in zip(axes[-1], LABELS.values(), strict=True):
            axis.set_xlabel(label)
        axes[0, 0].legend(frameon=False)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, metadata={"Date": None, "Creator": None})
