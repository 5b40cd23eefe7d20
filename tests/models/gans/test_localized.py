import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models.gans import LocalizedGAN
from jaxgen.nets import MLP
from jaxgen.nets.normalization import BatchNorm
from tests.models.gans.linear import NET, PRIOR, Z, as_written, linear
from tests.models.parameters import KEY, batch_for, drawn

# G(x, z) = W z + V x + b, and of integers its hyperbolic tangent
GAMES = {
    "real": LocalizedGAN(NET, NET, (3,), latent_dim=2, prior=PRIOR, origin_weight=0.6, orthonormality_weight=0.3),
    "integers": LocalizedGAN(
        NET, NET, (3, 1, 1), latent_dim=2, levels=9, prior=PRIOR, origin_weight=0.6, orthonormality_weight=0.3
    ),
}


def game(name):
    model = GAMES[name]
    x = batch_for(model)["x"]
    rows = np.float32(x.reshape(6, -1) if name == "real" else x.reshape(6, -1) / 4 - 1)
    batch = {"x": x, "context": rows}
    return model, batch, drawn(model, batch)


def chart(name, params, rows, z):
    y = linear(params["generator"], jnp.concatenate([z, rows], -1))
    return y if name == "real" else jnp.tanh(y)


def tangents(name, params, rows):
    """The derivative of the chart at z = 0, [B, 3, 2]."""
    w = params["generator"]["head"]["out"]["kernel"][:2].T
    if name == "real":
        return jnp.broadcast_to(w, (6, 3, 2))
    return (1 - chart(name, params, rows, jnp.zeros((6, 2))) ** 2)[..., None] * w


@pytest.mark.parametrize("name", GAMES)
def test_charts_are_at_their_rows_with_orthonormal_tangents(name):
    model, batch, variables = game(name)
    rows = batch["context"]

    def terms(params):
        j = tangents(name, params, rows)
        origin = ((chart(name, params, rows, jnp.zeros((6, 2))) - rows) ** 2).sum(-1).mean()
        return origin, ((jnp.swapaxes(j, 1, 2) @ j - jnp.eye(2)) ** 2).sum((1, 2)).mean()

    def expected(params):
        origin, apart = terms(params)
        fake = linear(params["critic"], chart(name, params, rows, Z))[:, 0]
        return jnp.logaddexp(-fake, 0).mean() + 0.6 * origin + 0.3 * apart

    figures = as_written(model.plays()["generator"], variables, batch, expected).metrics
    origin, apart = terms({player: v["params"] for player, v in variables.items()})
    assert float(figures["origin"]) == pytest.approx(float(origin), rel=1e-4)
    assert float(figures["orthonormality"]) == pytest.approx(float(apart), rel=1e-4)


@pytest.mark.parametrize("name", GAMES)
def test_tangents_are_the_singular_values_at_the_row(name):
    model, batch, variables = game(name)
    found = jax.jit(model.tangents)(variables, batch["context"])
    j = np.asarray(tangents(name, {player: v["params"] for player, v in variables.items()}, batch["context"]))
    np.testing.assert_allclose(found, np.linalg.svd(j, compute_uv=False), rtol=1e-4)
    assert found.shape == (6, 2) and (found[:, 0] > found[:, 1]).all()


def test_the_rank_counts_tangents_that_do_not_vanish():
    model, batch, variables = game("real")
    kernel = variables["generator"]["params"]["head"]["out"]["kernel"]
    evaluate = jax.jit(model.evaluate)
    # two tangents, one that is the other's multiple, and one too short
    for w, rank in (([[1, 0, 0], [0, 0, 0.2]], 2), ([[1, 1, 0], [2, 2, 0]], 1), ([[0.05, 0, 0], [0, 0.3, 0]], 1)):
        kernel[:2] = w
        assert evaluate(variables, batch, KEY)["rank"] == rank
    # x itself, whatever it is, and one more
    kernel[2:], variables["generator"]["params"]["head"]["out"]["bias"][:] = np.eye(3), [0, 2, 0]
    assert float(evaluate(variables, batch, KEY)["origin"]) == pytest.approx(4, rel=1e-5)


def test_rows_that_are_not_the_context_are_refused():
    model, batch, _ = game("integers")
    for other in ({}, {"context": batch["context"][:, :2]}):
        with pytest.raises(ValueError, match=r"`context` must be the examples themselves, \[B, 3\]"):
            jax.eval_shape(model.init, KEY, {"x": batch["x"], **other})
    with pytest.raises(ValueError, match="batch statistics"):
        jax.eval_shape(dataclasses.replace(model, generator=MLP((4,), norm=BatchNorm)).init, KEY, batch)
