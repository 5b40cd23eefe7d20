import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.losses.f_divergences import F_DIVERGENCES
from jaxgen.models.gans.adversarial_losses import (
    BoundarySeeking,
    Energy,
    Equilibrium,
    FDivergence,
    Hinge,
    ImportanceWeighted,
    LeastSquares,
    Minimax,
    NonSaturating,
    Wasserstein,
)
from jaxgen.training.description import build, describe

REAL, FAKE = 2 * np.random.default_rng(0).normal(size=6), 2 * np.random.default_rng(1).normal(size=5)
D_REAL, D_FAKE = 1 / (1 + np.exp(-REAL)), 1 / (1 + np.exp(-FAKE))
CROSS_ENTROPY = -np.log(D_REAL).mean() - np.log(1 - D_FAKE).mean()
SMOOTHED = -(0.9 * np.log(D_REAL) + 0.1 * np.log(1 - D_REAL)).mean() - np.log(1 - D_FAKE).mean()
WEIGHTS = np.exp(FAKE) / np.exp(FAKE).sum()

# by hand, what the critic and what the generator minimise
CASES = {
    "minimax": (Minimax(), CROSS_ENTROPY, np.log(1 - D_FAKE).mean()),
    "non-saturating": (NonSaturating(), CROSS_ENTROPY, -np.log(D_FAKE).mean()),
    "smoothed minimax": (Minimax(real_label=0.9), SMOOTHED, np.log(1 - D_FAKE).mean()),
    "smoothed": (NonSaturating(real_label=0.9), SMOOTHED, -np.log(D_FAKE).mean()),
    "importance-weighted": (ImportanceWeighted(), CROSS_ENTROPY, -WEIGHTS @ np.log(D_FAKE)),
    "boundary-seeking": (BoundarySeeking(), CROSS_ENTROPY, (FAKE**2).mean()),
    "least squares": (
        LeastSquares(), 0.5 * ((REAL - 1) ** 2).mean() + 0.5 * (FAKE**2).mean(), 0.5 * ((FAKE - 1) ** 2).mean()
    ),
    "Pearson's least squares": (
        LeastSquares(-1.0, 1.0, 0.0),
        0.5 * ((REAL - 1) ** 2).mean() + 0.5 * ((FAKE + 1) ** 2).mean(),
        0.5 * (FAKE**2).mean(),
    ),
    "hinge": (Hinge(), np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean(), -FAKE.mean()),
    "wasserstein": (Wasserstein(), FAKE.mean() - REAL.mean(), -FAKE.mean()),
    "energy": (Energy(0.3), REAL.mean() + np.maximum(0, 0.3 - FAKE).mean(), FAKE.mean()),
    "equilibrium": (Equilibrium(0.4), REAL.mean() - 0.4 * FAKE.mean(), FAKE.mean()),
    "f-GAN of the KL": (FDivergence(F_DIVERGENCES["kl"]), np.exp(FAKE - 1).mean() - REAL.mean(),
                        -np.exp(FAKE - 1).mean()),
    "f-GAN of the GAN": (FDivergence(F_DIVERGENCES["gan"], alternative=True), CROSS_ENTROPY, -np.log(D_FAKE).mean()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_adversarial_losses_are_those_of_their_papers(name):
    loss, critic, generator = CASES[name]
    real, fake = jnp.asarray(REAL), jnp.asarray(FAKE)
    assert float(loss.critic(real, fake)) == pytest.approx(critic, rel=1e-5)
    assert float(loss.generator(fake)) == pytest.approx(generator, rel=1e-5)


def test_adversarial_losses_are_described_and_compared():
    losses = [case[0] for case in CASES.values()] + [FDivergence(d) for d in F_DIVERGENCES.values()]
    for loss in losses:
        again = build(json.loads(json.dumps(describe(loss))))
        assert again == loss and hash(again) == hash(loss)
    assert len(set(losses)) == len(losses) - 1  # the KL's is listed twice
