import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax

from jaxgen.contracts import Clock, Model
from jaxgen.distributions.likelihoods import Gaussian
from jaxgen.losses.semi_supervised import marginal_bound
from jaxgen.models.vaes import M2, dense_vae
from jaxgen.nets import MLP
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.parameters import KEY, drawn

POINTS = M2(dense_vae((2,), latent_dim=3, widths=(5,), likelihood=Gaussian()), MLP((5,)), num_classes=4)
GREYS = M2(dense_vae((3, 3, 1), latent_dim=2, widths=(5,), levels=9), MLP((5,)), num_classes=3)


def batch_for(model, labelled=6, unlabelled=5):
    rng = np.random.default_rng(3)

    def rows(n):
        if model.levels is None:
            return rng.normal(size=(n, *model.event_shape)).astype(np.float32)
        return rng.integers(0, model.levels, (n, *model.event_shape)).astype(np.uint8)

    label = (np.arange(labelled) % model.num_classes).astype(np.int32)
    return {"labelled": {"x": rows(labelled), "label": label}, "unlabelled": {"x": rows(unlabelled)}}


def test_the_marginal_bound_averages_over_classes_and_adds_their_entropy():
    rng = np.random.default_rng(0)
    q, bounds = rng.dirichlet(np.ones(4), size=6), rng.normal(size=(6, 4))
    entropy = -np.array([sum(p * np.log(p) for p in row) for row in q])
    expected = np.array([row @ bound for row, bound in zip(q, bounds, strict=True)]) + entropy
    np.testing.assert_allclose(marginal_bound(jnp.log(q), jnp.array(bounds)), expected, rtol=1e-5)
    # with exact bounds and the exact posterior of the class it is log p(x)
    log_joint = jnp.array(bounds)
    exact = jax.nn.log_softmax(log_joint)
    np.testing.assert_allclose(marginal_bound(exact, log_joint), jax.nn.logsumexp(log_joint, -1), rtol=1e-5)
    # a class that cannot be takes nothing away, and leaves a gradient
    far = jnp.array([[0.0, -200.0]])
    of_bounds = jax.value_and_grad(lambda b: marginal_bound(jax.nn.log_softmax(far), b)[0])
    value, grad = of_bounds(jnp.array([[-3.0, -500.0]]))
    assert value == -3 and np.isfinite(grad).all()


def by_hand(model, variables, x, context):
    """log p(x|y, z) and KL(q(z|x, y) || p(z)) of `POINTS` at z = the mean, by NumPy, for data and classes."""

    def dense(layer, h):
        return h @ layer["kernel"] + layer["bias"]

    def network(player, h):
        return np.tanh(dense(player["network"]["Dense_0"], h))

    encoder, decoder = variables["encoder"]["params"], variables["decoder"]["params"]
    h = network(encoder, np.concatenate([x, context], -1))
    mean, raw = dense(encoder["head"]["mean"], h), dense(encoder["head"]["log_variance"], h)
    log_variance = 14 * np.tanh(raw / 14)
    kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(-1)
    out = dense(decoder["head"]["out"], network(decoder, np.concatenate([mean, context], -1))).reshape(len(x), -1, 2)
    std = 1e-3 + np.logaddexp(0, out[..., 1])
    log_likelihood = (-0.5 * ((x - out[..., 0]) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)).sum(-1)
    return log_likelihood, kl


@pytest.mark.slow
@pytest.mark.parametrize(("share", "alpha"), [(None, 0.1), (0.05, 3.0)])
def test_the_loss_is_the_papers_by_enumeration(share, alpha):
    model = dataclasses.replace(POINTS, labelled_fraction=share, alpha=alpha)
    batch = batch_for(model)
    # classes that matter, and a classifier that is sure of some
    variables = {
        player: jax.tree.map(lambda a, by=by: by * a, drawn(model, batch)[player])
        for player, by in {"encoder": 1.5, "decoder": 1.5, "classifier": 5.0}.items()
    }
    # posteriors so narrow that a draw is the mean, their divergence still by the class
    head = variables["encoder"]["params"]["head"]["log_variance"]
    head["bias"] = head["bias"] * 0 - 60.0
    out = jax.jit(model.loss)(variables, batch, KEY, Clock())
    eye, k = np.eye(4), model.num_classes

    def bound(x, label):
        log_likelihood, kl = by_hand(model, variables, x, eye[label])
        return log_likelihood - kl + np.log(1 / k)

    def log_classes(x):
        p = variables["classifier"]["params"]
        h = np.maximum(x @ p["network"]["Dense_0"]["kernel"] + p["network"]["Dense_0"]["bias"], 0)
        return log_softmax(h @ p["head"]["out"]["kernel"] + p["head"]["out"]["bias"], -1)

    x, label, unlabelled = batch["labelled"]["x"], batch["labelled"]["label"], batch["unlabelled"]["x"]
    of_labelled = bound(x, label)
    of_class = np.stack([bound(unlabelled, np.full(5, c)) for c in range(k)], -1)
    log_q = log_classes(unlabelled)
    q = np.exp(log_q)
    of_unlabelled = (q * of_class).sum(-1) - (q * log_q).sum(-1)
    right = log_classes(x)[np.arange(6), label].mean()
    assert np.ptp(of_class, -1).min() > 0.5 and q.std() > 0.2
    metrics = {name: float(value) for name, value in out.metrics.items()}
    assert metrics["labelled_bound"] == pytest.approx(of_labelled.mean(), rel=1e-3)
    assert metrics["unlabelled_bound"] == pytest.approx(of_unlabelled.mean(), rel=1e-3)
    assert metrics["cross_entropy"] == pytest.approx(-right, rel=1e-4)
    weight = 6 / 11 if share is None else share
    expected = -weight * of_labelled.mean() - (1 - weight) * of_unlabelled.mean() - alpha * right
    assert float(out.value) == pytest.approx(expected, rel=1e-3)
    # the same bound is what rows without a class are evaluated by
    figures = jax.jit(model.evaluate)(variables, {"x": unlabelled, "label": np.argmax(log_q, -1)}, KEY)
    assert float(figures["elbo"]) == pytest.approx(of_unlabelled.mean(), rel=1e-3)
    assert float(figures["accuracy"]) == 1
    wrong = {"x": unlabelled, "label": (np.argmax(log_q, -1) + [0, 0, 1, 2, 3]) % k}
    assert float(jax.jit(model.evaluate)(variables, wrong, KEY)["accuracy"]) == pytest.approx(0.4)


@pytest.mark.slow
@pytest.mark.parametrize("model", [POINTS, GREYS], ids=["points", "greys"])
def test_one_play_moves_all_and_the_model_answers_in_data_units(model):
    assert isinstance(model, Model) and build(describe(model)) == model
    batch = batch_for(model)
    variables = drawn(model, batch)
    (play,) = model.plays().values()
    assert set(play.players) == set(variables) == {"encoder", "decoder", "classifier"}
    x = batch["labelled"]["x"]

    @jax.jit
    def everything(variables):
        grads = jax.grad(lambda v: play.loss(v, batch, KEY, Clock()).value)(variables)
        answers = model.sample(variables, KEY, 300), model.reconstruct(variables, x, KEY)
        return grads, answers, model.evaluate(variables, batch["labelled"], KEY)

    grads, (samples, again), figures = everything(variables)
    assert all(np.isfinite(leaf).all() and np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))
    assert samples.shape == (300, *model.event_shape) and again.shape == x.shape
    assert samples.dtype == again.dtype == x.dtype and model.monitor[0] in figures
    np.testing.assert_allclose(jnp.exp(model.classify(variables, x)).sum(-1), 1, rtol=1e-5)


@pytest.mark.slow
def test_unlabelled_rows_teach_the_classifier_by_their_bound_alone():
    model = dataclasses.replace(POINTS, alpha=0.0)
    batch = batch_for(model)
    variables = drawn(model, batch)
    grads = jax.jit(jax.grad(lambda v: model.loss(v, batch, KEY, Clock()).value))(variables)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads["classifier"]))
    only = dataclasses.replace(model, labelled_fraction=1.0)
    grads = jax.jit(jax.grad(lambda v: only.loss(v, batch, KEY, Clock()).value))(variables)
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(grads["classifier"]))


@pytest.mark.slow
def test_a_row_has_the_same_pixels_under_every_class():
    # a decoder that gives every pixel the logit 2: each that is on is worth 2, on the average of the classes as in each
    model = M2(dense_vae((400,), latent_dim=2, widths=(3,), levels=9), MLP((3,)), num_classes=3)
    batch = batch_for(model, 3, 1)
    batch["unlabelled"]["x"] = np.full((1, 400), 4, np.uint8)
    variables = jax.tree.map(jnp.zeros_like, drawn(model, batch))
    variables["decoder"]["params"]["head"]["out"]["bias"] = jnp.full(400, 2.0)
    rows = {**batch["unlabelled"], "label": np.zeros(1, np.int32)}

    @jax.jit
    def bounds(key):
        in_training = model.loss(variables, batch, key, Clock()).metrics["unlabelled_bound"]
        return in_training, model.evaluate(variables, rows, key)["elbo"]

    found = np.array([bounds(key) for key in jax.random.split(KEY, 8)])
    # classes are equally likely under the classifier as under the prior: entropy and log p(y) cancel
    on = (found + 400 * np.logaddexp(0, 2.0)) / 2
    np.testing.assert_allclose(on, np.round(on), atol=1e-3)
    assert on.std(0).min() > 3 and on.mean() == pytest.approx(200, abs=15)


def test_classes_decide_samples_and_are_found_where_none_is_given():
    batch = batch_for(POINTS)
    variables = drawn(POINTS, batch)
    x, eye = batch["labelled"]["x"], np.eye(4, dtype=np.float32)
    draw = jax.jit(POINTS.sample, static_argnums=2)
    first, second = (np.asarray(draw(variables, KEY, 6, eye[[c] * 6])) for c in (0, 1))
    assert np.abs(first - second).max() > 0.01
    found = eye[np.asarray(POINTS.classify(variables, x)).argmax(-1)]
    np.testing.assert_allclose(POINTS.encode(variables, x), POINTS.encode(variables, x, None, found), rtol=1e-5)
    again = POINTS.reconstruct(variables, x, None, found)
    np.testing.assert_allclose(POINTS.reconstruct(variables, x), again, rtol=1e-5)


def test_other_batches_are_refused():
    with pytest.raises(ValueError, match="'labelled' and 'unlabelled'"):
        POINTS.init(KEY, {"x": np.zeros((4, 2), np.float32)})


@pytest.mark.slow
def test_few_labels_and_many_rows_tell_two_clusters_apart():
    vae = dense_vae((2,), latent_dim=1, widths=(16,), likelihood=Gaussian())
    model = M2(vae, MLP((16,)), num_classes=2, labelled_fraction=0.02)
    play = model.plays()["elbo"]._replace(optimizer=optax.adam(5e-3))
    step = make_train_step({"elbo": play})

    def rows(key, n):
        label_key, x_key = jax.random.split(key)
        label = jax.random.bernoulli(label_key, 0.5, (n,)).astype(jnp.int32)
        # long across, narrow apart: one labelled row of each cluster, badly placed, misleads who sees them alone
        centre = jnp.stack([4.0 * label - 2.0, jnp.zeros(n)], -1)
        return centre + jax.random.normal(x_key, (n, 2)) * jnp.array([0.4, 3.0]), label

    labelled = {"x": jnp.array([[-2.0, -4.0], [2.0, 4.0]]), "label": jnp.array([0, 1])}

    @jax.jit
    def train(state):
        def advance(state, key):
            return step(state, {"labelled": labelled, "unlabelled": {"x": rows(key, 64)[0]}})[0], None

        return jax.lax.scan(advance, state, jax.random.split(jax.random.key(1), 600))[0]

    first = {"labelled": labelled, "unlabelled": {"x": rows(KEY, 64)[0]}}
    state = train(init_state(model, {"elbo": play}, KEY, first))
    x, label = rows(jax.random.key(2), 1000)
    assert float(model.evaluate(state.variables, {"x": x, "label": label}, KEY)["accuracy"]) > 0.95
