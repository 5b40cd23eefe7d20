import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import Clock
from jaxgen.models.gans import EBGAN, Bottleneck, Energy, PullingAway
from jaxgen.nets import MLP, Projection
from tests.models.gans.linear import NET, PRIOR, Z, as_written, linear
from tests.models.parameters import KEY, batch_for, drawn

# the code is the row itself, and its decoder an affine map
GAME = EBGAN(
    NET, NET, (2,), latent_dim=2, prior=PRIOR, decoder=NET, adversarial_loss=Energy(0.2), terms=(PullingAway(0.3),)
)  # fmt: skip
BATCH = batch_for(GAME)
VARIABLES = drawn(GAME, BATCH)


def energy(params, x):
    return ((linear(params["critic"], x) - x) ** 2).mean(-1)


def samples(params):
    return linear(params["generator"], Z)


def test_the_critic_gives_data_low_energies_and_samples_the_margin():
    def expected(params):
        return energy(params, BATCH["x"]).mean() + jnp.maximum(0, 0.2 - energy(params, samples(params))).mean()

    params = {player: v["params"] for player, v in VARIABLES.items()}
    above = np.asarray(energy(params, samples(params)) > 0.2)
    assert above.any() and not above.all()
    figures = as_written(GAME.plays()["critic"], VARIABLES, BATCH, expected).metrics
    assert float(figures["fake"]) == pytest.approx(float(energy(params, samples(params)).mean()), rel=1e-4)


def test_the_generator_lowers_energies_through_both_places_and_pulls_codes_apart():
    def expected(params):
        x = samples(params)
        a, b = (x[np.array(rows)] for rows in zip(*itertools.permutations(range(6), 2), strict=True))
        squared_cosines = (a * b).sum(1) ** 2 / ((a**2).sum(1) * (b**2).sum(1))
        return energy(params, x).mean() + 0.3 * squared_cosines.mean()

    as_written(GAME.plays()["generator"], VARIABLES, BATCH, expected)


def test_codes_are_what_is_pulled_apart():
    model = dataclasses.replace(GAME, critic=MLP((3,), jnp.sin))
    variables = drawn(model, BATCH)
    out, plain = jax.jit(
        lambda v: [m.generator_loss(v, BATCH, KEY, Clock()) for m in (model, dataclasses.replace(model, terms=()))]
    )(variables)
    x = linear(variables["generator"]["params"], np.asarray(Z))
    codes = np.sin(linear(variables["critic"]["params"]["encoder"]["Dense_0"], x))
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    expected = (((codes @ codes.T) ** 2).sum() - 6) / 30
    assert float(out.metrics["pulling_away"]) == pytest.approx(expected, rel=1e-4)
    assert float(out.value - plain.value) == pytest.approx(0.3 * expected, rel=1e-3)
    assert "pulling_away" not in plain.metrics


def test_an_autoencoder_without_error_has_no_energy():
    perfect = {"params": {"head": {"out": {"kernel": np.eye(2, dtype=np.float32), "bias": np.zeros(2, np.float32)}}}}
    shifted = {"params": {"head": {"out": {"kernel": np.eye(2, dtype=np.float32), "bias": np.float32([3, -1])}}}}
    score = jax.jit(GAME.score)
    np.testing.assert_allclose(score({**VARIABLES, "critic": perfect}, BATCH["x"]), 0, atol=1e-10)
    np.testing.assert_allclose(score({**VARIABLES, "critic": shifted}, BATCH["x"]), 5, rtol=1e-5)


def test_packs_are_reconstructed_whole():
    model = dataclasses.replace(GAME, packing=3)
    variables = drawn(model, BATCH)
    rows = np.concatenate(np.split(BATCH["x"], 3), -1)
    assert linear(variables["critic"]["params"], rows).shape == (2, 6)
    expected = ((linear(variables["critic"]["params"], rows) - rows) ** 2).mean(-1)
    np.testing.assert_allclose(jax.jit(model.score)(variables, BATCH["x"]), expected, rtol=1e-4)


def test_a_critic_without_a_decoder_is_refused():
    with pytest.raises(TypeError, match="decoder"):
        EBGAN(NET, NET, (2,))


def test_a_projection_of_an_energy_is_refused():
    with pytest.raises(ValueError, match="must not be a `Projection`"):
        dataclasses.replace(GAME, critic_condition=Projection())


def test_a_bottleneck_of_an_autoencoder_is_refused():
    with pytest.raises(ValueError, match="must not replace the critic's features"):
        dataclasses.replace(GAME, terms=(Bottleneck(),))
