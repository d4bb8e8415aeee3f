"""What a study found: best.toml, report.html, and a comparison of the best settings with the first ones on fresh seeds."""

import json
import shlex
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna import visualization
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from ppo.compare.statistics import difference
from ppo.config import Config
from ppo.config.presets import preset
from ppo.numbers import number
from ppo.run.files import shown, write_atomically
from ppo.tuning.study import Study

FEW = 4  # finished trials, with fewer of which importances say nothing


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """Return the finished trial with the highest score, None if no trial finished."""
    finished = study.get_trials(states=(TrialState.COMPLETE,))
    return max(finished, key=lambda trial: trial.value or 0.0, default=None)


def to_toml(settings: dict[str, Any]) -> str:
    """Return settings as lines of TOML."""
    return "".join(f"{name} = {_value(value)}\n" for name, value in sorted(settings.items()))


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(x)}" for key, x in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)  # numbers, texts, true and false are written alike


def trial_lines(tuned: Study, study: optuna.Study) -> list[tuple[str, str]]:
    """Return lines on the trials, the best of them, and the files."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    ended = f"{states.count(TrialState.COMPLETE)} finished, {states.count(TrialState.PRUNED)} stopped early"
    best = best_trial(study)
    if best is None:
        return [("trials", f"{ended}: no result yet")]
    first = next((t.value for t in study.get_trials(states=(TrialState.COMPLETE,)) if tuned.is_untuned(t)), None)
    lines = [("trials", ended), ("best", f"trial {best.number}, {tuned.metric} {number(best.value or 0.0)}")]
    if first is not None:
        lines.append(("first", f"{number(first)}, without tuning"))
    return [
        *lines,
        ("settings", str(shown(tuned.folder / "best.toml"))),
        ("page", str(shown(tuned.folder / "report.html"))),
    ]


def write(tuned: Study, study: optuna.Study) -> None:
    """Write best.toml, the settings of the best trial that differ from the preset, and report.html, Optuna's pictures."""
    best = best_trial(study)
    if best is None:
        return
    config = tuned.base.replace(tuned.settings(best))
    changed = changes(config)
    how = f"# Trial {best.number} of {tuned.folder.name}: {tuned.metric} {best.value:g}, mean of seeds {', '.join(map(str, tuned.seeds))}.\n"
    use = f"# ppo train {config.env_id} --config {shlex.quote(str(shown(tuned.folder / 'best.toml')))}\n"
    write_atomically(tuned.folder / "best.toml", (how + use + to_toml(changed)).encode())
    pictures = [visualization.plot_optimization_history(study), visualization.plot_intermediate_values(study)]
    if len(study.get_trials(states=(TrialState.COMPLETE,))) >= FEW and len(tuned.space) > 1:
        importance = visualization.plot_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
        pictures[1:1] = [importance, visualization.plot_slice(study)]
    parts = [picture.to_html(full_html=False, include_plotlyjs=n == 0) for n, picture in enumerate(pictures)]
    title = f"ppo tune {config.env_id}"
    page = f"<!doctype html><html><head><meta charset='utf-8'><title>{title}</title></head><body><h1>{title}</h1>"
    write_atomically(tuned.folder / "report.html", f"{page}{''.join(parts)}</body></html>".encode())


def changes(config: Config) -> dict[str, Any]:
    """Return the settings that differ from the preset, those of the run's names apart, as JSON values."""
    own, other = config.to_json(), preset(config.env_id, config.algorithm, config.policy).to_json()
    return {name: x for name, x in own.items() if x != other[name] and name not in ("seed", "runs_dir", "exp_name")}


def conclude(tuned: Study, study: optuna.Study, seeds: Sequence[int]) -> list[tuple[str, str]]:
    """Train the best settings and the first ones on fresh seeds; return lines that compare them.

    The best of many trials owes a part of its score to luck, so its score among the trials is too high.

    Raises:
        KeyboardInterrupt: told to stop; the same command goes on from there.
    """
    best = best_trial(study)
    if best is None or tuned.is_untuned(best):
        return [("conclusion", "no trial beat the settings without tuning")] if best else []
    config = tuned.base.replace(tuned.settings(best))
    pairs = [
        (tuned.train(config, f"best{best.number}", seed), tuned.train(tuned.base, "first", seed)) for seed in seeds
    ]
    ours, theirs = (np.array(scores) for scores in zip(*pairs, strict=True))
    deviation = float(theirs.std(ddof=1)) if len(theirs) > 1 else float("nan")
    gain, low, high = difference(ours, float(theirs.mean()), deviation, len(theirs), ddof=1)
    verdict = "better" if low > 0 else "worse" if high < 0 else "not distinguishable"
    within = "" if np.isnan(low) else f", 95 % interval {number(low)} to {number(high)}"
    return [
        ("fresh seeds", f"{seeds[0]} to {seeds[-1]}"),
        ("best", spread(ours)),
        ("first", spread(theirs)),
        ("conclusion", f"{verdict}: the difference is {number(gain)}{within}"),
    ]


def spread(scores: np.ndarray) -> str:
    """Return mean ± sample standard deviation, and each score."""
    values = [float(score) for score in scores]
    deviation = f" ± {number(statistics.stdev(values))}" if len(values) > 1 else ""
    return f"{number(statistics.fmean(values))}{deviation} ({', '.join(map(number, values))})"
