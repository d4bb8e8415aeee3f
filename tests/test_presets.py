"""Presets: each one is a configuration that can be trained, chosen by environment, algorithm and policy."""

import gymnasium
import pytest

from ppo import Config, preset
from ppo.config.lengths import sequence_length
from ppo.config.presets import ALGORITHMS, ENVIRONMENTS, FAMILIES, preset_name

ONE_OF_EACH = [
    "CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "FrozenLake-v1", "LunarLander-v3", "CarRacing-v3",
    "HalfCheetah-v5", "MountainCarContinuous-v0", "benchmarks.tasks:Recall-v0", "text/RandomWalks-v0", "text/Formulas-v0", "TrafficLight-v0",
    "text/Copy-v0", "text/Reverse-v0", "text/Dedup-v0", "text/Add-v0", "text/NextToken-v0", "text/Dialogue-v0", "Arcade-v0",
    "text/Pronounce-v0", "text/Molecules-v0",
    "MinAtar/Breakout-v1", "MiniGrid-FourRooms-v0", "VizdoomBasic-v1", "pettingzoo:relay",
]  # fmt: skip
gymnasium.register("Arcade-v0", entry_point="ppo.envs.atari:Game")  # as the games of ALE, which need not be installed
pytestmark = pytest.mark.usefixtures("stand_ins")


@pytest.mark.parametrize("env_id", ONE_OF_EACH)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("policy", ["auto", "mlp", "gru"])
def test_every_preset_is_in_range_and_divides(env_id, algorithm, policy):
    config = preset(env_id, algorithm, policy)
    config = config.replace({"reference": "RUN"}) if config.reward == "none" else config
    config.validate()
    memory = config.policy in ("gru", "transformer") or (policy == "auto" and env_id.startswith("text/"))
    length = sequence_length(config, recurrent=memory)
    sequences = config.num_envs * config.num_steps // length
    assert config.num_steps % length == 0
    assert sequences % config.num_minibatches == 0
    assert (config.env_id, config.algorithm) == (env_id, algorithm)
    assert config.policy == policy or policy == "auto"
    assert length >= 8 or not memory, "it learns nothing to remember from sequences that short"


def test_an_answer_is_found_by_attention_unless_another_policy_is_asked_for():
    assert [preset("text/Copy-v0", policy=policy).policy for policy in ("auto", "gru")] == ["transformer", "gru"]
    assert preset("text/RandomWalks-v0").policy == "auto"


def test_the_list_above_reaches_every_preset():
    names = {preset_name(env_id) for env_id in ONE_OF_EACH}
    families = {family.rpartition(".")[2] or "general" for family in FAMILIES}
    assert names == {f"ppo + {name}" for name in families | set(ENVIRONMENTS)}
    assert set(ALGORITHMS) == {"ppo", "a2c", "reinforce", "grpo", "distill"}


@pytest.mark.parametrize(
    ("env_id", "algorithm", "name"),
    [
        ("CartPole-v1", "ppo", "ppo + CartPole"),
        ("CartPole-v0", "a2c", "a2c + CartPole"),
        ("LunarLander-v3", "ppo", "ppo + box2d"),
        ("Hopper-v5", "reinforce", "reinforce + mujoco"),
        ("FrozenLake-v1", "ppo", "ppo + toy_text"),
        ("MountainCarContinuous-v0", "ppo", "ppo + general"),
        ("benchmarks.tasks:Recall-v0", "ppo", "ppo + general"),
    ],
)
def test_the_preset_says_which_it_is(env_id, algorithm, name):
    assert preset_name(env_id, algorithm) == name


def test_an_environment_has_its_own_preset_over_its_familys():
    assert gymnasium.spec("CarRacing-v3").entry_point.startswith("gymnasium.envs.box2d")
    assert preset_name("CarRacing-v3") == "ppo + CarRacing"


def test_the_preset_of_atari_is_the_published_one():
    published = {
        "num_envs": 8, "num_steps": 128, "total_timesteps": 10_000_000, "update_epochs": 4, "num_minibatches": 4,
        "learning_rate": 2.5e-4, "anneal_lr": True, "gamma": 0.99, "gae_lambda": 0.95, "clip_coef": 0.1, "clip_vloss": True,
        "norm_adv": True, "ent_coef": 0.01, "vf_coef": 0.5, "max_grad_norm": 0.5, "optimizer": "adam", "clip_rewards": 1.0,
        "scale_rewards": False, "normalize_obs": False, "target_kl": 0.0,
    }  # fmt: skip
    config = preset("Arcade-v0").to_json()
    assert {name: config[name] for name in published} == published
    between = 1_000_448  # decisions between two checkpoints: 977 iterations of 1,024
    assert config["eval_episodes"] * config["eval_max_steps"] <= between / 10, (
        "a policy that waits for ever costs that much"
    )
    others = preset("Arcade-v0", "a2c")
    assert (others.clip_rewards, others.eval_sampled, others.update_epochs, others.clip_coef) == (1.0, True, 1, 0.2)


def test_other_algorithms_take_only_what_describes_the_problem():
    config = preset("CartPole-v1", "a2c")
    assert (config.gamma, config.total_timesteps) == (0.98, 100_000)  # of CartPole
    assert (config.gae_lambda, config.optimizer) == (0.95, "rmsprop")  # of A2C, not of CartPole
    assert preset("Hopper-v5", "a2c").gamma == preset("Hopper-v5").gamma == Config(gamma="adaptive").gamma
    assert preset("text/Copy-v0", "grpo").gamma == 1  # of GRPO
    config = preset("CartPole-v1", "reinforce")
    assert (config.baseline, config.gae_lambda, config.update_epochs, config.num_minibatches) == (False, 1.0, 1, 1)


def test_a_module_is_imported_before_its_environment_is_looked_up(tmp_path, monkeypatch):
    (tmp_path / "alias.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Alias-v0', entry_point='gymnasium.envs.mujoco.half_cheetah_v5:HalfCheetahEnv')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert preset_name("alias:Alias-v0") == "ppo + mujoco"
