"""Samples: sequences that a policy writes, with their returns; the best of a run; and a dialogue with a person."""

import contextlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from ppo.config.effects import check_actions
from ppo.config.memory import check_memory
from ppo.config.setting import check_whole
from ppo.errors import UsageError, one_line
from ppo.loop.best import FILE, as_text
from ppo.run.checkpoint import checkpoint_path
from ppo.run.load import Saved, envs_for, load
from ppo.text import Completion, TokenEnv
from ppo.text.writing import write

SAMPLING = ("temperature", "top_k", "top_p")  # settings that `sample` can override


def sample(
    run: str | Path,
    number: int = 10,
    prompt: str | Sequence[str] | None = None,
    checkpoint: str = "latest",
    seed: int = 0,
    deterministic: bool = False,
    trust: bool = False,
    **options: Any,
) -> list[tuple[Completion, float]]:
    """Return sequences that a run's policy writes, and their returns.

    Args:
        run: the run's folder.
        number: how many sequences, if `prompt` is not a list.
        prompt: of every sequence, or a list with one for each; None: the task draws prompts.
        checkpoint: as in `load_policy`.
        seed: of prompts and sampling.
        deterministic: take the most probable token instead of sampling.
        trust: as in `load_policy`.
        options: temperature, top_k, top_p: override the run's settings.

    Raises:
        UsageError: the policy of the run does not write text, its task cannot use the prompt, or an option is unknown.
    """
    for name in options.keys() - set(SAMPLING):
        raise UsageError(f"sample does not know the option {name!r}; it knows {', '.join(SAMPLING)}")
    prompts = _prompts(prompt)
    number = number if prompts is None or isinstance(prompt, str) else len(prompts)
    check_whole("n", number, 1)
    check_whole("seed", seed, 0)
    saved = load(run, checkpoint, trust, **options)
    check_memory(saved.config.replace({"num_envs": number, "num_steps": 1}))
    if options:
        check_actions(saved.config, saved.action_space)
    with contextlib.closing(envs_for(saved, number)) as envs:
        env = _token_env(saved, envs)
        if prompts is None:
            return _write(saved, envs, seed, deterministic)
        example = _set_prompts(env, prompts, saved.config.env_id)
        try:
            return _write(saved, envs, seed, deterministic)
        except UsageError as error:
            if error.__cause__ is None:  # not from a function of the task
                raise
            raise UsageError(
                f"{saved.config.env_id} cannot use the prompt {prompt!r:.80}: {error}; its own prompts are like {example!r}"
            ) from error


def best(run: str | Path, number: int = 10) -> list[dict[str, Any]]:
    """Return the best distinct sequences of a run's training up to its latest checkpoint, the best first.

    Args:
        run: the run's folder.
        number: how many at most; best.jsonl has 100.

    Returns:
        Lines of the run's best.jsonl: return, step, prompt, response, turns, ended.

    Raises:
        UsageError: it is not a run of a text policy, no sequence has ended, or the file is damaged.
    """
    check_whole("n", number, 1)
    checkpoint_path(Path(run), "latest")  # refuses what is not a run
    path = Path(run) / FILE
    if not path.is_file():
        raise UsageError(f"{run} has no {FILE}, which `ppo train` writes once a text policy has ended a sequence")
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
        return [
            line | {"return": float(line["return"]), "step": int(line["step"])}
            for line in lines[:number]
            if as_text(line)
        ]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(f"{path} is damaged ({one_line(error)}); the run's next checkpoint replaces it") from error


def _prompts(prompt: Any) -> Sequence[str] | None:
    if not isinstance(prompt, Sequence | None):
        raise UsageError(f"prompt = {prompt!r:.60} has the wrong type; give a text or a list of texts")
    return [prompt] if isinstance(prompt, str) else prompt


def _set_prompts(env: TokenEnv, prompts: Sequence[str], env_id: str) -> str:
    """Begin the sequences of an environment with the prompts in turn; return a prompt of the task's own.

    Raises:
        UsageError: a prompt is not in the vocabulary, or the task needs more than a text.
    """
    vocabulary = env.vocabulary
    tokens, info = env.task.draw(np.random.default_rng(0))
    example = vocabulary.decode(tokens)
    for prompt in dict.fromkeys(prompts):
        try:
            own = vocabulary.encode(prompt, "the prompt")
        except UsageError as error:
            raise UsageError(
                f"{error}; the task's own prompts are like {example!r}" if example else str(error)
            ) from error
        if vocabulary.unknown and vocabulary.ids[vocabulary.unknown] in own:
            raise UsageError(f"{prompt!r} is not in the vocabulary ({len(vocabulary) - 1} symbols)")
    if info is not None:
        raise UsageError(
            f"{env_id} draws each prompt together with an info that its functions need; leave out --prompt"
        )
    turn = itertools.cycle(prompts)  # a reset begins the sequences in their order
    env.task = replace(env.task, prompt=lambda rng: next(turn))
    return example


def chat(
    run: str | Path, ask: Callable[[str], str | None], checkpoint: str = "latest", seed: int = 0, trust: bool = False
) -> Completion | None:
    """Let a person reply to a run's policy; return the dialogue, None if the person wrote nothing.

    Args:
        run: the run's folder.
        ask: called with the policy's turn, or with an error in the person's reply; returns the reply, None to end the
            dialogue.
        checkpoint: as in `load_policy`.
        seed: of sampling.
        trust: as in `load_policy`.

    Raises:
        UsageError: the environment of the run does not reply.
    """
    check_whole("seed", seed, 0)
    saved = load(run, checkpoint, trust)
    with contextlib.closing(envs_for(saved, 1)) as envs:
        env = _token_env(saved, envs)
        if env.task.reply is None:
            raise UsageError(
                f"{saved.config.env_id} is not a dialogue: its environment does not reply; use `ppo sample`",
                page="text#a-dialogue",
            )

        def valid_reply(message: str) -> str | None:
            while (text := ask(message)) is not None:
                try:
                    env.vocabulary.encode(text)
                    return text
                except UsageError as error:
                    message = f"({error})"
            return None

        prompt = valid_reply(f"(its words: {' '.join(env.vocabulary.symbols)})")
        if prompt is None:
            return None
        # The task's reward and metrics are about its own users.
        env.task = replace(
            env.task, reward=None, metrics={}, prompt=lambda rng: prompt,
            reply=lambda completions: [valid_reply(completions[0].turns[-1])],
        )  # fmt: skip
        return _write(saved, envs, seed, False)[0][0]


def _token_env(saved: Saved, envs: VectorEnv) -> TokenEnv:
    """Return the token environment inside `envs`.

    Raises:
        UsageError: there is none.
    """
    env = envs.unwrapped
    if not isinstance(env, TokenEnv):
        raise UsageError(f"the policy of {saved.config.env_id} does not write text; use `ppo eval`")
    return env


def _write(saved: Saved, envs: VectorEnv, seed: int, deterministic: bool) -> list[tuple[Completion, float]]:
    policy = saved.policy
    return write(policy, policy.head, policy.initial_state(envs.num_envs), envs, seed, deterministic)
