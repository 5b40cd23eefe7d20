"""The VQGAN: each loss against its equation, the adaptive weight, whom each play moves, the prior, and its methods."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.contracts import Clock, Model
from jaxgen.convolution import Conv
from jaxgen.models.codebook import Codebook
from jaxgen.models.gans.adversarial_losses import Hinge
from jaxgen.models.hybrids import TAMING, VQGAN, CodePrior, QuantizedAutoencoder
from jaxgen.nets import VGG, BatchNorm, PatchCritic, TokenTransformer, UpConv, VQGANDecoder, VQGANEncoder
from jaxgen.nets.vqgan import GroupNormBlock, PositionAttention
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from jaxgen.training.trained import TrainedModel
from tests.models.parameters import KEY, batch_for, drawn

PARTS = {
    "encoder": Conv(3, 2, strides=2),
    "decoder": UpConv(4),
    "codebook": Codebook(num_codes=5, code_dim=2),
    "levels": 9,
    "features": VGG("relu1_2", (4,), (2,), mean=(3.0, 2.0, 1.0)),
    "layers": ("relu1_2",),
    "perceptual_weight": 0.7,
    "codebook_weight": 0.6,
    "prior": CodePrior(TokenTransformer(5, 4, width=8, layers=2, heads=2), keep=0.6),
}
SHAPE = (4, 4, 1)
PLAIN = QuantizedAutoencoder(SHAPE, **PARTS)
CRITIC = PatchCritic((3, 4), (2, 1), 1, norm=None)
MODEL = VQGAN(SHAPE, **PARTS, critic=CRITIC, adversarial_weight=0.5, epsilon=0.01)
TAMED = dataclasses.replace(MODEL, **{**TAMING, "adversarial_start": 2, "critic_start": 1})
BATCH = {**batch_for(MODEL, 8), "context": np.eye(3, dtype=np.float32)[np.arange(8) % 3]}
VARIABLES = drawn(MODEL, BATCH)
SEEN = BATCH["x"] / np.float32(4) - 1
MOVED = ("encoder", "codebook", "decoder")


def with_params(players):
    return {p: {**VARIABLES[p], **({"params": players[p]} if p in players else {})} for p in VARIABLES}


def params(*players):
    return {p: VARIABLES[p]["params"] for p in players}


def reconstructed(variables):
    """z_e, e, and x' in [-1, 1], with the gradient of e passed on to z_e."""
    z_e = MODEL._encoder.apply(variables["encoder"], SEEN)
    codes = jnp.asarray(variables["codebook"]["params"]["codes"])
    e = codes[((z_e[..., None, :] - codes) ** 2).sum(-1).argmin(-1)]
    _, x = MODEL._decoder.apply(variables["decoder"], z_e + jax.lax.stop_gradient(e - z_e))
    return z_e, e, x[..., 0]


def of_reconstruction(variables, x=None):
    """L_rec by its equation."""
    x = reconstructed(variables)[2] if x is None else x
    features = []
    for image in (SEEN, x):
        rgb = jnp.concatenate([(image + 1) / 2] * 3, -1)
        f = PARTS["features"].apply(variables["features"], rgb)["relu1_2"]
        features.append(f / jnp.sqrt((f**2).sum(-1, keepdims=True) + 1e-10))
    perceptual = ((features[0] - features[1]) ** 2).sum(-1).mean()
    return jnp.abs(SEEN - x).mean() + 0.7 * perceptual


def of_codebook(variables):
    z_e, e, _ = reconstructed(variables)
    sg = jax.lax.stop_gradient
    return 0.6 * (((sg(z_e) - e) ** 2).mean() + 0.25 * ((z_e - sg(e)) ** 2).mean())


def adversarial(variables, loss):
    """L_G by its equation."""
    score = CRITIC.apply(variables["critic"], reconstructed(variables)[2])
    return -score.mean() if isinstance(loss, Hinge) else jax.nn.softplus(-score).mean()


def weight(model):
    """lambda, by two whole backward passes to the last layer's kernel."""

    def in_kernel(loss):
        def of_kernel(kernel):
            head = {"out": {**decoder["head"]["out"], "kernel": kernel}}
            return loss(with_params({"decoder": {**decoder, "head": head}}))

        decoder = VARIABLES["decoder"]["params"]
        return jax.jit(jax.grad(of_kernel))(decoder["head"]["out"]["kernel"])

    rec = jnp.linalg.norm(in_kernel(of_reconstruction))
    adv = jnp.linalg.norm(in_kernel(lambda v: adversarial(v, model.adversarial_loss)))
    return float(rec / (adv + model.epsilon))


def loss_of(model, variables=VARIABLES, play="autoencoder", key=KEY, step=0):
    return model.plays()[play].loss(variables, BATCH, key, Clock(step, step, step))


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODEL, dataclasses.replace(MODEL, adversarial_loss=Hinge(), epsilon=1e-4)])
def test_the_autoencoder_minimises_its_equation_in_one_backward_pass(model):
    """The value, lambda, and the gradient, which knows that lambda is a constant."""
    w = weight(model)

    def whole(players):
        variables = with_params(players)
        value = of_reconstruction(variables) + of_codebook(variables)
        return value + 0.5 * w * adversarial(variables, model.adversarial_loss)

    loss = loss_of(model)
    np.testing.assert_allclose(loss.metrics["adaptive_weight"], w, rtol=1e-3)
    np.testing.assert_allclose(loss.metrics["adversarial"], adversarial(VARIABLES, model.adversarial_loss), rtol=1e-4)
    np.testing.assert_allclose(loss.metrics["reconstruction"], of_reconstruction(VARIABLES), rtol=1e-4)
    expected, gradients = jax.jit(jax.value_and_grad(whole))(params(*MOVED))
    np.testing.assert_allclose(loss.value, expected, rtol=1e-4)
    got = jax.jit(jax.grad(lambda players: loss_of(model, with_params(players)).value))(params(*MOVED))
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5, err_msg=str(path))
    assert all(jnp.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(gradients))


@pytest.mark.slow
def test_without_the_critic_it_is_a_vq_vae_with_distances():
    loss = loss_of(PLAIN)
    np.testing.assert_allclose(loss.value, of_reconstruction(VARIABLES) + of_codebook(VARIABLES), rtol=1e-4)
    squared = dataclasses.replace(PLAIN, features=None, layers=(), pixel_loss="squared")
    x = reconstructed(VARIABLES)[2]
    np.testing.assert_allclose(loss_of(squared).value, ((SEEN - x) ** 2).mean() + of_codebook(VARIABLES), rtol=1e-4)
    assert set(jax.jit(squared.init)(KEY, BATCH)) == {"encoder", "codebook", "decoder", "prior"}


def test_the_backward_pass_runs_once():
    """Operations with a costly trunk: those of a plain weighted sum with a given weight, not of three passes."""
    trunk = VGG("relu1_2", (24,), (2,))
    model = dataclasses.replace(MODEL, features=trunk, critic=PatchCritic((24, 24), (2, 1), 1, norm=None))
    shapes = jax.eval_shape(model.init, KEY, BATCH)

    def flops(function):
        compiled = jax.jit(jax.grad(function)).lower({p: shapes[p]["params"] for p in MOVED}, shapes).compile()
        return compiled.cost_analysis()["flops"]

    def joined(players, variables):
        return {**variables, **{p: {**variables[p], "params": players[p]} for p in players}}

    def ours(players, variables):
        return loss_of(model, joined(players, variables)).value

    def with_constant(players, variables):
        variables = joined(players, variables)
        quantized, _, x, _ = model.autoencode(variables, SEEN)
        value = model.reconstruction(variables, SEEN, x)[0]
        value += model.codebook.loss(variables["codebook"], quantized, KEY).value
        return value + 0.3 * model.adversarial_loss.generator(model.critic.apply(variables["critic"], x))

    assert flops(ours) < 1.05 * flops(with_constant)


@pytest.mark.slow
def test_the_critic_separates_patches_and_leaves_the_autoencoder_alone():
    x = reconstructed(VARIABLES)[2]
    real, fake = (np.float64(CRITIC.apply(VARIABLES["critic"], image)) for image in (SEEN, x))
    loss = loss_of(MODEL, play="critic")
    np.testing.assert_allclose(loss.value, np.logaddexp(0, -real).mean() + np.logaddexp(0, fake).mean(), rtol=1e-4)
    np.testing.assert_allclose([loss.metrics["real"], loss.metrics["fake"]], [real.mean(), fake.mean()], rtol=1e-3)
    hinge = (np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()) / 2
    np.testing.assert_allclose(loss_of(TAMED, play="critic").value, hinge, rtol=1e-4)
    of_critic = jax.grad(lambda players: loss_of(MODEL, with_params(players), "critic").value)
    gradients = jax.jit(of_critic)(params(*VARIABLES))
    moved = {player: any(bool(leaf.any()) for leaf in jax.tree.leaves(tree)) for player, tree in gradients.items()}
    assert moved == {player: player == "critic" for player in VARIABLES}


def test_no_play_moves_the_features_and_the_prior_moves_alone():
    plays = MODEL.plays()
    assert list(plays) == ["critic", "autoencoder", "prior"]
    assert {name: play.players for name, play in plays.items()} == {
        "critic": ("critic",), "autoencoder": MOVED, "prior": ("prior",),
    }  # fmt: skip
    averaged = dataclasses.replace(MODEL, codebook=Codebook(num_codes=5, code_dim=2, decay=0.9))
    assert averaged.plays()["autoencoder"].players == ("encoder", "decoder")
    first, second = MODEL.phases(10)
    assert (list(first.plays), first.steps, first.monitor[0]) == (["critic", "autoencoder"], 5, "reconstruction")
    assert (list(second.plays), second.steps, second.monitor[0]) == (["prior"], 5, "bits_per_code")
    (only,) = dataclasses.replace(MODEL, prior=None).phases(10)
    assert only.steps == 10 and "prior" not in only.plays


@pytest.mark.slow
def test_the_adversarial_term_is_delayed_and_the_critic_is_not():
    delayed = dataclasses.replace(MODEL, adversarial_start=3)
    before, at, always = loss_of(delayed, step=2), loss_of(delayed, step=3), loss_of(MODEL)
    assert before.metrics["adaptive_weight"] == before.metrics["adversarial"] == 0
    np.testing.assert_allclose(before.value, loss_of(PLAIN).value, rtol=1e-5)
    np.testing.assert_allclose(at.value, always.value, rtol=1e-5)

    def gradient(model, step):
        return jax.jit(jax.grad(lambda players: loss_of(model, with_params(players), step=step).value))(params(*MOVED))

    for (model, step), (other, _) in {(delayed, 2): (PLAIN, 0), (delayed, 3): (MODEL, 0)}.items():
        for a, b in zip(*map(jax.tree.leaves, (gradient(model, step), gradient(other, 0))), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
    assert delayed.plays()["critic"].when is None
    # the authors' code
    when = TAMED.plays()["critic"].when
    assert [bool(when(Clock(step, step))) for step in range(3)] == [False, True, True]


@pytest.mark.slow
def test_in_a_step_the_reconstructions_are_computed_once():
    """The critic's play comes first, when the autoencoder has not moved yet; `nn.GroupNorm` would keep XLA from it."""
    encoder = nn.Sequential((Conv(32, 2, strides=2), PositionAttention(4), GroupNormBlock(32, 4)))
    wide = dataclasses.replace(MODEL, encoder=encoder, decoder=nn.Sequential((UpConv(16), GroupNormBlock(16, 4))))

    def flops(*names):
        played = {name: wide.plays()[name] for name in names}
        state = jax.eval_shape(lambda key, batch: init_state(wide, played, key, batch), KEY, BATCH)
        return jax.jit(make_train_step(played, ema=0.0)).lower(state, BATCH).compile().cost_analysis()["flops"]

    variables = jax.eval_shape(wide.init, KEY, BATCH)
    passed = jax.jit(lambda v: wide.autoencode(v, SEEN)[2]).lower(variables).compile().cost_analysis()["flops"]
    both, critic, autoencoder = flops("critic", "autoencoder"), flops("critic"), flops("autoencoder")
    assert both < critic + autoencoder - 0.9 * passed


@pytest.mark.slow
def test_batch_statistics_of_the_critic_are_updated_and_the_autoencoder_does_not_touch_them():
    model = dataclasses.replace(MODEL, critic=PatchCritic((3, 4), (2, 1), 1, norm=BatchNorm))
    variables = drawn(model, BATCH)
    assert "batch_stats" in loss_of(model, variables, "critic").statistics["critic"]
    assert "critic" not in loss_of(model, variables).statistics


@pytest.mark.slow
def test_random_inputs_of_the_prior_leave_the_codes_to_predict_as_they_are():
    network = PARTS["prior"].network
    codes = np.asarray(MODEL.encode(VARIABLES, BATCH["x"])).reshape(8, 4)
    assert len(np.unique(codes)) > 1
    # with all inputs random, the prior still predicts the true codes
    all_random = dataclasses.replace(MODEL, prior=CodePrior(network, keep=0.0))
    noise_key = jax.random.split(KEY, 3)[1]
    noise = jax.random.randint(noise_key, codes.shape, 0, 5, codes.dtype)
    logits = network.apply(VARIABLES["prior"], noise, BATCH["context"])
    expected = -np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), codes[..., None], -1).sum() / 8
    loss = loss_of(all_random, play="prior")
    np.testing.assert_allclose(loss.value, expected, rtol=1e-5)
    np.testing.assert_allclose(loss.metrics["bits_per_code"], expected / 4 / np.log(2), rtol=1e-5)
    # and without noise it is the distribution that `evaluate` measures
    plain = dataclasses.replace(MODEL, prior=CodePrior(network))
    log_prob = plain.prior.log_prob(VARIABLES["prior"], codes.reshape(8, 2, 2), BATCH["context"])
    np.testing.assert_allclose(loss_of(plain, play="prior").value, -log_prob.mean(), rtol=1e-5)
    metrics = MODEL.evaluate(VARIABLES, BATCH, KEY)
    np.testing.assert_allclose(metrics["bits_per_code"], -log_prob.mean() / 4 / np.log(2), rtol=1e-5)


@pytest.mark.slow
def test_weight_decay_is_of_kernels_alone():
    optimizer, prior = MODEL.prior.optimizer(0.1), params("prior")
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, prior), optimizer.init(prior), prior)
    decayed = {
        path[-1].key: bool(leaf.any()) for path, leaf in jax.tree_util.tree_leaves_with_path(updates["prior"])
    }
    assert {name for name, moved in decayed.items() if moved} == {"kernel"} and "embedding" in decayed
    np.testing.assert_allclose(
        updates["prior"]["last"]["kernel"], -0.1 * 0.01 * prior["prior"]["last"]["kernel"], rtol=1e-5
    )


def test_codes_images_and_samples():
    assert isinstance(MODEL, Model) and MODEL.monitor == ("bits_per_code", "min")
    trained = TrainedModel(MODEL, VARIABLES)
    codes = trained.encode(BATCH["x"])
    assert codes.shape == (8, 2, 2) and codes.dtype == jnp.int32
    x = np.clip(np.round((np.asarray(reconstructed(VARIABLES)[2]) + 1) * 4), 0, 8)
    again = trained.reconstruct(BATCH["x"])
    assert again.dtype == jnp.uint8 and np.abs(np.float32(again) - x).max() <= 1
    np.testing.assert_array_equal(again, trained.decode(codes))
    metrics = trained.evaluate(BATCH, KEY)
    error = (((np.asarray(reconstructed(VARIABLES)[2]) - SEEN) / 2) ** 2).mean()
    np.testing.assert_allclose(metrics["squared_error"], error, rtol=1e-4)
    np.testing.assert_allclose(metrics["reconstruction"], of_reconstruction(VARIABLES), rtol=1e-4)
    sampled = trained.sample_prior(KEY, 3, BATCH["context"][:3], 0.5, 2)
    assert sampled.shape == (3, 2, 2) and sampled.max() < 5
    np.testing.assert_array_equal(
        trained.sample(KEY, 3, BATCH["context"][:3], temperature=0.5, top_k=2), trained.decode(sampled)
    )
    # the class counts
    one, other = (trained.sample_prior(KEY, 40, BATCH["context"][i : i + 1]) for i in range(2))
    assert (np.asarray(one) != np.asarray(other)).any()
    uniform = dataclasses.replace(MODEL, prior=None).sample_prior(VARIABLES, KEY, 500)
    assert np.bincount(np.asarray(uniform).ravel(), minlength=5).min() > 300


def test_the_last_layers_bias_does_not_count_and_any_last_layer_has_a_kernel():
    """A decoder at half the resolution, whose last layer is an `UpConv`, with a bias that would change the norms."""
    model = dataclasses.replace(MODEL, decoder=Conv(4))
    variables = drawn(model, BATCH)
    h = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2, 2, 4)), jnp.float32)
    (gradient,) = model._kernel_gradients(variables, h, jnp.ones((8, *SHAPE)))
    assert gradient.shape == variables["decoder"]["params"]["head"]["out"]["Conv_0"]["kernel"].shape


def test_its_description_is_read_back():
    for model in (MODEL, TAMED, PLAIN):
        model = dataclasses.replace(model, encoder=VQGANEncoder((4, 8)), decoder=VQGANDecoder((4, 8)))
        assert build(describe(model)) == model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior_fraction": 1.0}, "`prior_fraction`"),
        ({"pixel_loss": "log"}, "`pixel_loss` must be one of"),
        ({"perceptual_weight": -1.0}, "`perceptual_weight`"),
        ({"adversarial_start": -1}, "`adversarial_start`"),
        ({"critic_start": 0.5}, "`critic_start`"),
        ({"epsilon": -1e-9}, "`epsilon`"),
        ({"codebook": Codebook(num_codes=6, code_dim=2)}, "`prior` must have num_tokens=6, as the codebook, got 5"),
    ],
)
def test_fields_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(MODEL, **change)


def test_networks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"`features` must have the layers \['relu9_9'\]"):
        jax.eval_shape(dataclasses.replace(MODEL, layers=("relu9_9",)).init, KEY, BATCH)
    with pytest.raises(ValueError, match="`encoder` must return a grid"):
        dataclasses.replace(MODEL, encoder=nn.Sequential((Conv(3), lambda x: x.reshape(8, -1)))).init(KEY, BATCH)
    with pytest.raises(ValueError, match="`keep` must be at least 0 and at most 1, got 1.5"):
        CodePrior(PARTS["prior"].network, keep=1.5)
