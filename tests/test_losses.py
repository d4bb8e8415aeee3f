"""The loss is the paper's, over valid rows alone; its gradient is A2C's while the ratio is 1."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor

from ppo.loop.losses import STATS, Coefs, normalized, ppo_loss


def coefs(clip_coef: float = 0.2, ent_coef: float = 0.1, vf_coef: float = 0.5) -> Coefs:
    return Coefs(*tensor([clip_coef, ent_coef, vf_coef], dtype=torch.float64))


PLAIN = coefs()
ALL_TERMS = (coefs(ent_coef=0.3), True)
NAMES = ("log_probs", "entropy", "values", "old_log_probs", "old_values", "advantages", "returns")


def by_hand() -> dict[str, torch.Tensor]:
    """Return five rows (1, 5) that take every branch of the clipped surrogate.

    ratio  Â    r Â   clip(r) Â   min         (V − R)²   H   r − 1 − ln r
    1.5    2    3.0   2.4         2.4 clipped     1      1   0.0945348919
    0.5    2    1.0   1.6         1.0             0      2   0.1931471806
    0.5   −1   −0.5  −0.8        −0.8 clipped     4      3   0.1931471806
    1.5   −1   −1.5  −1.2        −1.5             0      2   0.0945348919
    1.1    3    3.3   3.3         3.3             0      2   0.0046898202
    sum                           4.4             5     10   0.5800539651
    """
    rows = {
        "log_probs": tensor([1.5, 0.5, 0.5, 1.5, 1.1], dtype=torch.float64).log() - 2.0,
        "entropy": tensor([1.0, 2, 3, 2, 2]),
        "values": tensor([1.0, 2, 3, 4, 0]),
        "old_log_probs": torch.full((5,), -2.0),
        "old_values": torch.zeros(5),
        "advantages": tensor([2.0, 2, -1, -1, 3]),
        "returns": tensor([0.0, 2, 5, 4, 0]),
        "valid": torch.ones(5, dtype=torch.bool),
    }
    return {name: x.unsqueeze(0) if name == "valid" else x.double().unsqueeze(0) for name, x in rows.items()}


def row(**columns: list[float]) -> dict[str, torch.Tensor]:
    """Return rows (1, B) that are zero, and valid, but for the columns given."""
    size = len(next(iter(columns.values())))
    rows = {name: tensor([columns.get(name, [0.0] * size)], dtype=torch.float64) for name in NAMES}
    return rows | {"valid": tensor([columns.get("valid", [True] * size)])}


def with_dead_rows(rows: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Put a dead row before and after, whose ratio is infinite or 0 and whose every number would change the loss."""
    dead = {name: tensor([[1e6, -1e6]], dtype=torch.float64) for name in NAMES}
    dead |= {"log_probs": tensor([[torch.inf, -torch.inf]]).double(), "valid": tensor([[False, False]])}
    return {name: torch.cat([dead[name][:, :1], x, dead[name][:, 1:]], dim=1) for name, x in rows.items()}


def statistic(stats: torch.Tensor, name: str) -> float:
    return stats[STATS.index(name)].item()


@pytest.mark.parametrize("dead", [False, True], ids=["all valid", "between dead rows"])
def test_loss_is_the_sum_worked_out_by_hand(dead):
    loss, stats = ppo_loss(**(with_dead_rows(by_hand()) if dead else by_hand()), coefs=PLAIN)
    assert statistic(stats, "policy_loss") == pytest.approx(-0.88)  # −4.4 / 5
    assert statistic(stats, "value_loss") == pytest.approx(0.5)  # ½ · 5 / 5
    assert statistic(stats, "entropy") == pytest.approx(2.0)  # 10 / 5
    assert loss.item() == pytest.approx(-0.83)  # −0.88 + 0.5 · 0.5 − 0.1 · 2
    assert statistic(stats, "approx_kl") == pytest.approx(0.1160107930)  # 0.5800539651 / 5
    assert statistic(stats, "clipfrac") == pytest.approx(0.8)  # all but the ratio of 1.1


@pytest.mark.parametrize(
    ("value", "old", "target", "expected"),
    [
        (1.0, 0.0, 2.0, 1.62),  # ½ max((1 − 2)², (0.2 − 2)²): the clipped value is further off
        (1.0, 0.0, -1.0, 2.0),  # ½ max((1 + 1)², (0.2 + 1)²): the value itself is
        (-1.0, 0.0, -2.0, 1.62),  # clipped from below to −0.2
        (0.1, 0.0, 2.0, 1.805),  # ½ (0.1 − 2)²: within the clip
    ],
)
def test_a_clipped_value_counts_where_its_error_is_larger(value, old, target, expected):
    rows = row(values=[value], old_values=[old], returns=[target])
    _, stats = ppo_loss(**rows, coefs=PLAIN, clip_vloss=True)
    assert statistic(stats, "value_loss") == pytest.approx(expected)


def test_entropy_lowers_the_loss():
    # Two rows of entropy 1 and 3, nothing else: −0.1 · 2.
    assert ppo_loss(**row(entropy=[1.0, 3.0]), coefs=PLAIN)[0].item() == pytest.approx(-0.2)


def test_a_penalty_raises_the_loss_by_its_mean_over_valid_rows():
    rows = row(log_probs=[0.0, 0.0, 0.0], valid=[True, True, False])
    assert ppo_loss(**rows, coefs=PLAIN, penalty=tensor([[0.2, 0.4, 9.0]]))[0].item() == pytest.approx(0.3)
    stats = ppo_loss(**rows, coefs=PLAIN, penalty=tensor([[0.2, torch.inf, 9.0]]))[1]
    assert stats[-1] == 1  # the row to blame


def test_advantages_are_normalised_over_the_valid_rows_of_each_minibatch():
    # Two minibatches of three rows: 1 and 3 become −1 and 1; 10, 20 and 30 become ∓√1.5. The dead 1000 counts nowhere.
    advantages, valid = tensor([[[1.0, 3.0, 1000.0], [10.0, 20.0, 30.0]]]), torch.ones(1, 2, 3, dtype=torch.bool)
    valid[0, 0, 2] = False
    found = normalized(advantages, valid)
    torch.testing.assert_close(found[0, 0, :2], tensor([-1.0, 1.0]))
    torch.testing.assert_close(found[0, 1], tensor([-(1.5**0.5), 0.0, 1.5**0.5]))


def test_the_parts_of_a_minibatch_sum_to_it():
    rows, total = by_hand(), tensor(5)
    whole_loss, whole_stats = ppo_loss(**rows, coefs=PLAIN)
    parts = [
        ppo_loss(**{name: x[:, part] for name, x in rows.items()}, coefs=PLAIN, count=total)
        for part in (slice(2), slice(2, 5))
    ]
    assert sum(loss for loss, _ in parts).item() == pytest.approx(whole_loss.item())
    torch.testing.assert_close(sum(stats[:-1] for _, stats in parts), whole_stats[:-1])


@pytest.mark.parametrize("terms", [(PLAIN,), ALL_TERMS], ids=["plain", "all terms"])
def test_dead_rows_change_no_gradient_and_get_none(terms):
    def gradients(rows):
        trained = [rows[name].clone().requires_grad_() for name in NAMES[:3]]
        loss, _ = ppo_loss(*trained, *(rows[name] for name in (*NAMES[3:], "valid")), *terms)
        return torch.cat(torch.autograd.grad(loss, trained))

    expected, found = gradients(by_hand()), gradients(with_dead_rows(by_hand()))
    assert expected.abs().sum() > 0.1
    torch.testing.assert_close(found[:, 1:-1], expected)
    assert (found[:, [0, -1]] == 0).all()


def test_a_minibatch_of_dead_rows_has_no_loss_and_no_gradient():
    rows = row(log_probs=[1.0], advantages=[1.0], values=[3.0], entropy=[1.0], valid=[False])
    rows["values"].requires_grad_()
    loss, stats = ppo_loss(**rows, coefs=PLAIN)
    loss.backward()
    assert loss.item() == 0.0
    assert stats.tolist() == [0, 0, 0, 0, 0, -1]  # and no row is to blame
    assert (rows["values"].grad == 0).all()


@pytest.mark.parametrize(
    "terms",
    [(PLAIN,), ALL_TERMS, (coefs(clip_coef=10.0, vf_coef=2.0),)],
    ids=["plain", "all terms", "never clipped"],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradient_is_the_finite_difference(seed, terms):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(7, 3, 4, generator=generator, dtype=torch.float64)
    valid = torch.rand(3, 4, generator=generator) < 0.8
    trained = [x.clone().requires_grad_() for x in rows[:3]]
    assert torch.autograd.gradcheck(lambda *x: ppo_loss(*x, *rows[3:], valid, *terms)[0], trained, atol=1e-7)


def test_gradient_at_ratio_one_is_the_plain_policy_gradient():
    torch.manual_seed(0)
    logits = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    values = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    actions, advantages = torch.randint(4, (5, 3)), torch.randn(5, 3, dtype=torch.float64)
    returns = torch.randn(5, 3, dtype=torch.float64)
    dist = torch.distributions.Categorical(logits=logits)
    log_probs, valid = dist.log_prob(actions), torch.ones(5, 3, dtype=torch.bool)
    ours, _ = ppo_loss(
        log_probs, dist.entropy(), values, log_probs.detach(), values.detach(), advantages, returns, valid, PLAIN
    )
    a2c = -(advantages * log_probs).mean() + 0.5 * 0.5 * (returns - values).pow(2).mean() - 0.1 * dist.entropy().mean()
    gradient = partial(torch.autograd.grad, inputs=[logits, values], retain_graph=True)
    for found, expected in zip(gradient(ours), gradient(a2c), strict=True):
        torch.testing.assert_close(found, expected)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_approx_kl_is_never_negative_and_clipfrac_counts_ratios_beyond_the_clip(log_ratios):
    _, stats = ppo_loss(**row(log_probs=log_ratios), coefs=PLAIN)
    assert statistic(stats, "approx_kl") >= -1e-15
    beyond = sum(not 0.8 <= 2.718281828459045**x <= 1.2 for x in log_ratios)
    assert statistic(stats, "clipfrac") == pytest.approx(beyond / len(log_ratios))


def test_statistics_carry_no_gradient():
    rows = by_hand()
    rows["log_probs"].requires_grad_()
    loss, stats = ppo_loss(**rows, coefs=PLAIN)
    assert loss.requires_grad
    assert not stats.requires_grad


def test_the_first_row_that_is_not_finite_is_told():
    rows = row(log_probs=[0.0, 1000.0, 2000.0], valid=[True, True, True])
    assert ppo_loss(**rows, coefs=PLAIN)[1][-1] == 1  # exp(1000) overflows
