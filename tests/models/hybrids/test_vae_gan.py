"""The VAE-GAN: what each play minimises and whom it moves, the gate within the train step, and its methods."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock, Model
from jaxgen.distributions import DiscretizedLogistic, Gaussian
from jaxgen.losses import non_saturating_generator
from jaxgen.models.hybrids import VAEGAN, Gate
from jaxgen.models.hybrids.vae_gan import AUTHORS
from jaxgen.nets import MLP, DCGANGenerator, ScalarHead, StridedConvs, StridedScore
from jaxgen.nets.heads import Headed
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from jaxgen.training.trained import TrainedModel
from tests.models.parameters import KEY, batch_for, drawn

HIDDEN = MLP((5,), nn.tanh)
DENSE = VAEGAN(
    HIDDEN, HIDDEN, (3, 3, 1), critic=MLP((4,), nn.tanh), critic_head=Headed(MLP((6,), nn.tanh), ScalarHead()),
    latent_dim=2, levels=9, gamma=0.3, gate=Gate(),
)  # fmt: skip
STRIDED = VAEGAN(
    StridedConvs((2, 3), 0, 4, 4), DCGANGenerator((2, 2), (3, 3, 2)), (8, 8, 1),
    critic=StridedConvs((3, 4), 2, None, 4),
    critic_head=StridedScore(5), latent_dim=2, levels=17, **AUTHORS,
)  # fmt: skip
BATCH = batch_for(DENSE)


def logit(variables, x):
    """The dense critic, by NumPy: its features and logit."""
    params = variables["critic"]["params"]
    features = np.tanh(
        x.reshape(len(x), -1) @ params["network"]["Dense_0"]["kernel"] + params["network"]["Dense_0"]["bias"]
    )
    hidden = params["head"]["network"]["Dense_0"]
    h = np.tanh(features @ hidden["kernel"] + hidden["bias"])
    out = params["head"]["head"]["out"]
    return features, (h @ out["kernel"] + out["bias"])[:, 0]


def softplus(a):
    return np.logaddexp(0, a)


def loss_of(model, play, variables, key=KEY):
    return jax.jit(model.plays()[play].loss)(variables, BATCH, key, Clock())


def parts(model, variables, play, key=KEY):
    """What the critic's play and the decoder's are made of, from the arrays they generate."""
    generated = model.generate_both(variables, BATCH, jax.random.split(key, 2 if play == "critic" else 3)[0])
    scored = [logit(variables, np.asarray(x, np.float64)) for x in generated[:3]]
    squared = ((scored[0][0] - scored[1][0]) ** 2).sum(-1).mean()
    likelihood = -0.5 * squared - 0.5 * np.log(2 * np.pi) * scored[0][0].shape[1]
    return [score for _, score in scored], likelihood


def test_the_critic_and_the_decoder_play_the_papers_minimax_game():
    variables = drawn(DENSE, BATCH)
    variables["critic"]["gate"] = Gate.opened()
    (real, reconstructed, sampled), _ = parts(DENSE, variables, "critic")
    costs = softplus(-real).mean(), softplus(reconstructed).mean(), softplus(sampled).mean()
    loss = loss_of(DENSE, "critic", variables)
    np.testing.assert_allclose(loss.value, sum(costs), rtol=1e-5)
    np.testing.assert_allclose(loss.metrics["real"], costs[0], rtol=1e-5)
    np.testing.assert_allclose(loss.metrics["fake"], (costs[1] + costs[2]) / 2, rtol=1e-5)
    (_, reconstructed, sampled), likelihood = parts(DENSE, variables, "decoder")
    loss = loss_of(DENSE, "decoder", variables)
    np.testing.assert_allclose(loss.metrics["reconstruction"], likelihood, rtol=1e-5)
    costs = softplus(reconstructed).mean() + softplus(sampled).mean()
    np.testing.assert_allclose(loss.value, -0.3 * likelihood - costs, rtol=1e-5)


def test_the_variants_of_others_are_fields():
    variables = drawn(DENSE, BATCH)
    variables["critic"]["gate"] = Gate.opened()
    (real, _, sampled), _ = parts(DENSE, variables, "critic")
    samples = dataclasses.replace(DENSE, fakes=("samples",), real_weight=2.0)
    expected = 2 * softplus(-real).mean() + softplus(sampled).mean()
    np.testing.assert_allclose(loss_of(samples, "critic", variables).value, expected, rtol=1e-5)
    (_, reconstructed, sampled), likelihood = parts(DENSE, variables, "decoder")
    expected = -0.3 * likelihood - softplus(sampled).mean()
    np.testing.assert_allclose(loss_of(samples, "decoder", variables).value, expected, rtol=1e-5)
    saturating = dataclasses.replace(DENSE, generator_loss=non_saturating_generator)
    expected = -0.3 * likelihood + softplus(-reconstructed).mean() + softplus(-sampled).mean()
    np.testing.assert_allclose(loss_of(saturating, "decoder", variables).value, expected, rtol=1e-5)


def test_the_encoders_loss_is_the_bound_in_the_features():
    variables = drawn(DENSE, BATCH)
    loss = loss_of(DENSE, "encoder", variables)
    moments = DENSE.posterior_moments(variables, BATCH["x"])
    mean, variance = np.asarray(moments.mean), np.exp(moments.log_variance)
    kl = 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(-1).mean()
    terms, _ = DENSE.terms(variables, BATCH, KEY, training=True)
    again = np.asarray(DENSE.generate(variables, terms.z[0], None)[0])
    on_real, on_generated = (logit(variables, x)[0] for x in (BATCH["x"] / 8, again))
    likelihood = -0.5 * ((on_real - on_generated) ** 2).sum(-1).mean() - 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(loss.metrics["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(loss.metrics["reconstruction"], likelihood, rtol=1e-4)
    np.testing.assert_allclose(loss.value, kl - likelihood, rtol=1e-4)


def along(params, seed):
    """A random direction in parameters."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: rng.normal(size=a.shape), params)


def difference(function, variables, player, direction, step=1e-5):
    """The slope of a function of all variables along a direction of one player's parameters, by central differences."""
    def at(t):
        moved = jax.tree.map(lambda a, d: a + t * d, variables[player]["params"], direction)
        return float(function({**variables, player: {**variables[player], "params": moved}}))

    return (at(step) - at(-step)) / (2 * step)


def slope(model, play, variables, player, direction):
    """The same by the gradient that the train step takes."""
    def value(params):
        whole = {**variables, player: {**variables[player], "params": params}}
        return loss_of(model, play, whole).value

    gradient = jax.jit(jax.grad(value))(variables[player]["params"])
    return float(sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True)))


@pytest.mark.slow
def test_no_gradient_of_one_term_enters_the_player_of_another():
    """By differences: each player's move descends its own terms, although the other terms depend on it too."""
    with jax.enable_x64():
        variables = jax.tree.map(lambda a: np.float64(a), drawn(DENSE, BATCH))
        variables["critic"]["gate"] = Gate.opened()

        def term(play, metric):
            return jax.jit(lambda v: loss_of(DENSE, play, v).metrics[metric])

        reconstruction, adversarial = term("decoder", "reconstruction"), term("decoder", "adversarial")
        bound = term("encoder", "elbo")
        game = jax.jit(lambda v: loss_of(DENSE, "critic", v).value)
        directions = {player: along(variables[player]["params"], i) for i, player in enumerate(variables)}

        # the critic's features decide the reconstruction, but its move descends the game alone
        critic = directions["critic"]
        assert abs(difference(reconstruction, variables, "critic", critic)) > 1e-2
        found = slope(DENSE, "critic", variables, "critic", critic)
        np.testing.assert_allclose(found, difference(game, variables, "critic", critic), rtol=1e-5)
        # the codes decide the scores of reconstructions, but the encoder's move descends the bound alone
        encoder = directions["encoder"]
        assert abs(difference(game, variables, "encoder", encoder)) > 1e-3
        found = slope(DENSE, "encoder", variables, "encoder", encoder)
        np.testing.assert_allclose(found, -difference(bound, variables, "encoder", encoder), rtol=1e-5)
        # the decoder's has both terms, the reconstruction weighted by gamma
        decoder = directions["decoder"]
        by_terms = [difference(each, variables, "decoder", decoder) for each in (adversarial, reconstruction)]
        found = slope(DENSE, "decoder", variables, "decoder", decoder)
        np.testing.assert_allclose(found, by_terms[0] - 0.3 * by_terms[1], rtol=1e-5)
        assert min(map(abs, by_terms)) > 1e-3


# costs of the constant logit b: softplus(-b) and softplus(b)
CASES = {
    "both move": (0.0, Gate(), True, True),
    "the critic waits": (0.0, Gate(equilibrium=1.5), False, True),
    "the decoder waits": (0.0, Gate(equilibrium=0.1), True, False),
    "both would wait": (1.0, Gate(margin=0.3), True, True),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_who_waits_in_a_step_stands_still(case):
    bias, gate, critic, decoder = CASES[case]
    model = dataclasses.replace(DENSE, gate=gate)
    state = init_state(model, model.plays(), KEY, BATCH)
    # a critic whose scores are all the bias
    head = state.params["critic"]["head"]["head"]["out"]
    head = {"kernel": jnp.zeros_like(head["kernel"]), "bias": jnp.full_like(head["bias"], bias)}
    params = {**state.params["critic"], "head": {**state.params["critic"]["head"], "head": {"out": head}}}
    state = state.replace(params={**state.params, "critic": params})
    after, metrics = jax.jit(make_train_step(model.plays()))(state, BATCH)
    assert metrics["critic"]["critic_moves"] == critic and metrics["critic"]["decoder_moves"] == decoder

    def stands(part, player):
        return all(
            np.array_equal(a, b)
            for a, b in zip(*(jax.tree.leaves(getattr(s, part)[player]) for s in (state, after)), strict=True)
        )

    assert (stands("params", "critic"), stands("params", "decoder")) == (not critic, not decoder)
    assert (stands("opt_state", "critic"), stands("opt_state", "decoder")) == (not critic, not decoder)
    assert not stands("params", "encoder")
    assert (float(metrics["decoder"]["grad_norm"]) > 0) == decoder


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [False, True])
def test_a_step_of_the_papers_networks_and_what_the_model_can_do(conditional):
    model, batch = STRIDED, batch_for(STRIDED)
    if conditional:
        batch = {**batch, "context": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]}
    assert isinstance(model, Model)
    assert build(describe(model)) == model and hash(build(describe(model))) == hash(model)
    state = init_state(model, model.plays(), KEY, batch)
    after, metrics = jax.jit(make_train_step(model.plays(), 0.9))(state, batch)
    for play, values in metrics.items():
        assert all(np.isfinite(value) for value in values.values()), (play, values)
        assert values["played"] == 1
    for player in ("critic", "encoder", "decoder"):
        before, now = (jax.tree.leaves(s.collections[player]["batch_stats"]) for s in (state, after))
        assert all(np.abs(a - b).max() > 0 for a, b in zip(before, now, strict=True)), player
    trained, context = TrainedModel(model, after.variables), batch.get("context")
    z = trained.encode(batch["x"], None, context)
    assert z.shape == (6, 2)
    again = trained.reconstruct(batch["x"], None, context)
    np.testing.assert_array_equal(again, trained.decode(z, context))
    for x in (again, trained.sample(KEY, 6, context)):
        assert x.shape == (6, 8, 8, 1) and x.dtype == jnp.uint8
    output = trained.critic_output(batch["x"], context)
    assert output.score.shape == (6,) and output.features.shape == (6, 2, 2, 4)
    values = jax.jit(model.evaluate)(after.variables, batch, KEY)
    assert {"elbo", "kl", "squared_error", "score_gap", model.monitor[0]} <= set(values)
    assert all(np.isfinite(value) for value in values.values())
    assert not hasattr(model, "log_prob")


def test_batch_normalisation_sees_real_and_generated_examples_together():
    """Normalised by its own statistics, a reconstruction that is too dark would have the features of the data."""
    model = dataclasses.replace(STRIDED, critic=StridedConvs((3, 4), 2, 5, 4), critic_head=ScalarHead())
    batch = batch_for(model)
    variables = drawn(model, batch)
    dark, bright = jnp.full((6, 8, 8, 1), 0.1), jnp.full((6, 8, 8, 1), 0.9)
    together = model.features(variables, (dark, bright), None, KEY)
    assert np.abs(together[0][0] - together[1][0]).max() > 0.1
    apart = [model.features(variables, (x,), None, KEY)[0][0] for x in (dark, bright)]
    np.testing.assert_allclose(apart[0], apart[1], atol=1e-2)


@dataclasses.dataclass(frozen=True)
class Wild(VAEGAN):
    """Whose samples are far from the data."""

    def sample_prior(self, variables, key, n, context=None):
        return 100 * super().sample_prior(variables, key, n, context)


def test_wild_samples_do_not_bring_features_of_reconstructions_nearer():
    """As they would by batch statistics of the critic over all three: the decoder then learns to make noise."""
    model = dataclasses.replace(STRIDED, decoder=HIDDEN)
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model) if field.init}
    batch = batch_for(model)
    variables = drawn(model, batch)
    variables["critic"]["gate"] = Gate.opened()
    losses = [jax.jit(each.decoder_loss)(variables, batch, KEY, Clock()) for each in (model, Wild(**fields))]
    np.testing.assert_allclose(*(loss.metrics["reconstruction"] for loss in losses), rtol=1e-5)


@pytest.mark.slow
def test_without_a_gate_both_move_and_nothing_is_remembered():
    model = dataclasses.replace(DENSE, gate=None)
    variables = drawn(model, BATCH)
    assert set(variables["critic"]) == {"params"}
    for play in ("critic", "decoder"):
        gradient = jax.jit(jax.grad(lambda params, play=play: loss_of(
            model, play, {**variables, play: {**variables[play], "params": params}}
        ).value))(variables[play]["params"])  # fmt: skip
        assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient)) > 1e-3
    assert not loss_of(model, "critic", variables).memory


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`likelihood` must be Bernoulli or Gaussian"):
        dataclasses.replace(DENSE, likelihood=DiscretizedLogistic(9))
    for fakes in ((), ("codes",)):
        with pytest.raises(ValueError, match="`fakes` must be some of 'reconstructions' and 'samples'"):
            dataclasses.replace(DENSE, fakes=fakes)
    with pytest.raises(ValueError, match="`gamma` must be at least 0, got -1"):
        dataclasses.replace(DENSE, gamma=-1.0)
    assert dataclasses.replace(DENSE, levels=None, likelihood=Gaussian(std=1.0)).levels is None
