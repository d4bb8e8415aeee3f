"""The report of `benchmarks.speed`: tables and a bar chart, made from the measured numbers."""

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.runs import markdown

PEER = "Stable-Baselines3 / sb3-contrib"


def write(results: dict[str, Any], targets: dict[str, str], folder: Path) -> None:
    """Write speed.md and speed.png.

    Args:
        results: medians by row and side, times, scale, text, machine, versions, date, command.
        targets: by the row's name, in the table's order, the ratio that it must reach.
        folder: where the two files go.
    """
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    text = [
        "# Speed\n",
        f"Environment steps per second of the whole training loop, one thread, medians of alternating rounds. "
        f"{results['date']}, {results['machine']}; {versions}. Made by `{results['command']}`.\n",
        rows_table(results["rows"], targets),
    ]
    if "times" in results:
        text += ["## From the command\n", times_table(results["times"])]
    if "scale" in results:
        text += ["## CartPole, environments and memory\n", scale_table(results["scale"])]
    if "text" in results:
        title = "## Text: a GRU of 256, 256 sequences, 128 tokens, against bare PyTorch loops\n"
        text += [title, text_table(results["text"])]
    (folder / "speed.md").write_text("\n".join(text))
    chart({name: results["rows"][name] for name in targets if name in results["rows"]}, folder / "speed.png")


def rows_table(rows: dict[str, Any], targets: dict[str, str]) -> str:
    """Return the comparison: our steps per second compiled and not, the peer's, the ratio, and the split of our time."""
    table: list[tuple[str, ...]] = [
        ("work", "ours", "not compiled", "peer", "ratio", "target", "rounds", "environments alone", "our time")
    ]
    for name, target in targets.items():
        if name not in rows:
            continue
        sides, ours = rows[name], rows[name]["ours"]
        split = ", ".join(f"{part} {ours[part]:.0%}" for part in ("environment", "inference", "update"))
        peer, ratio, rounds = "", "", ""
        if "peer" in sides:
            ratios = [a / b for a, b in zip(ours["all"], sides["peer"]["all"], strict=True)]
            peer, ratio = f"{sides['peer']['sps']:,.0f}", f"{ours['sps'] / sides['peer']['sps']:.2f}"
            rounds = f"{min(ratios):.2f} to {max(ratios):.2f}"
        speeds = (f"{ours['sps']:,.0f}", f"{sides['eager']['sps']:,.0f}", peer)
        table.append((name, *speeds, ratio, target, rounds, f"{sides['bound']['sps']:,.0f}", split))
    return markdown(table)


def times_table(times: dict[str, list[float]]) -> str:
    """Return the seconds to the first update and to a perfect CartPole, process start included."""
    names = {
        "first update": "ours, to the end of the first update, not compiled", "ours": "ours, to CartPole at 500",
        "ours, compiled": "ours, to CartPole at 500, compiled before (cache)", "peer": "Stable-Baselines3, tuned, to CartPole at 500",
    }  # fmt: skip
    rows = [("from the command", "seconds (median)", "by seed", "ratio to the peer")]
    for key, values in times.items():
        ratio = f"{median(values) / median(times['peer']):.2f}" if "peer" in times else ""
        rows.append((names[key], f"{median(values):.2f}", ", ".join(f"{x:.2f}" for x in values), ratio))
    return markdown(rows)


def text_table(text: dict[str, list[float]]) -> str:
    """Return tokens per second of collection and update, and their ratio to a bare loop's."""
    rows: list[tuple[str, ...]] = [("work", "tokens per second (median)", "a bare loop", "ratio", "target", "rounds")]
    for ours, bare, target in (
        ("collect", "bare sampling", "≥ 0.8"),
        ("update", "bare forward and backward", "≥ 0.67"),
    ):
        ratios = [a / b for a, b in zip(text[ours], text[bare], strict=True)]
        speed, bound = median(text[ours]), median(text[bare])
        rounds = f"{min(ratios):.2f} to {max(ratios):.2f}"
        rows.append((ours, f"{speed:,.0f}", f"{bound:,.0f}", f"{speed / bound:.2f}", target, rounds))
    return markdown(rows)


def scale_table(scale: dict[str, dict[str, float]]) -> str:
    """Return steps per second and peak memory by the number of environments and the rollout's length."""
    rows = [("N × T", "steps per second", "peak memory (MiB)")]
    return markdown(rows + [(name, f"{x['sps']:,.0f}", f"{x['peak_mib']:,.0f}") for name, x in scale.items()])


def chart(rows: dict[str, Any], path: Path) -> None:
    """Draw steps per second of ours and of the peer, row by row."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 0.9 + 0.75 * len(rows)))
    bars = {"peer": (PEER, "#b0b7c3"), "eager": ("ours, --compile off", "#8fb8de"), "ours": ("ours", "#1f5fa8")}
    for offset, (side, (label, colour)) in zip((0.27, 0.0, -0.27), bars.items(), strict=True):
        places = {-i + offset: sides for i, sides in enumerate(rows.values()) if side in sides}
        values = [sides[side]["sps"] for sides in places.values()]
        ends = axis.barh(list(places), values, 0.25, label=label, color=colour)
        axis.bar_label(ends, [_label(side, sides) for sides in places.values()], padding=3, fontsize=8)
    axis.set_yticks([-i for i in range(len(rows))], list(rows))
    axis.set_xlim(right=axis.get_xlim()[1] * 1.1)
    axis.set_xlabel("environment steps per second of the training loop, one thread")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def _label(side: str, sides: dict[str, Any]) -> str:
    text = f"{sides[side]['sps']:,.0f}"
    return (
        f"{text}   × {sides['ours']['sps'] / sides['peer']['sps']:.1f}" if side == "ours" and "peer" in sides else text
    )
