"""Distributions agree with torch.distributions, with their own samples, and stay finite where probabilities are 0."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributions as td
from torch import tensor

from ppo.policies.distributions import Bernoulli, Categorical, Gaussian, Product, SquashedGaussian

MASKED = -1e30  # logit of a masked choice
LOW, HIGH = -1.0, 3.0
LOG_SCALE = tensor([math.log(2.0)])  # half of HIGH − LOW


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def logits(*shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape)


def noise(kind: type, *shape: int) -> torch.Tensor:
    """Return noise as a kind of distribution wants it drawn."""
    drawn = torch.full(shape, torch.nan)
    kind.draw(drawn)
    return drawn


def neutral(kind: type, *shape: int) -> torch.Tensor:
    return torch.full(shape, kind.neutral)


def squashed(mean: torch.Tensor, log_std: torch.Tensor) -> td.Distribution:
    """Return torch's own distribution over actions in (LOW, HIGH)."""
    affine = td.AffineTransform((LOW + HIGH) / 2, (HIGH - LOW) / 2)
    return td.TransformedDistribution(td.Normal(mean, log_std.exp()), [td.TanhTransform(), affine])


def to_bounds(u: torch.Tensor) -> torch.Tensor:
    return LOW + (HIGH - LOW) * (u.tanh() + 1) / 2


def test_categorical_agrees_with_torch():
    scores = logits(5, 3, 4)
    ours, theirs = Categorical(scores), td.Categorical(logits=scores)
    actions = torch.randint(4, (5, 3))
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.sample(neutral(Categorical, 5, 3, 4)), scores.argmax(-1))
    drawn = ours.sample(noise(Categorical, 5, 3, 4))
    assert drawn.shape == (5, 3)
    assert drawn.dtype == torch.int64


def test_bernoulli_agrees_with_torch():
    scores = logits(5, 3, 4)
    ours, theirs = Bernoulli(scores), td.Independent(td.Bernoulli(logits=scores), 1)
    actions = torch.randint(2, (5, 3, 4)).float()
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert torch.equal(ours.sample(neutral(Bernoulli, 5, 3, 4)), (scores > 0).float())
    assert ours.sample(noise(Bernoulli, 5, 3, 4)).shape == (5, 3, 4)


def test_gaussian_agrees_with_torch():
    mean, log_std, actions = torch.randn(5, 3, 4), torch.randn(4), torch.randn(5, 3, 4)
    ours, theirs = Gaussian(mean, log_std), td.Independent(td.Normal(mean, log_std.exp()), 1)
    torch.testing.assert_close(ours.log_prob(actions), theirs.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert ours.entropy().shape == (5, 3)
    assert torch.equal(ours.sample(neutral(Gaussian, 5, 3, 4)), mean)


def test_squashed_gaussian_agrees_with_torch_on_the_density_of_the_action():
    mean, log_std, u = torch.randn(5, 3, 1), tensor([-0.5]), torch.randn(5, 3, 1)
    expected = squashed(mean, log_std).log_prob(to_bounds(u)).squeeze(-1)
    torch.testing.assert_close(SquashedGaussian(mean, log_std, LOG_SCALE).log_prob(u), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.3), (0.8, 0.5), (-1.5, 0.7)])
def test_squashed_density_integrates_to_one_over_its_bounds(mean, std):
    actions = torch.linspace(LOW, HIGH, 100_001, dtype=torch.float64)[1:-1, None]
    u = torch.atanh((actions - (LOW + HIGH) / 2) / ((HIGH - LOW) / 2))
    dist = SquashedGaussian(tensor([mean]).double(), tensor([std]).double().log(), LOG_SCALE.double())
    assert torch.trapezoid(dist.log_prob(u).exp(), actions[:, 0]).item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.1), (0.5, 1.0), (-2.0, 1.0), (1.0, 2.0)])
def test_squashed_entropy_agrees_with_monte_carlo(mean, std):
    theirs = squashed(tensor([mean]).double(), tensor([std]).double().log())
    entropy = SquashedGaussian(tensor([mean]), tensor([std]).log(), LOG_SCALE).entropy()
    drawn = -theirs.log_prob(theirs.sample((200_000,)))
    drawn = drawn[drawn.isfinite()]  # torch's own log_prob is infinite where tanh u rounds to ±1
    assert entropy.item() == pytest.approx(drawn.mean().item(), abs=5 * drawn.std().item() / len(drawn) ** 0.5)


@pytest.mark.parametrize("mean", [0.0, 0.5, 1.5, 3.0])
@pytest.mark.parametrize("std", [0.1, 1.0, 2.0])
def test_squashed_entropy_is_within_a_thousandth_of_its_integral(mean, std):
    z = np.linspace(-12, 12, 100_001)
    slope = math.log(2.0) + 2 * (math.log(2) - (u := mean + std * z) - np.logaddexp(0, -2 * u))
    integral = np.trapezoid(np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * slope, z)
    expected = 0.5 * math.log(2 * math.pi * math.e) + math.log(std) + integral
    entropy = SquashedGaussian(tensor([mean]), tensor([std]).log(), LOG_SCALE).entropy()
    assert entropy.item() == pytest.approx(expected, abs=1e-3)


def test_squashed_log_prob_is_finite_far_into_the_tails():
    dist = SquashedGaussian(torch.zeros(1), torch.zeros(1), LOG_SCALE)
    # log N(50) = −1250.92 − log 2 + 98.61 of the slope's logarithm, 2 (log 2 − 50); the same at −50 by symmetry.
    for u in (50.0, -50.0):
        assert dist.log_prob(tensor([u])).item() == pytest.approx(-1250.9189 - 0.6931 + 98.6137, abs=1e-2)


def test_product_adds_log_probs_and_entropies_of_its_parts():
    scores, mean, log_std, bits = logits(5, 3, 4), torch.randn(5, 3, 2), torch.randn(2), logits(5, 3, 3)
    ours = Product([Categorical(scores), Gaussian(mean, log_std), Bernoulli(bits)], [4, 2, 3], [1, 2, 3])
    kinds = ((Categorical, 4), (Gaussian, 2), (Bernoulli, 3))
    theirs = [
        td.Categorical(logits=scores),
        td.Independent(td.Normal(mean, log_std.exp()), 1),
        td.Independent(td.Bernoulli(logits=bits), 1),
    ]
    actions = ours.sample(torch.cat([noise(kind, 5, 3, size) for kind, size in kinds], dim=-1))
    assert actions.shape == (5, 3, 6)
    columns = actions[..., 0], actions[..., 1:3], actions[..., 3:]
    expected = sum(dist.log_prob(column) for dist, column in zip(theirs, columns, strict=True))
    torch.testing.assert_close(ours.log_prob(actions), expected)
    torch.testing.assert_close(ours.entropy(), sum(dist.entropy() for dist in theirs))
    expected = torch.cat([scores.argmax(-1, keepdim=True), mean, (bits > 0).float()], dim=-1)
    mode = ours.sample(torch.cat([neutral(kind, 5, 3, size) for kind, size in kinds], dim=-1))
    torch.testing.assert_close(mode, expected)


def pair(kind: str, scores: torch.Tensor, log_std: torch.Tensor) -> tuple[Any, td.Distribution]:
    """Return a distribution of ours and torch's."""
    if kind == "choices":
        return Categorical(scores), td.Categorical(logits=scores)
    if kind == "bits":
        return Bernoulli(scores), td.Independent(td.Bernoulli(logits=scores), 1)
    ours = SquashedGaussian(scores, log_std, torch.zeros(4)) if kind == "squashed" else Gaussian(scores, log_std)
    return ours, td.Independent(td.Normal(scores, log_std.exp()), 1)  # a change of variables changes no divergence


@pytest.mark.parametrize("kind", ["choices", "bits", "numbers", "squashed"])
def test_divergence_and_its_gradient_are_exact(kind):
    scores, log_std = logits(5, 3, 4).requires_grad_(), torch.randn(4)
    (ours, theirs), (our_other, their_other) = (
        pair(kind, x, log_std * n) for n, x in ((1, scores), (2, logits(5, 3, 4)))
    )
    both = ours.divergence(our_other.parameters()), td.kl_divergence(theirs, their_other)
    torch.testing.assert_close(*both)
    torch.testing.assert_close(*(torch.autograd.grad(x.sum(), scores, retain_graph=True)[0] for x in both))


def test_the_divergence_of_a_product_is_that_of_its_parts():
    kinds, log_std = ("choices", "numbers", "bits"), torch.randn(4)
    one, other = ([pair(kind, logits(5, 3, 4), log_std) for kind in kinds] for _ in range(2))
    products = [Product([ours for ours, _ in pairs], [4, 4, 4], [1, 4, 4]) for pairs in (one, other)]
    expected = sum(td.kl_divergence(a, b) for (_, a), (_, b) in zip(one, other, strict=True))
    torch.testing.assert_close(products[0].divergence(products[1].parameters()), expected)


def test_a_product_of_indices_alone_stays_whole_numbers():
    dist = Product([Categorical(logits(6, 3)), Categorical(logits(6, 2))], [3, 2], [1, 1])
    assert dist.sample(noise(Categorical, 6, 5)).dtype == torch.int64
    assert dist.sample(neutral(Categorical, 6, 5)).dtype == torch.int64


def test_the_same_noise_gives_the_same_sample_and_each_part_reads_only_its_own():
    dist = Product([Categorical(logits(9, 3)), Gaussian(torch.randn(9, 2), torch.zeros(2))], [3, 2], [1, 2])
    drawn = torch.cat([noise(Categorical, 9, 3), noise(Gaussian, 9, 2)], dim=-1)
    first = dist.sample(drawn)
    assert torch.equal(dist.sample(drawn), first)
    other = torch.cat([drawn[:, :3], noise(Gaussian, 9, 2)], dim=-1)
    assert torch.equal(dist.sample(other)[:, 0], first[:, 0])
    assert (dist.sample(other)[:, 1:] != first[:, 1:]).all()


@pytest.mark.parametrize(("kind", "extra"), [(Gaussian, ()), (SquashedGaussian, (torch.zeros(2),))])
def test_a_sample_carries_no_gradient(kind, extra):
    mean, log_std = torch.zeros(4, 2, requires_grad=True), torch.zeros(2, requires_grad=True)
    assert not kind(mean, log_std, *extra).sample(noise(kind, 4, 2)).requires_grad
    assert not Categorical(mean).sample(noise(Categorical, 4, 2)).requires_grad
    assert not Bernoulli(mean).sample(noise(Bernoulli, 4, 2)).requires_grad


def test_categorical_samples_with_its_probabilities():
    wanted = tensor([0.05, 0.15, 0.3, 0.5])
    draws = Categorical(wanted.log().expand(40_000, 4)).sample(noise(Categorical, 40_000, 4))
    # Five standard errors of a share at 40,000 draws are at most 0.0125.
    torch.testing.assert_close(draws.bincount(minlength=4) / 40_000, wanted, atol=0.0125, rtol=0)


def test_bernoulli_samples_with_its_probabilities_and_bits_are_independent():
    wanted = tensor([0.2, 0.9])
    draws = Bernoulli(wanted.logit().expand(40_000, 2)).sample(noise(Bernoulli, 40_000, 2))
    torch.testing.assert_close(draws.mean(0), wanted, atol=0.0125, rtol=0)
    assert draws.prod(-1).mean().item() == pytest.approx(0.18, abs=0.0125)


@pytest.mark.parametrize(("kind", "extra"), [(Gaussian, ()), (SquashedGaussian, (torch.zeros(2),))])
def test_gaussians_sample_with_their_mean_and_deviation(kind, extra):
    dist = kind(tensor([1.0, -2.0]).expand(40_000, 2), tensor([0.5, 3.0]).log(), *extra)
    draws = dist.sample(noise(kind, 40_000, 2))
    assert draws.mean(0).tolist() == pytest.approx([1.0, -2.0], abs=0.08)
    assert draws.std(0).tolist() == pytest.approx([0.5, 3.0], rel=0.03)


@pytest.mark.parametrize("impossible", [MASKED, -200.0])
def test_actions_of_probability_zero_are_never_sampled_and_entropy_is_finite(impossible):
    scores = tensor([0.0, impossible, 1.0, impossible]).expand(20_000, 4).clone().requires_grad_()
    dist = Categorical(scores)
    draws = dist.sample(noise(Categorical, 20_000, 4))
    assert set(draws.tolist()) == {0, 2}
    expected = td.Categorical(logits=tensor([0.0, 1.0])).entropy().item()  # as if the others were not there
    assert dist.entropy()[0].item() == pytest.approx(expected)
    (dist.entropy() + dist.log_prob(draws)).sum().backward()
    assert torch.isfinite(scores.grad).all()
    assert (scores.grad[:, [1, 3]] == 0).all()


def test_bits_that_are_certain_are_always_so_and_their_entropy_is_zero():
    scores = tensor([200.0, -200.0]).expand(5_000, 2).clone().requires_grad_()
    dist = Bernoulli(scores)
    draws = dist.sample(noise(Bernoulli, 5_000, 2))
    assert (draws == tensor([1.0, 0.0])).all()
    torch.testing.assert_close(dist.entropy(), torch.zeros(5_000))
    torch.testing.assert_close(dist.log_prob(draws), torch.zeros(5_000))
    (dist.entropy() + dist.log_prob(dist.sample(neutral(Bernoulli, 5_000, 2)))).sum().backward()
    assert torch.isfinite(scores.grad).all()


def test_fifty_thousand_actions_keep_their_probabilities_in_float32():
    size = 50_000
    scores = logits(size)
    scores[1::2] = MASKED
    exact = scores.double().numpy()
    probs = np.exp(exact - exact.max()) / np.exp(exact - exact.max()).sum()
    dist = Categorical(scores.expand(200, size))
    assert dist.log_probs[0].exp().sum().item() == pytest.approx(1.0, abs=1e-4)
    some = probs > 0
    assert dist.entropy()[0].item() == pytest.approx(-(probs[some] * np.log(probs[some])).sum(), abs=1e-3)
    assert dist.log_prob(torch.full((200,), 4242))[0].item() == pytest.approx(math.log(probs[4242]), abs=1e-3)
    draws = dist.sample(noise(Categorical, 200, size))
    assert (draws % 2 == 0).all()  # the odd half is impossible
    likely = np.argsort(probs)[::-1][:1000]  # a fiftieth of the actions, with a good share of the probability
    share = probs[likely].sum()
    assert 0.2 < share < 0.8
    assert np.isin(draws.numpy(), likely).mean() == pytest.approx(share, abs=5 * (share * (1 - share) / 200) ** 0.5)


@pytest.mark.parametrize("kind", ["gaussian", "squashed"])
def test_gradient_of_a_gaussian_is_finite_and_right(kind):
    mean, log_std = torch.randn(6, 1, dtype=torch.float64), tensor([-0.3]).double()
    u = torch.randn(6, 1, dtype=torch.float64)

    def ours(mean, log_std):
        extra = (LOG_SCALE.double(),) if kind == "squashed" else ()
        dist = (SquashedGaussian if kind == "squashed" else Gaussian)(mean, log_std, *extra)
        return dist.log_prob(u), dist.entropy()

    assert torch.autograd.gradcheck(ours, (mean.requires_grad_(), log_std.requires_grad_()))
