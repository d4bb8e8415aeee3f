"""The bar charts of `benchmarks.speed`."""

from pathlib import Path
from typing import Any

SIDES = {
    "peer": ("Stable-Baselines3", "#b0b7c3"), "eager": ("ours, --compile off", "#8fb8de"),
    "ours": ("ours", "#1f5fa8"),
}  # fmt: skip


def chart(rows: dict[str, Any], path: Path) -> None:
    """Draw steps per second, row by row: of the peer, and of ours not compiled and compiled."""
    axis = _bars(rows, tuple(SIDES), (9, 0.9 + 0.75 * len(rows)), 8)
    axis.set_xlabel("environment steps per second of the training loop")
    axis.set_yticks([-i for i in range(len(rows))], list(rows))
    axis.figure.savefig(path, dpi=150)


def small_chart(rows: dict[str, Any], path: Path) -> None:
    """Draw the peer and ours for README.md, readable at half a page's width."""
    axis = _bars(rows, ("peer", "ours"), (6, 4), 12)  # as wide to high as the films
    axis.set_xticks([])
    axis.set_yticks([-i for i in range(len(rows))], [name.replace(" ", "\n", 1) for name in rows], fontsize=12)
    axis.spines["bottom"].set_visible(False)
    axis.figure.suptitle("environment steps per second while training", fontsize=12)
    axis.figure.savefig(path, dpi=150)


def _bars(rows: dict[str, Any], shown: tuple[str, ...], size: tuple[float, float], font: int) -> Any:
    """Return the axes of a new figure with a bar for each row and side, labelled with its figure and our ratio."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    _, axis = plt.subplots(figsize=size, layout="constrained")
    height = 0.81 / len(shown)
    for n, side in enumerate(shown):
        offset = height * ((len(shown) - 1) / 2 - n)
        places = {offset - i: sides for i, sides in enumerate(rows.values()) if side in sides}
        values = [sides[side]["sps"] for sides in places.values()]
        ends = axis.barh(list(places), values, 0.93 * height, label=SIDES[side][0], color=SIDES[side][1])
        axis.bar_label(ends, [_label(side, sides) for sides in places.values()], padding=3, fontsize=font)
    axis.set_xlim(right=axis.get_xlim()[1] * (0.6 + 0.066 * font))  # room for the labels
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, fontsize=font, frameon=False)
    return axis


def _label(side: str, sides: dict[str, Any]) -> str:
    text = f"{sides[side]['sps']:,.0f}"
    return (
        f"{text}   × {sides['ours']['sps'] / sides['peer']['sps']:.1f}" if side == "ours" and "peer" in sides else text
    )
