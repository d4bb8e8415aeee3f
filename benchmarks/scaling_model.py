"""What measurements say about more ranks: t = α + β P of each exchange, and up to how many ranks another one pays.

An iteration of W ranks takes

    collect / W + gather(rollout) + update(W) + rest

seconds, and update(W) is the smaller path of the learner: where a rank's part of a minibatch is large enough, update / W plus an
all-reduce of P floats for each optimizer step; otherwise update, on rank 0, plus a broadcast of the weights and the moments, 3 P
floats. `collect`, `update` and `rest` are measured on one rank. It is a bound: fewer environments on each rank are not evaluated as
many times faster.
"""

import math
import statistics
from typing import Any, NamedTuple

from ppo.machine.distributed import shared


class Fit(NamedTuple):
    """The seconds of an exchange: alpha + beta · floats, and the largest relative error at a measured point."""

    alpha: float
    beta: float
    error: float


def fit(floats: list[int], seconds: list[float]) -> Fit:
    """Return the line that is nearest in relative error; neither coefficient is negative."""
    ones = [(1 / t, x / t) for x, t in zip(floats, seconds, strict=True)]  # alpha a + beta b is near 1 for each (a, b)
    aa, ab, bb = (math.fsum(pair[i] * pair[j] for pair in ones) for i, j in ((0, 0), (0, 1), (1, 1)))
    a, b = (math.fsum(pair[i] for pair in ones) for i in (0, 1))
    alpha = (a * bb - b * ab) / (aa * bb - ab * ab)
    beta = (b * aa - a * ab) / (aa * bb - ab * ab)
    if alpha < 0 or beta < 0:
        alpha, beta = (0.0, b / bb) if alpha < 0 else (a / aa, 0.0)
    return Fit(alpha, beta, max(abs(alpha * a + beta * b - 1) for a, b in ones))


def fits(points: list[list[Any]]) -> dict[str, dict[str, Fit]]:
    """Return the fits of a network's measurements, by exchange and number of ranks."""
    found: dict[str, dict[str, Fit]] = {}
    for exchange, ranks in dict.fromkeys((point[0], point[1]) for point in points):
        own = [point for point in points if point[:2] == [exchange, ranks]]
        found.setdefault(exchange, {})[str(ranks)] = fit([point[2] for point in own], [point[3] for point in own])
    return found


def shares(row: dict[str, Any], ranks: int) -> bool:
    """Return whether ranks share the work of a minibatch."""
    return shared(row["sequences"], row["seq_len"] * row["parameters"], ranks)


def seconds(row: dict[str, Any], ranks: int, network: dict[str, dict[str, Fit]]) -> float:
    """Return the predicted seconds of an iteration of several ranks."""
    one, parameters = row["seconds"]["one"], row["parameters"]
    collect = one["environment"] + one["inference"]
    if ranks == 1:
        return collect + one["update"] + one["rest"]

    def exchange(name: str, floats: float) -> float:
        alpha, beta, _ = network[name][str(ranks)]
        return alpha + beta * floats

    if shares(row, ranks):
        update = one["update"] / ranks + row["optimizer_steps"] * exchange("all-reduce", parameters)
    else:
        update = one["update"] + exchange("broadcast", 3 * parameters)
    return collect / ranks + exchange("gather", row["rollout_bytes"] / 4) + update + one["rest"]


def worth(row: dict[str, Any], network: dict[str, dict[str, Fit]]) -> dict[str, Any]:
    """Return the predicted speedups by number of ranks, and up to how many another one pays."""
    measured = [int(ranks) for ranks in network["all-reduce"]]
    numbers = [1, *(ranks for ranks in measured if row["num_envs"] % ranks == 0)]
    times = [seconds(row, ranks, network) for ranks in numbers]
    best = next((n for n in range(1, len(times)) if times[n] >= times[n - 1]), len(times)) - 1
    speedups = {str(ranks): times[0] / time for ranks, time in zip(numbers, times, strict=True)}
    return {"ranks": numbers[best], "most": numbers[-1], "speedups": speedups}


def summary(row: dict[str, Any]) -> dict[str, float]:
    """Return a row's speedup of two ranks, the machine's ceiling, and the bound of Amdahl's law.

    The ceiling is what two independent runs reach together. Amdahl's law divides by two what the ranks share: collecting, and
    the update where they share its minibatches.
    """
    rates, one = {side: statistics.median(values) for side, values in row["rates"].items()}, row["seconds"]["one"]
    parallel = one["environment"] + one["inference"] + (one["update"] if row["shared"] else 0.0)
    fraction = parallel / sum(one.values())
    return {
        "one": rates["one"],
        "two": rates["two"],
        "speedup": rates["two"] / rates["one"],
        "ceiling": rates["pair"] / rates["one"],
        "amdahl": 1 / (1 - fraction / 2),
    }
