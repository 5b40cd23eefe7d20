"""The CVAE-GAN: its losses against the equations, whom they move, its moving averages, and its methods."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock, Model
from jaxgen.models.hybrids import CVAEGAN
from jaxgen.models.vaes import ELBO, ImportanceWeighted
from jaxgen.nets import MLP, DCGANGenerator, StridedConvs
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from jaxgen.training.trained import TrainedModel
from tests.models.parameters import KEY, batch_for, drawn

HIDDEN = MLP((5,), nn.tanh)
DENSE = CVAEGAN(
    HIDDEN, HIDDEN, (3, 3, 1), critic=MLP((4,), nn.tanh), classifier=MLP((6,), nn.tanh), num_classes=3, latent_dim=2,
    levels=9, critic_matching=0.2, class_matching=0.3,
)  # fmt: skip
STRIDED = CVAEGAN(
    StridedConvs((2, 3), 0, 4, 4), DCGANGenerator((2, 2), (3, 3, 2)), (8, 8, 1), critic=StridedConvs((2, 3), 0, 5, 4),
    classifier=StridedConvs((2, 3), 0, 6, 4), num_classes=3, latent_dim=2, levels=17,
)  # fmt: skip
LABEL = np.array([0, 1, 2, 0, 1, 1])
BATCH = {**batch_for(DENSE), "label": LABEL}


def ready(model, batch=BATCH):
    """Random variables, and averages as after a first batch."""
    variables = drawn(model, batch)
    means = variables["decoder"]["means"]
    counts = {
        name: {kind: {**a, "counts": np.abs(a["counts"]) + 0.1} for kind, a in kinds.items()}
        for name, kinds in means.items()
    }
    return {**variables, "decoder": {**variables["decoder"], "means": counts}}


def loss_of(model, play, variables, batch=BATCH, key=KEY):
    return jax.jit(model.plays()[play].loss)(variables, batch, key, Clock())


def dense(params, x, name="Dense_0"):
    return x.reshape(len(x), -1) @ params[name]["kernel"] + params[name]["bias"]


def features(variables, x):
    """f_D, the critic's logit, f_C and the class logits of the dense model, by NumPy."""
    critic, classifier = variables["critic"]["params"], variables["classifier"]["params"]
    f_d, f_c = (np.tanh(dense(params["network"], x)) for params in (critic, classifier))
    return f_d, dense(critic["head"], f_d, "out")[:, 0], f_c, dense(classifier["head"], f_c, "out")


def generated_in(model, play, variables):
    """What a play generates, and the classes of its samples."""
    generate_key, class_key, *_ = jax.random.split(KEY, 3)
    classes = jax.random.randint(class_key, (6,), 0, 3)
    batch = {**BATCH, "context": np.eye(3)[LABEL]}
    return model.generate_both(variables, batch, generate_key, jax.nn.one_hot(classes, 3)), np.asarray(classes)


def test_the_critic_tells_data_reconstructions_and_samples_apart():
    variables = ready(DENSE)
    generated, _ = generated_in(DENSE, "critic", variables)
    real, *fakes = (features(variables, np.asarray(x, np.float64))[1] for x in generated.images)
    expected = np.logaddexp(0, -real).mean() + sum(np.logaddexp(0, fake).mean() for fake in fakes)
    np.testing.assert_allclose(loss_of(DENSE, "critic", variables).value, expected, rtol=1e-5)


def test_the_classifier_learns_from_data_alone():
    variables = ready(DENSE)
    loss = loss_of(DENSE, "classifier", variables)
    logits = features(variables, BATCH["x"] / 8)[3]
    expected = (np.logaddexp.reduce(logits, 1) - logits[np.arange(6), LABEL]).mean()
    np.testing.assert_allclose(loss.value, expected, rtol=1e-5)
    np.testing.assert_allclose(loss.metrics["accuracy"], (logits.argmax(1) == LABEL).mean(), rtol=1e-6)


def test_the_autoencoders_loss_is_the_papers_sum():
    model, variables = DENSE, ready(DENSE)
    generated, classes = generated_in(model, "autoencoder", variables)
    real, again, sampled = (np.asarray(x, np.float64) for x in generated.images)
    on_real, on_again, on_sampled = (features(variables, x) for x in (real, again, sampled))
    squares = [(real - again).reshape(6, -1), on_real[0] - on_again[0], on_real[2] - on_again[2]]
    l_g = sum(0.5 * (a**2).sum(1).mean() for a in squares)
    constant = 0.5 * np.log(2 * np.pi) * (9 + 4 + 6)
    mean, variance = np.asarray(generated.q.mean), np.exp(generated.q.log_variance)
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(1).mean()

    def matched(name, f_real, f_fake, labels, labels_fake, k):
        values = []
        for kind, f, label in (("real", f_real, labels), ("fake", f_fake, labels_fake)):
            before, member = variables["decoder"]["means"][name][kind], np.eye(k)[label]
            sums = 0.9 * before["sums"] + 0.1 * member.T @ f
            values.append(sums / (0.9 * before["counts"] + 0.1 * member.sum(0))[:, None])
        return 0.5 * ((values[0] - values[1]) ** 2).sum()

    zeros = np.zeros(6, int)
    l_gd = matched("critic", on_real[0], on_sampled[0], zeros, zeros, 1)
    l_gc = matched("classifier", on_real[2], on_sampled[2], LABEL, classes, 3)
    loss = loss_of(model, "autoencoder", variables)
    np.testing.assert_allclose(loss.metrics["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(-loss.metrics["reconstruction"] - constant, l_g, rtol=1e-4)
    np.testing.assert_allclose(loss.metrics["critic_matching"], l_gd, rtol=1e-4)
    np.testing.assert_allclose(loss.metrics["class_matching"], l_gc, rtol=1e-4)
    np.testing.assert_allclose(loss.value, 3 * kl + l_g + constant + 0.2 * l_gd + 0.3 * l_gc, rtol=1e-5)
    # the averages go on with the step
    means = loss.statistics["decoder"]["means"]["classifier"]["real"]
    before = variables["decoder"]["means"]["classifier"]["real"]["counts"]
    np.testing.assert_allclose(means["counts"], 0.9 * before + 0.1 * np.bincount(LABEL), rtol=1e-5)


def gradients(model, play, variables, metric=None):
    """Of a play's loss, or one of its metrics, in the parameters of all players."""
    def value(params):
        loss = loss_of(model, play, {p: {**variables[p], "params": params[p]} for p in variables})
        return loss.value if metric is None else loss.metrics[metric]

    return jax.jit(jax.grad(value))({player: v["params"] for player, v in variables.items()})


def size(tree):
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@pytest.mark.slow
def test_the_training_is_asymmetric():
    """No cross-entropy moves the decoder, and the terms of the sum cross no player's border."""
    model, variables = DENSE, ready(DENSE)
    assert {name: play.players for name, play in model.plays().items()} == {
        "classifier": ("classifier",), "critic": ("critic",), "autoencoder": ("encoder", "decoder")
    }  # fmt: skip
    by_classifier = gradients(model, "classifier", variables)
    assert size(by_classifier["classifier"]) > 1e-3
    assert size([by_classifier[player] for player in ("encoder", "decoder", "critic")]) == 0
    # the divergence does not depend on the decoder, the matching of samples not on the encoder
    assert size(gradients(model, "autoencoder", variables, "kl")["decoder"]) == 0
    for name in ("critic_matching", "class_matching"):
        by_matching = gradients(model, "autoencoder", variables, name)
        assert size(by_matching["encoder"]) == 0 and size(by_matching["decoder"]) > 1e-3
    # changing the last layers of critic and classifier, which the features do not see, changes nothing for the decoder
    other = {**variables}
    for player in ("critic", "classifier"):
        params = variables[player]["params"]
        other[player] = {
            **variables[player],
            "params": {**params, "head": jax.tree.map(lambda a: -2 * a, params["head"])},
        }
    for a, b in zip(
        *(jax.tree.leaves(gradients(model, "autoencoder", v)["decoder"]) for v in (variables, other)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@dataclasses.dataclass(frozen=True)
class Wild(CVAEGAN):
    """Whose samples are far from the data."""

    def sample_prior(self, variables, key, n, context=None):
        return 100 * super().sample_prior(variables, key, n, context)


@pytest.mark.slow
def test_wild_samples_do_not_bring_features_of_reconstructions_nearer():
    """As they would by batch statistics of the critic over all three: the decoder then learns to make noise."""
    model = dataclasses.replace(STRIDED, decoder=HIDDEN)
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model) if field.init}
    batch = {**batch_for(model), "label": LABEL}
    variables = ready(model, batch)
    found = [
        loss_of(each, "autoencoder", variables, batch).metrics["reconstruction"] for each in (model, Wild(**fields))
    ]
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_the_condition_enters_the_encoder_and_samples_have_uniform_classes():
    variables = ready(DENSE)
    z = [DENSE.encode(variables, BATCH["x"], None, np.eye(3)[np.full(6, c)]) for c in range(2)]
    assert np.abs(z[0] - z[1]).max() > 1e-2
    # whatever the classes of the batch
    drawn_classes = [
        np.asarray(DENSE._uniform_classes(jax.random.key(i), 300)) for i in range(2)
    ]
    for classes in drawn_classes:
        assert np.bincount(classes, minlength=3).min() > 70


@pytest.mark.slow
def test_a_step_of_strided_networks_and_what_the_model_can_do():
    model, batch = STRIDED, {**batch_for(STRIDED), "label": LABEL, "context": np.eye(3, dtype=np.float32)[LABEL]}
    assert isinstance(model, Model)
    assert build(describe(model)) == model and hash(build(describe(model))) == hash(model)
    state = init_state(model, model.plays(), KEY, batch)
    after, metrics = jax.jit(make_train_step(model.plays(), 0.9))(state, batch)
    for play, values in metrics.items():
        assert all(np.isfinite(value) for value in values.values()), (play, values)
    for player in ("encoder", "decoder", "critic", "classifier"):
        assert size(jax.tree.map(lambda a, b: a - b, state.params[player], after.params[player])) > 0, player
        moved = jax.tree.map(lambda a, b: a - b, state.collections[player], after.collections[player])
        assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(moved)), player
    trained, context = TrainedModel(model, after.variables), batch["context"]
    z = trained.encode(batch["x"], None, context)
    to = np.roll(context, 1, axis=1)
    np.testing.assert_array_equal(trained.translate(batch["x"], to, None, context), trained.decode(z, to))
    np.testing.assert_array_equal(trained.reconstruct(batch["x"], None, context), trained.decode(z, context))
    found = np.eye(3, dtype=np.float32)[np.asarray(trained.classify(batch["x"])).argmax(1)]
    np.testing.assert_array_equal(trained.reconstruct(batch["x"]), trained.reconstruct(batch["x"], None, found))
    for x in (trained.sample(KEY, 6), trained.sample(KEY, 6, context)):
        assert x.shape == (6, 8, 8, 1) and x.dtype == jnp.uint8
    values = jax.jit(model.evaluate)(after.variables, batch, KEY)
    assert {"elbo", "kl", "squared_error", "accuracy", "sample_accuracy", model.monitor[0]} <= set(values)
    assert all(np.isfinite(value) for value in values.values())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expects a batch with an entry 'label'"):
        jax.eval_shape(DENSE.init, KEY, batch_for(DENSE))
    with pytest.raises(ValueError, match="`objective` must have draws=1"):
        dataclasses.replace(DENSE, objective=ImportanceWeighted(5))
    with pytest.raises(ValueError, match="`class_matching` must be at least 0, got -1"):
        dataclasses.replace(DENSE, class_matching=-1.0)
    assert dataclasses.replace(DENSE, objective=ELBO(1.0)).objective.kl_weight == 1.0
