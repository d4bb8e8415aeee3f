"""How many processes a command runs in: the flags, the checks, and the choice for `auto`."""

import sys
from typing import Annotated, Any, Literal

import torch
from tyro.conf import arg

from ppo.cli.terminal import console, print_lines
from ppo.config import Config
from ppo.config.lengths import share
from ppo.envs import find_spec, module_of
from ppo.errors import UsageError
from ppo.machine import agent
from ppo.machine.distributed import launched, launched_ranks
from ppo.machine.process import Choice, cores

Processes = Annotated[
    int | Literal["auto"],
    arg(help="Processes that share the environments and the updates. auto: as many as make training faster."),
]
Restarts = Annotated[
    int,
    arg(help="With several processes: how often to start them again from the latest checkpoint after one was killed."),
]
MAX_RESTARTS = 3  # the default of torch's launcher; a process that always dies must end the run some time
SMALL = 256  # units of the widest layer of a small network
ROWS = 512  # of a minibatch, from which ranks share it even if the network is small
# Families whose environments take microseconds for a step.
LIGHT = ("gymnasium.envs.classic_control", "gymnasium.envs.toy_text", "gymnasium.envs.tabular", "ppo.text")


def spread(command: Any, args: list[str]) -> None:
    """Run a command in several processes and exit with its code; return if this process must run it itself.

    Args:
        command: parsed.
        args: of the command line.

    Raises:
        UsageError: the command cannot run in that many processes.
    """
    wanted, ranks = getattr(command, "processes", None), launched_ranks()
    if wanted is None:
        if launched():
            raise UsageError(f"`ppo {args[0]}` runs in one process, not in {ranks}; start it without torchrun")
        return
    restarts = getattr(command, "max_restarts", 0)
    for name, number, low in (("processes", wanted, 1), ("max_restarts", restarts, 0)):
        if number != "auto" and number < low:
            raise UsageError(f"{name} = {number} is too small; choose {low} or more")
    if launched() or agent.attached():
        if wanted not in (1, "auto", ranks):
            raise UsageError(f"processes = {wanted}, but torchrun has started {ranks}; leave --processes out")
        return
    if wanted == 1:
        return
    command.settings.validate()
    choice = choose(command.settings) if wanted == "auto" else Choice(int(wanted), "requested")
    share(command.settings, 0, choice.value)
    print_lines(console, [("processes", f"{choice.value}: {choice.reason}")])
    if choice.value > 1:
        from ppo.cli.launch import launch  # half a second

        sys.exit(launch(args, choice.value, restarts))


def choose(settings: Config) -> Choice[int]:
    """Return the number of processes for "auto" on this machine."""
    spec = find_spec(settings.env_id)
    own = settings.vectorization == "auto" and spec.vector_entry_point is not None
    batched = own or settings.vectorization in ("vector_entry_point", "envpool")
    # With the policy "auto" it may return images, which a large network reads.
    light = (batched and settings.policy != "auto") or module_of(spec).startswith(LIGHT)
    return choose_processes(settings, light, torch.cuda.device_count() if settings.device == "cuda" else cores())


def choose_processes(settings: Config, light: bool, places: int) -> Choice[int]:
    """Return how many processes make training faster. It follows from sizes, not from a clock, so a command repeated is the same.

    Args:
        settings: of the run.
        light: a step of an environment takes microseconds, or the environment steps all its copies in one call.
        places: cores or, if the device is cuda, CUDA devices of this machine.
    """
    units, rows = max(settings.hidden_sizes, default=0), settings.batch_size // settings.num_minibatches
    if light and settings.policy in ("auto", "mlp", "gru") and units <= SMALL and rows < ROWS:
        return Choice(1, "environment, network and minibatches are small; exchanges would take longer than they save")
    groups = settings.num_envs // settings.group_size
    number = max(n for n in range(1, max(1, places) + 1) if groups % n == 0)
    devices = "CUDA devices" if settings.device == "cuda" else "cores"
    if number >= places:
        return Choice(number, f"all {devices}")
    return Choice(number, f"the largest divisor of num_envs = {settings.num_envs} up to the {places} {devices}")
