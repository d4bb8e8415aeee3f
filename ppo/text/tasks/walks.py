"""Random walks: find a short way to the goal in a fixed random graph, one letter a node.

The benchmark of the Decision Transformer (Chen et al. 2021, section 4.3), as trlX made a text task of it; the graph is
our own. The optimum is reward 1.
"""

import math
from itertools import pairwise

import numpy as np

from ppo.text.task import Completion, Task
from ppo.text.vocabulary import Vocabulary

NODES = "abcdefghijklmnopqrstu"
GOAL = "a"
LONGEST = 10  # nodes of a walk, its start included
SEED, BRANCHES = 7, 2  # of the graph: every node but the goal has two ways out, and the goal can be reached from it


def graph() -> dict[str, str]:
    """Return the nodes that each node leads to; none after the goal."""
    rng = np.random.default_rng(SEED)
    return {
        node: "" if node == GOAL else "".join(rng.choice([n for n in NODES if n != node], BRANCHES, replace=False))
        for node in NODES
    }


def distances(edges: dict[str, str]) -> dict[str, float]:
    """Return the nodes of the shortest walk from each node to the goal, both counted; infinite where there is none."""
    found = dict.fromkeys(edges, math.inf) | {GOAL: 1.0}
    for _ in edges:
        found |= {node: 1 + min(found[n] for n in after) for node, after in edges.items() if after}
    return found


def random_walks() -> Task:
    """Walk from the prompt's node to the goal: `k` may be answered by `fba`, where k–f–b–a are edges.

    The reward is (10 − n) / (10 − n*) for a walk that is at the goal with its nth node where n* would do, 0 for one that
    does not come there by edges. After the goal, nothing but the end may be written.
    """
    edges = graph()
    shortest = distances(edges)
    starts = [node for node in NODES if 2 <= shortest[node] < LONGEST]

    def length(completion: Completion) -> int:
        """Return how many nodes it takes to the goal; 0 where the walk does not come there in time."""
        walk = completion.prompt + completion.response
        there = len(walk) <= LONGEST and walk[-1] == GOAL and all(b in edges[a] for a, b in pairwise(walk))
        return len(walk) if there else 0

    def reward(completions: list[Completion]) -> list[float]:
        lengths = [length(c) for c in completions]
        return [
            (LONGEST - n) / (LONGEST - shortest[c.prompt]) if n else 0.0
            for n, c in zip(lengths, completions, strict=True)
        ]

    def demonstrate(rng: np.random.Generator) -> tuple[str, str]:
        walk = prompt(rng)
        while walk[-1] != GOAL and len(walk) < LONGEST:
            walk += str(rng.choice(list(edges[walk[-1]])))
        return walk[0], walk[1:]

    def prompt(rng: np.random.Generator) -> str:
        return str(rng.choice(starts))

    def mask(completions: list[Completion]) -> np.ndarray:
        allowed = np.ones((len(completions), len(NODES) + 1), bool)
        allowed[[GOAL in c.response for c in completions], : len(NODES)] = False
        return allowed

    metrics = {"invalid": lambda completions: [not length(c) for c in completions]}
    return Task(Vocabulary(NODES), reward, LONGEST, prompt, mask, metrics=metrics, demonstrate=demonstrate)
