"""Random walks: the levels of reward of our graph, and its demonstrations."""

import numpy as np

from ppo.text import Completion
from ppo.text.tasks.walks import GOAL, LONGEST, distances, graph, random_walks


def test_the_walks_optimum_is_one_and_the_other_levels_of_our_graph_are_known():
    edges = graph()
    shortest = distances(edges)
    assert all(len(after) == (0 if node == GOAL else 2) for node, after in edges.items())
    assert max(shortest.values()) == 5
    starts = [node for node in edges if node != GOAL]

    def length_shares(step, node, length):
        """The probability of each total length of a walk to the goal whose nth node, n = length, is `node`."""
        if length > LONGEST:
            return {}
        shares = {}
        if node == GOAL:
            return {length: 1.0}
        for after, chance in step(node).items():
            for total, share in length_shares(step, after, length + 1).items():
                shares[total] = shares.get(total, 0.0) + chance * share
        return shares

    def level(step):
        return np.mean([
            sum(share * (LONGEST - n) / (LONGEST - shortest[start]) for n, share in length_shares(step, start, 1).items())
            for start in starts
        ])  # fmt: skip

    uniform = level(lambda node: dict.fromkeys(edges[node], 1 / 22))
    cloned = level(lambda node: dict.fromkeys(edges[node], 0.5))
    best = level(lambda node: {min(edges[node], key=shortest.get): 1.0})
    assert (round(float(uniform), 4), round(float(cloned), 3), round(float(best), 3)) == (0.0051, 0.334, 1.0)


def scored(prompt, response):
    task = random_walks()
    ids = task.vocabulary.encode
    completion = Completion(task.vocabulary, tuple(ids(prompt)), tuple(ids(response)), True)
    return task.score([completion])[0], task.score([completion], "invalid")[0]


def test_a_walk_is_rewarded_by_its_length_if_it_follows_edges_to_the_goal():
    edges = graph()
    shortest = distances(edges)
    start = next(node for node in edges if shortest[node] == 3)
    middle = next(node for node in edges[start] if shortest[node] == 2)
    assert scored(start, middle + GOAL) == (1.0, False)
    assert scored(start, middle) == (0.0, True)  # not at the goal
    assert scored(start, GOAL) == (0.0, True)  # not an edge
    detour = next(node for node in edges[start] if node != middle)
    while shortest[detour[-1]] > 1:
        detour += min(edges[detour[-1]], key=shortest.get)
    assert scored(start, detour) == ((LONGEST - 1 - len(detour)) / (LONGEST - 3), False)


def test_after_the_goal_only_the_end_token_is_allowed():
    task = random_walks()
    goal, other = (Completion(task.vocabulary, (1,), (token,), False) for token in (0, 2))
    np.testing.assert_array_equal(task.mask([goal, other]), [[False] * 21 + [True], [True] * 22])


def test_demonstrations_follow_edges_and_reach_the_goal_by_chance():
    task, rng = random_walks(), np.random.default_rng(0)
    rewards = [scored(*task.demonstrate(rng)) for _ in range(100)]
    assert 0.2 < np.mean([reward for reward, _ in rewards]) < 0.7
    assert 0 < sum(invalid for _, invalid in rewards) < 50
