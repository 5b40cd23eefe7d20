import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import Clock, Model
from jaxgen.distributions import DiscretizedLogistic, Gaussian
from jaxgen.losses.vector_quantization import averaged_codebook, nearest_codes, update_averages
from jaxgen.models.vaes import VQVAE, Codebook, residual_vq_vae
from jaxgen.nets.conv_net import ConvNet
from jaxgen.nets.mlp import MLP
from jaxgen.nets.pixel_cnn import PixelCNN
from jaxgen.training.description import build, describe
from jaxgen.training.state import init_state
from jaxgen.training.step import make_train_step
from tests.models.parameters import KEY, batch_for, drawn


def small(decay=None, **fields):
    given = {"levels": 9, "likelihood": DiscretizedLogistic(9), "prior_width": 4, "prior_blocks": 1, **fields}
    codebook = Codebook(num_codes=6, code_dim=3, decay=decay)
    return residual_vq_vae((8, 8, 1), codebook=codebook, width=4, blocks=1, hidden=2, **given)


def with_codebook(model, **fields):
    return dataclasses.replace(model, codebook=dataclasses.replace(model.codebook, **fields))


SMALL = {
    "gradient": small(),
    "averages": small(decay=0.9),
    "real, no prior": small(levels=None, likelihood=Gaussian(), prior_width=None),
    "greys, Gaussian": small(likelihood=Gaussian()),
}


def vectors(model, variables, batch):
    """The encoder's outputs."""
    x, context = batch["x"], batch.get("context")
    seen = x if model.levels is None else np.float32(x) / (model.levels - 1)
    if context is not None:
        seen = np.concatenate([seen, np.broadcast_to(context[:, None, None], (*x.shape[:3], context.shape[-1]))], -1)
    return jax.jit(model._encoder.apply)(variables["encoder"], seen)


def variables_of(model, batch):
    """Everything drawn anew, and codes near some of the encoder's outputs."""
    variables = drawn(model, batch)
    z_e = np.asarray(vectors(model, variables, batch)).reshape(-1, model.codebook.code_dim)
    rng = np.random.default_rng(1)
    shape = (model.codebook.num_codes, model.codebook.code_dim)
    codes = rng.permutation(z_e)[: shape[0]] + 0.1 * z_e.std(0) * rng.normal(size=shape)
    codes = np.float32(codes)
    if model.codebook.decay is None:
        variables["codebook"]["params"]["codes"] = codes
    else:
        counts = np.linspace(0.5, 20, model.codebook.num_codes).astype(np.float32)
        variables["codebook"]["averages"] = {"counts": counts, "sums": counts[:, None] * codes}
    return variables


@pytest.mark.slow
@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)
def test_small_models_answer_in_data_units_and_codes(model):
    assert isinstance(model, Model)
    assert build(describe(model)) == model
    batch = batch_for(model)
    variables = variables_of(model, batch)

    @jax.jit
    def everything(variables):
        codes = model.encode(variables, batch["x"], KEY)
        draws, means = (model.sample(variables, KEY, 100, means=means) for means in (False, True))
        again, decoded = model.reconstruct(variables, batch["x"], KEY), model.decode(variables, codes)
        prior = model.sample_prior(variables, KEY, 400)
        return codes, draws, means, again, decoded, prior, model.evaluate(variables, batch, KEY)

    codes, draws, means, again, decoded, prior, figures = everything(variables)
    assert codes.shape == (6, 4, 4) and codes.dtype == prior.dtype == jnp.int32 and len(np.unique(codes)) > 2
    expected = nearest_codes(vectors(model, variables, batch), model.codebook.codes(variables["codebook"]))
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(again, decoded)
    assert draws.shape == means.shape == (100, 8, 8, 1) and again.shape == batch["x"].shape
    assert draws.dtype == means.dtype == again.dtype == batch["x"].dtype
    assert prior.shape == (400, 4, 4) and set(np.unique(prior)) == set(range(6))
    assert all(np.isfinite(figure) for figure in figures.values()) and model.monitor[0] in figures
    assert ("bits_per_dim" in figures) == isinstance(model.likelihood, DiscretizedLogistic)
    if model.levels is not None:
        assert draws.min() == 0 and model.levels / 2 < draws.max() <= model.levels - 1


@pytest.mark.slow
def test_the_bound_is_that_of_codes_and_data():
    model = SMALL["gradient"]
    batch = batch_for(model)
    variables = variables_of(model, batch)
    figures, rows = jax.jit(model.evaluate)(variables, batch, KEY), jax.jit(model.log_prob)(variables, batch["x"])
    codes = nearest_codes(vectors(model, variables, batch), variables["codebook"]["params"]["codes"])
    params = jax.jit(model._decoder.apply)(variables["decoder"], variables["codebook"]["params"]["codes"][codes])
    log_likelihood = jax.jit(model.likelihood.log_prob)(params, batch["x"])
    logits = jax.nn.log_softmax(jax.jit(model.prior.apply)(variables["prior"], codes))
    log_codes = np.take_along_axis(np.asarray(logits), np.asarray(codes)[..., None], -1).sum((1, 2, 3))
    np.testing.assert_allclose(rows, log_likelihood + log_codes, rtol=1e-4)
    expected = {
        "elbo": rows.mean(),
        "reconstruction": log_likelihood.mean(),
        "bits_per_code": -log_codes.mean() / 16 / np.log(2),
        "bits_per_dim": -rows.mean() / 64 / np.log(2),
        "bits_per_dim_uniform": -(log_likelihood.mean() - 16 * np.log(6)) / 64 / np.log(2),
    }
    assert figures == {name: pytest.approx(float(value), rel=1e-4) for name, value in expected.items()}
    # a fresh prior, or none, is uniform
    for other in (model, dataclasses.replace(model, prior=None)):
        fresh = {**variables, "prior": jax.jit(model.init)(KEY, batch)["prior"]}
        figures = jax.jit(other.evaluate)(fresh, batch, KEY)
        assert float(figures["bits_per_code"]) == pytest.approx(np.log2(6), rel=1e-5)
        assert float(figures["bits_per_dim"]) == pytest.approx(float(figures["bits_per_dim_uniform"]), rel=1e-6)


@pytest.mark.slow
def test_each_term_moves_whom_it_should():
    # beta on the codebook's term, a mean for a sum, or losses of what the decoder is given would each show here
    model = with_codebook(SMALL["gradient"], commitment=0.3)
    batch = batch_for(model)
    variables = variables_of(model, batch)
    codebook = variables["codebook"]["params"]["codes"]
    out = jax.jit(model.loss)(variables, batch, KEY, Clock())
    z_e = vectors(model, variables, batch)
    codes = nearest_codes(z_e, codebook)
    e = codebook[codes]
    distance = float(((z_e - e) ** 2).sum((1, 2, 3)).mean())
    log_likelihood = float(jax.jit(model.evaluate)(variables, batch, KEY)["reconstruction"])
    assert float(out.value) == pytest.approx(1.3 * distance - log_likelihood, rel=1e-4)
    assert float(out.metrics["commitment"]) == pytest.approx(distance, rel=1e-4)
    grads = jax.jit(jax.grad(lambda v: model.loss(v, batch, KEY, Clock()).value))(variables)
    # the codebook: its own loss with weight one, and nothing from the decoder
    towards = np.zeros_like(codebook)
    np.add.at(towards, np.asarray(codes).ravel(), 2 * np.asarray(e - z_e).reshape(-1, 3) / 6)
    np.testing.assert_allclose(grads["codebook"]["params"]["codes"], towards, rtol=1e-3, atol=1e-4)

    # the encoder: the decoder's gradient at the codes, and beta times that of the distance
    def rated(e):
        return -model.likelihood.log_prob(model._decoder.apply(variables["decoder"], e), batch["x"]).mean()

    at_z = jax.jit(jax.grad(rated))(e) + 0.3 * 2 * (z_e - e) / 6
    pulled = jax.jit(jax.grad(lambda v: (at_z * vectors(model, {"encoder": v}, batch)).sum()))(variables["encoder"])
    for ours, expected in zip(jax.tree.leaves(grads["encoder"]), jax.tree.leaves(pulled), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves((grads["encoder"], grads["decoder"])))
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(grads["prior"]))
    # and the prior's loss moves the prior alone
    grads = jax.jit(jax.grad(lambda v: model.prior_loss(v, batch, KEY, Clock()).value))(variables)
    moved = {player for player, g in grads.items() if any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(g))}
    assert moved == {"prior"}


@pytest.mark.slow
def test_averaged_codes_follow_the_encoder_without_a_loss():
    model = with_codebook(SMALL["averages"], restart=0.0)
    batch = batch_for(model)
    variables = variables_of(model, batch)
    plays = model.plays()
    assert plays["autoencoder"].players == ("encoder", "decoder") and plays["prior"].players == ("prior",)
    assert SMALL["gradient"].plays()["autoencoder"].players == ("encoder", "codebook", "decoder")
    z_e, averages = vectors(model, variables, batch), variables["codebook"]["averages"]
    codes = nearest_codes(z_e, averaged_codebook(**averages))
    counts, sums = update_averages(**averages, z_e=z_e, codes=codes, decay=0.9)
    out = jax.jit(model.loss)(variables, batch, KEY, Clock())
    new = out.statistics["codebook"]["averages"]
    np.testing.assert_allclose(new["counts"], counts, rtol=1e-5)
    np.testing.assert_allclose(new["sums"], sums, rtol=1e-4, atol=1e-5)
    # the codebook's loss is left out, the commitment's is not
    reconstruction = float(jax.jit(model.evaluate)(variables, batch, KEY)["reconstruction"])
    distance = float(((z_e - averaged_codebook(**averages)[codes]) ** 2).sum((1, 2, 3)).mean())
    assert float(out.value) == pytest.approx(0.25 * distance - reconstruction, rel=1e-4)
    # with a threshold those out of use are among the batch's vectors
    eager = with_codebook(model, restart=0.5)
    restarted = jax.jit(eager.loss)(variables, batch, KEY, Clock()).statistics["codebook"]["averages"]
    dead = np.asarray(counts < 0.5 * counts.mean())
    assert 0 < dead.sum() < 6
    placed = np.asarray(restarted["sums"] / restarted["counts"][:, None])[dead]
    assert np.abs(placed[:, None] - np.asarray(z_e).reshape(-1, 3)).max(-1).min(-1).max() < 1e-4
    np.testing.assert_allclose(restarted["sums"][~dead], sums[~dead], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gradient", "averages"])
def test_the_codes_start_among_the_encoders_vectors(name):
    model = SMALL[name]
    batch = batch_for(model, 60)
    variables = jax.jit(model.init)(KEY, batch)
    z_e = np.asarray(vectors(model, variables, batch)).reshape(-1, 3)
    codebook = np.asarray(model.codebook.codes(variables["codebook"]))
    nearest = ((z_e[:, None] - codebook) ** 2).sum(-1)
    assert len(np.unique(nearest.argmin(-1))) == 6
    # better than one code for all by far
    assert nearest.min(-1).mean() < 0.5 * z_e.var(0).sum()


@pytest.mark.slow
def test_the_play_of_the_autoencoder_leaves_the_prior_alone():
    model = SMALL["averages"]
    batch = jax.tree.map(jnp.asarray, batch_for(model))
    plays = {"autoencoder": model.plays()["autoencoder"]}
    state = jax.jit(lambda: init_state(model, plays, KEY, batch))()
    after, _ = jax.jit(make_train_step(plays, ema=0.0))(state, batch)
    before, now = state.variables, after.variables
    pairs = {p: zip(*map(jax.tree.leaves, (before[p], now[p])), strict=True) for p in now}
    moved = {p for p in now if any(np.any(a != b) for a, b in pairs[p])}
    assert moved == {"encoder", "codebook", "decoder"}
    # without averages of the averages, metrics use the codes that the prior will learn
    jax.tree.map(np.testing.assert_array_equal, after.average, now)


@pytest.mark.parametrize("name", ["averages", "greys, Gaussian"])
def test_the_squared_error_is_in_data_units(name):
    model = SMALL[name]
    batch = batch_for(model)
    variables = variables_of(model, batch)
    # a decoder whose mean is the same everywhere: the middle, 4, of levels 0 to 8, or one of 0.75 of the range, 6
    out = variables["decoder"]["params"]["head"]["out"]
    out["kernel"], out["bias"] = np.zeros_like(out["kernel"]), np.float32([0 if name == "averages" else 0.75, -1])
    expected = ((batch["x"] - (4.0 if name == "averages" else 6.0)) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(jax.jit(model.squared_error)(variables, batch["x"]), expected, rtol=1e-4)


@pytest.mark.slow
def test_a_context_reaches_encoder_decoder_and_prior():
    model = SMALL["gradient"]
    batch = {**batch_for(model), "context": np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]}
    variables = variables_of(model, batch)
    # so that it shows in draws
    rng = np.random.default_rng(4)
    variables["prior"] = jax.tree.map(lambda a: np.float32(1.5 * rng.normal(size=a.shape)), variables["prior"])
    other = np.roll(batch["context"], 1, axis=0)
    codes = jnp.asarray(np.random.default_rng(0).integers(0, 6, (6, 4, 4)))

    @jax.jit
    def results(context):
        given = {**batch, "context": context}
        return {
            "encode": model.encode(variables, batch["x"], context=context).astype(jnp.float32),
            "decode": model.decode(variables, codes, context).astype(jnp.float32),
            "prior": model.sample_prior(variables, KEY, 6, context).astype(jnp.float32),
            "log_prob": model.log_prob(variables, batch["x"], context=context),
            "loss": model.loss(variables, given, KEY, Clock()).value,
            "prior_loss": model.prior_loss(variables, given, KEY, Clock()).value,
        }

    ours, others = results(batch["context"]), results(other)
    for name in ours:
        assert np.abs(ours[name] - others[name]).max() > 0, name


@pytest.mark.parametrize(("shape", "grid"), [((8, 8, 1), (4, 4)), ((28, 28, 1), (7, 7)), ((32, 32, 3), (8, 8))])
def test_the_builder_fits_the_usual_images(shape, grid):
    model = residual_vq_vae(shape)
    x = jax.ShapeDtypeStruct((2, *shape), jnp.uint8)
    variables = jax.eval_shape(model.init, KEY, {"x": x})
    assert jax.eval_shape(model.encode, variables, x).shape == (2, *grid)
    # the image comes out of a convolution
    assert variables["decoder"]["params"]["head"]["out"]["kernel"].shape[:2] == (3, 3)
    # the prior sees the whole row above, at its far end too
    assert model.prior.blocks * (model.prior.size // 2) >= grid[1]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="must be those of the likelihood, 16, got 256"):
        residual_vq_vae((8, 8, 1), likelihood=DiscretizedLogistic(16))
    with pytest.raises(ValueError, match="`prior` must have num_codes=6, as the codebook, got 5"):
        dataclasses.replace(SMALL["gradient"], prior=PixelCNN(5))
    flat = VQVAE(MLP((4,)), ConvNet(), (8, 8, 1))
    with pytest.raises(ValueError, match="must return a grid"):
        flat.init(KEY, {"x": jnp.zeros((2, 8, 8, 1), jnp.uint8)})
    with pytest.raises(ValueError, match=r"events of shape \(8, 8, 1\)"):
        SMALL["gradient"].init(KEY, {"x": jnp.zeros((2, 8, 9, 1), jnp.uint8)})
