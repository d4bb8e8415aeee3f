"""Write what `benchmarks.speed` measured: a table, the numbers, and a bar chart."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.trained import RESULTS, markdown


def write(found: dict[str, Any], must: list[tuple[str, str]]) -> None:
    """Write speed.json, speed.md and speed.png to benchmarks/results/.

    Args:
        found: medians by row and side, times, scale, machine, versions, date.
        must: (row, ratio it must reach), in the table's order.
    """
    (RESULTS / "speed.json").write_text(json.dumps(found, indent=1) + "\n")
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    text = [
        "# Speed\n",
        f"Environment steps per second of the whole training loop, one thread, medians of alternating rounds. "
        f"{found['date']}, {found['machine']}; {versions}. Made by `{found['command']}`.\n",
        rows_table(found["rows"], must),
    ]
    if "times" in found:
        text += ["## From the command\n", times_table(found["times"])]
    if "scale" in found:
        text += ["## CartPole, environments and memory\n", scale_table(found["scale"])]
    if "text" in found:
        text += [
            "## Text: a GRU of 256, 256 sequences, 128 tokens, against bare PyTorch loops\n",
            text_table(found["text"]),
        ]
    (RESULTS / "speed.md").write_text("\n".join(text))
    chart(found["rows"], [name for name, _ in must if name in found["rows"]], RESULTS / "speed.png")


def rows_table(rows: dict[str, Any], must: list[tuple[str, str]]) -> str:
    """Return the comparison: our steps per second compiled and not, the peer's, the ratio, and where our time goes."""
    table: list[tuple[str, ...]] = [
        ("work", "ours", "not compiled", "peer", "ratio", "must reach", "rounds", "environments alone", "our time")
    ]
    for name, target in must:
        if name not in rows:
            continue
        sides = {side: values["sps"] for side, values in rows[name].items()}
        ours = rows[name]["ours"]
        split = ", ".join(f"{part} {ours[part]:.0%}" for part in ("environment", "inference", "update"))
        each = [a / b for a, b in zip(ours["all"], rows[name]["peer"]["all"], strict=True)]
        table.append((
            name, *(f"{sides[side]:,.0f}" for side in ("ours", "eager", "peer")), f"{sides['ours'] / sides['peer']:.2f}",
            target, f"{min(each):.2f} to {max(each):.2f}", f"{sides['bound']:,.0f}", split,
        ))  # fmt: skip
    return markdown(table)


def times_table(times: dict[str, list[float]]) -> str:
    """Return the seconds to the first update and to a perfect CartPole, process start included."""
    names = {
        "first update": "ours, to the end of the first update, not compiled", "ours": "ours, to CartPole at 500",
        "ours, compiled": "ours, to CartPole at 500, compiled before (cache)", "peer": "Stable-Baselines3, tuned, to CartPole at 500",
    }  # fmt: skip
    rows = [("from the command", "seconds (median)", "each seed", "ratio to the peer")]
    for key, name in names.items():
        each, ratio = times[key], median(times[key]) / median(times["peer"])
        rows.append((name, f"{median(each):.2f}", ", ".join(f"{x:.2f}" for x in each), f"{ratio:.2f}"))
    return markdown(rows)


def text_table(text: dict[str, list[float]]) -> str:
    """Return tokens per second of collection and update, and their shares of what bare loops do."""
    rows: list[tuple[str, ...]] = [
        ("work", "tokens per second (median)", "a bare loop", "ratio", "must reach", "rounds")
    ]
    for ours, bare, must in (("collect", "bare sampling", "≥ 0.8"), ("update", "bare forward and backward", "≥ 0.67")):
        each = [a / b for a, b in zip(text[ours], text[bare], strict=True)]
        numbers = median(text[ours]), median(text[bare])
        spread = f"{min(each):.2f} to {max(each):.2f}"
        rows.append((ours, *(f"{x:,.0f}" for x in numbers), f"{numbers[0] / numbers[1]:.2f}", must, spread))
    return markdown(rows)


def scale_table(scale: dict[str, dict[str, float]]) -> str:
    """Return steps per second and peak memory by the number of environments and the rollout's length."""
    rows = [("N × T", "steps per second", "peak memory (MiB)")]
    return markdown(rows + [(name, f"{x['sps']:,.0f}", f"{x['peak_mib']:,.0f}") for name, x in scale.items()])


def chart(rows: dict[str, Any], names: list[str], path: Path) -> None:
    """Draw steps per second of ours and of the peer, row by row."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 0.9 + 0.75 * len(names)))
    bars = {"peer": ("Stable-Baselines3 / sb3-contrib", "#b0b7c3"), "eager": ("ours, --compile off", "#8fb8de"),
            "ours": ("ours", "#1f5fa8")}  # fmt: skip
    for offset, (side, (label, colour)) in zip((0.27, 0.0, -0.27), bars.items(), strict=True):
        values = [rows[name][side]["sps"] for name in names]
        ends = axis.barh([-i + offset for i in range(len(names))], values, 0.25, label=label, color=colour)
        texts = [f"{value:,.0f}" for value in values]
        if side == "ours":
            texts = [
                f"{value:,.0f}   × {value / rows[name]['peer']['sps']:.1f}"
                for name, value in zip(names, values, strict=True)
            ]
        axis.bar_label(ends, texts, padding=3, fontsize=8)
    axis.set_yticks([-i for i in range(len(names))], names)
    axis.set_xlim(right=axis.get_xlim()[1] * 1.1)
    axis.set_xlabel("environment steps per second of the training loop, one thread")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
