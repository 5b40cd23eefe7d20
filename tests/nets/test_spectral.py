import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxgen.contracts import LossOutput, Play
from jaxgen.models.forward import forward
from jaxgen.nets.spectral import SpectralConv, SpectralDense, SpectralNorm
from jaxgen.training import init_state, make_train_step
from tests.models.parameters import drawn

KEY = jax.random.key(0)
LAYERS = {
    "dense": (SpectralDense(5), nn.Dense(5), (3, 4)),
    "without bias": (SpectralDense(5, use_bias=False), nn.Dense(5, use_bias=False), (3, 2, 4)),
    "convolution": (SpectralConv(3), nn.Conv(3, (3, 3)), (2, 5, 4, 2)),
    "of stride 2": (SpectralConv(3, 4, 2, use_bias=False), nn.Conv(3, (4, 4), 2, use_bias=False), (2, 6, 5, 2)),
}


@pytest.mark.parametrize(("layer", "plain", "shape"), LAYERS.values(), ids=LAYERS)
def test_after_many_passes_the_kernels_largest_singular_value_is_one(layer, plain, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    variables = drawn(layer, x)
    params = variables["params"]

    def passed(spectral):
        def one(_, spectral):
            return layer.apply({"params": params, "spectral": spectral}, x, mutable=["spectral"])[1]["spectral"]

        return jax.lax.fori_loop(0, 200, one, spectral)

    y = jax.jit(lambda: layer.apply({"params": params, "spectral": passed(variables["spectral"])}, x))()
    kernel = params["kernel"]
    largest = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
    expected = jax.jit(plain.apply)({"params": {**params, "kernel": kernel / largest}}, x)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def by_hand(w, u):
    v = w @ u / np.linalg.norm(w @ u)
    new = w.T @ v / np.linalg.norm(w.T @ v)
    return v, new, v @ w @ new


def test_a_pass_is_one_power_iteration_and_moves_only_where_it_may():
    w = jax.random.normal(KEY, (3, 2, 4))
    norm = SpectralNorm()
    variables, another = (jax.jit(norm.init)(jax.random.key(i), w) for i in (0, 1))
    u = variables["spectral"]["u"]
    assert np.linalg.norm(u) == pytest.approx(1, rel=1e-5)
    assert np.abs(u - another["spectral"]["u"]).max() > 0.01
    _, new, sigma = by_hand(np.asarray(w.reshape(6, 4)), np.asarray(u))
    y, moved = jax.jit(lambda: norm.apply(variables, w, mutable=["spectral"]))()
    np.testing.assert_allclose(y, w / sigma, rtol=1e-5)
    np.testing.assert_allclose(moved["spectral"]["u"], new, rtol=1e-4, atol=1e-6)
    assert np.abs(new - u).max() > 0.01
    # the same function where nothing moves
    still, nothing = jax.jit(lambda: norm.apply(variables, w, mutable=["batch_stats"]))()
    np.testing.assert_allclose(still, y, rtol=1e-6)
    assert not nothing
    # an average of directions is shorter than they are
    shorter = jax.tree.map(lambda u: 0.3 * u, variables)
    np.testing.assert_allclose(norm.apply(shorter, w), y, rtol=1e-5)


def test_the_gradient_flows_through_sigma_and_not_through_the_directions():
    w, r = jax.random.normal(KEY, (2, 5, 4))
    variables = drawn(SpectralNorm(), w)
    gradient = jax.jit(jax.grad(lambda w: (r * SpectralNorm().apply(variables, w)).sum()))(w)
    v, u, sigma = by_hand(np.asarray(w), np.asarray(variables["spectral"]["u"]))
    # Miyato et al. 2018, equation 12: what would lengthen the first singular vectors is taken away
    expected = r / sigma - (r * w).sum() / sigma**2 * np.outer(v, u)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    assert np.abs(gradient - r / sigma).max() > 0.01


def test_a_kernel_of_zeros_stays_finite():
    w = jnp.zeros((3, 2))
    variables = drawn(SpectralNorm(), w)
    np.testing.assert_array_equal(SpectralNorm().apply(variables, w), 0)


class Regression:
    """One player with both kinds of moving state."""

    network = nn.Sequential([SpectralDense(4), nn.relu, SpectralDense(1)])

    def init(self, key, batch):
        return {"critic": self.network.init(key, batch["x"])}

    def loss(self, variables, batch, key, clock):
        y, state = forward(self.network, variables["critic"], batch["x"], key=key)
        return LossOutput(((y - 1) ** 2).mean(), statistics={"critic": state})


def test_training_moves_the_directions_and_use_does_not():
    model, batch = Regression(), {"x": jax.random.normal(KEY, (8, 3))}
    plays = {"fit": Play(("critic",), model.loss, optax.sgd(0.1))}
    state = jax.jit(lambda: init_state(model, plays, KEY, batch))()
    assert set(state.collections["critic"]) == {"spectral"}
    new, _ = jax.jit(make_train_step(plays))(state, batch)
    for tree in (lambda s: s.collections["critic"]["spectral"], lambda s: s.average["critic"]["spectral"]):
        moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 0, tree(state), tree(new))
        # of one output there is but one direction, +-1
        assert jax.tree.leaves(moved)[0] and jax.tree.structure(tree(state)) == jax.tree.structure(tree(new))
    assert jax.eval_shape(lambda v: forward(model.network, v, batch["x"]), new.variables["critic"])[1] == {}
