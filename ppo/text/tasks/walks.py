"""Random walks: find a short way to the goal in a fixed random graph, one letter per node.

The benchmark of the Decision Transformer (Chen et al. 2021, section 4.3) in the form of trlX's text task, with a graph of
our own. The optimum is reward 1.
"""

import math
from itertools import pairwise

import numpy as np

from ppo.text.completion import Completion
from ppo.text.task import Task
from ppo.text.vocabulary import Vocabulary

NODES = "abcdefghijklmnopqrstu"
GOAL = "a"
LONGEST = 10  # nodes of a walk, including its start
SEED, BRANCHES = 7, 2  # with this seed, the goal can be reached from every node; all but the goal have two edges out


def graph() -> dict[str, str]:
    """Return the successors of each node; the goal has none."""
    rng = np.random.default_rng(SEED)
    return {
        node: "" if node == GOAL else "".join(rng.choice([n for n in NODES if n != node], BRANCHES, replace=False))
        for node in NODES
    }


def distances(edges: dict[str, str]) -> dict[str, float]:
    """Return the number of nodes on the shortest walk from each node to the goal, both included; infinite if there is none."""
    nodes = dict.fromkeys(edges, math.inf) | {GOAL: 1.0}
    for _ in edges:
        nodes |= {node: 1 + min(nodes[n] for n in after) for node, after in edges.items() if after}
    return nodes


def random_walks() -> Task:
    """Walk from the prompt's node to the goal: `k` → `fba`, if k–f, f–b and b–a are edges.

    The reward is (10 − n) / (10 − n*) for a walk of n nodes to the goal, of which n* is the shortest possible; 0 if the walk
    does not follow edges to the goal. After the goal, only the end token is allowed.
    """
    edges = graph()
    shortest = distances(edges)
    starts = [node for node in NODES if 2 <= shortest[node] < LONGEST]

    def length(completion: Completion) -> int:
        """Return the number of nodes of a valid walk to the goal; 0 if the walk is not valid."""
        walk = completion.prompt + completion.response
        valid = len(walk) <= LONGEST and walk[-1] == GOAL and all(b in edges[a] for a, b in pairwise(walk))
        return len(walk) if valid else 0

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
