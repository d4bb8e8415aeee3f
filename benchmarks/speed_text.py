"""Measure tokens per second of text: our collection and our update against bare PyTorch loops, in turn, in one process.

The bare loops sample from the same GRU and train it with the least work: no environment, no rewards, no values of
successors, no clipping, no statistics, no optimizer.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ppo import Config
from ppo.loop.collector import Collector
from ppo.loop.learner import Learner
from ppo.machine.flat import FlatPolicy
from ppo.policies import build_policy
from ppo.text import Task, TokenEnv, Vocabulary

WIDTH, PLACES, SYMBOLS, STEPS, LENGTH = 256, 256, 127, 64, 32  # GRU-256, 256 sequences, V = 128
SECONDS = 4.0  # of one measurement, at least


class Bare(nn.Module):
    """Compute embedding, GRU, logits and value, as our gru policy does."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.gru = nn.Embedding(SYMBOLS + 1, WIDTH), nn.GRU(WIDTH, WIDTH)
        self.logits, self.value = nn.Linear(WIDTH, SYMBOLS + 1), nn.Linear(WIDTH, 1)

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map tokens (T, N) and state (1, N, H) to log-probabilities (T, N, V), values (T, N), and the state after."""
        x, state = self.gru(self.embedding(tokens).tanh(), state)
        return self.logits(x).log_softmax(-1), self.value(x).squeeze(-1), state


def sides(compiled: bool) -> dict[str, Callable[[], object]]:
    """Return the functions that are timed; a call of each takes STEPS · PLACES tokens."""
    task = Task(
        Vocabulary([chr(0x4E00 + n) for n in range(SYMBOLS)]), lambda cs: [1.0] * len(cs), LENGTH, min_tokens=0
    )  # fmt: skip
    envs = TokenEnv(task, PLACES)
    config = Config(
        num_envs=PLACES, num_steps=STEPS, update_epochs=1, num_minibatches=1, policy="gru", total_timesteps=10**9,
        hidden_sizes=(WIDTH,), state_size=WIDTH, gamma=1.0,
    )  # fmt: skip
    spaces = envs.single_observation_space, envs.single_action_space
    flat = FlatPolicy(build_policy("gru", *spaces, config.policy_options()))
    collector, learner = Collector(envs, flat, compiled, STEPS), Learner(flat, config, compiled)
    collector.reset(0)
    rollout = collector.collect(STEPS)[0]
    bare, tokens = Bare(), torch.randint(SYMBOLS, (STEPS + 1, PLACES))

    @torch.no_grad()
    def sample() -> None:
        token, state = tokens[:1], torch.zeros(1, PLACES, WIDTH)
        for _ in range(STEPS):
            log_probs, _, state = bare(token, state)
            token = (log_probs.exp() / torch.empty_like(log_probs).exponential_()).argmax(-1)
            log_probs.gather(-1, token.unsqueeze(-1))

    def backward() -> None:
        log_probs, values, _ = bare(tokens[:-1], torch.zeros(1, PLACES, WIDTH))
        loss = functional.nll_loss(log_probs.flatten(0, 1), tokens[1:].flatten()) + values.square().mean()
        torch.autograd.grad(loss, list(bare.parameters()))

    return {
        "collect": lambda: collector.collect(STEPS), "bare sampling": sample,
        "update": lambda: learner.update(rollout, 0.0), "bare forward and backward": backward,
    }  # fmt: skip


def tokens_per_second(rounds: int, compiled: bool = True) -> dict[str, list[float]]:
    """Return tokens per second of each side, in rounds that take turns."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    functions = sides(compiled)
    for call in functions.values():  # compile, and warm up
        call()
        call()
    results: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, call in functions.items():
            begin, calls = time.perf_counter(), 0
            while time.perf_counter() - begin < SECONDS:
                call()
                calls += 1
            results[name].append(calls * STEPS * PLACES / (time.perf_counter() - begin))
            print(f"{name}: {results[name][-1]:,.0f} tokens/s", flush=True)
    return results
