"""The commands on environments: check one, list the families."""

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional, arg

from ppo.cli.flags import optional
from ppo.cli.terminal import console, fold, print_lines
from ppo.config import Algorithm, EnvKwargs, Wraps
from ppo.config.words import Name
from ppo.envs.critic_key import CRITIC_KEY

MAX_WIDTH, INDENT = 100, "    "  # of a list of ids


@dataclass(frozen=True)
class Check:
    """Check an environment before training.

    Reports spaces, autoreset, episodes, numbers, determinism, speed, and what would be trained.
    """

    env_id: Annotated[Positional[str], arg(metavar="ENV_ID")]
    """Gymnasium id, or `package.module:EnvId-v0`."""
    num_envs: int = 4
    """Number of environments stepped together."""
    steps: int = 1000
    """Random steps in each environment."""
    env_kwargs: EnvKwargs = field(default_factory=dict)
    """Keyword arguments of the environment, as in `ppo train`."""
    wrap: Wraps = ()
    """Wrapper around each environment, as in `ppo train`. Repeat the flag for more."""
    max_episode_steps: int = 0
    """Steps after which Gymnasium truncates an episode. 0: the registered limit."""
    critic_key: Name = CRITIC_KEY
    """Key of a Dict in the observation that the critic alone sees, as in `ppo train`."""
    resize: Annotated[int | None, optional("INT", "the preset's")] = None
    """Height and width to which larger images are resized, as in `ppo train`."""
    algorithm: Algorithm = "ppo"
    """Algorithm of the preset to report."""
    policy: str = "auto"
    """Policy of the preset to report, as in `ppo train`."""

    def run(self) -> None:
        """Print the findings."""
        from ppo.check import check

        print_lines(console, list(check(**vars(self))))


@dataclass(frozen=True)
class Envs:
    """List the environment families, installed or not.

    Says what each would be trained with, or how to install it.
    """

    family: Annotated[Positional[str], optional("[FAMILY]", "all")] = ""
    """Only the families whose names contain this, such as minigrid."""

    def run(self) -> None:
        """Print each family with its presets and their ids."""
        from ppo.check import list_families

        width, shown = min(console.width, MAX_WIDTH), ""
        for family, text, ids in list_families(self.family):
            if family != shown:
                console.print(family, markup=False)
                shown = family
            console.print(fold(text, width, initial_indent=INDENT[:2], subsequent_indent=INDENT), markup=False)
            if ids:
                console.print(
                    fold(", ".join(ids), width, initial_indent=INDENT, subsequent_indent=INDENT), markup=False
                )
