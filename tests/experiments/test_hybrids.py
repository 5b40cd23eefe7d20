"""What the experiments of the hybrid wing measure, on models whose results are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments.hybrids.cvae_gan import (
    CVAEGANConfig,
    interpolation_metrics,
    log_additive,
    pairs,
    swap_baselines,
    swap_error,
)
from experiments.hybrids.cvae_gan import build as build_cvae_gan
from experiments.hybrids.vae_gan import VAEGANConfig, measure_reconstructions
from experiments.hybrids.vae_gan import build as build_vae_gan
from experiments.hybrids.vqgan import VQGANConfig
from experiments.hybrids.vqgan import build as build_vqgan
from experiments.hybrids.vqgan import measure as measure_codes
from jaxgen.data import ArraySource, Splits, source
from jaxgen.models.codebook import Codebook
from jaxgen.models.gans import GAN
from jaxgen.models.gans.adversarial_losses import Hinge, NonSaturating
from jaxgen.models.hybrids import CVAEGAN, VAEGAN, VQGAN, Gate, QuantizedAutoencoder
from jaxgen.models.vaes import VAE
from jaxgen.nets import PatchCritic, StridedConvs, VQGANDecoder, VQGANEncoder


def faces(labels, factors):
    """Images [4, 4, 1] whose grey value is 10 times the class plus the factor; unknown factors count as 0."""
    labels, factors = np.array(labels), np.array(factors)
    x = np.broadcast_to(
        (10 * labels + np.where(factors == 255, 0, factors))[:, None, None, None], (len(labels), 4, 4, 1)
    )
    arrays = {"x": x.astype(np.uint8), "label": labels, "factor": factors}
    return ArraySource(arrays, levels=256, num_classes=3).conditional()


FACES = Splits(faces([0, 0, 1, 1, 2], [0, 1, 0, 255, 3]), faces([2], [1]), faces([0, 1, 2, 0], [1, 255, 0, 2]))


def test_swaps_are_scored_against_the_true_example_of_the_other_class():
    index, label, factor, truth = pairs(FACES)
    found = sorted(zip(index.tolist(), label.tolist(), truth[:, 0, 0, 0].tolist(), strict=True))
    np.testing.assert_array_equal(truth[:, 0, 0, 0], 10 * label + factor)
    # the first test example has light 1, as the second class has nowhere and the third in `valid`; the third light 0
    assert found == [(0, 2, 21), (2, 0, 0), (2, 1, 10)]

    def encode(x, key, context):
        return x[:, 0, 0] - 10.0 * context.argmax(1)[:, None]

    def decode(z, context):
        grey = z[:, :, None, None] + 10 * context.argmax(1)[:, None, None, None]
        return np.broadcast_to(grey, (len(z), 4, 4, 1))

    assert swap_error(SimpleNamespace(encode=encode, decode=decode), FACES) == 0
    wrong = SimpleNamespace(encode=lambda *a: encode(*a) + 3.0, decode=decode)
    assert swap_error(wrong, FACES) == pytest.approx(3 / 255)
    baselines = swap_baselines(FACES)
    assert baselines["copy"] == pytest.approx((20 + 20 + 10) / 3 / 255)
    assert baselines["mean of the class"] == pytest.approx((2 + 0.5 + 0) / 3 / 255)


def test_interpolations_are_rated_by_the_class_they_should_have():
    """Of a model whose images hold z and the class: half of the lines along z leave the class, all along it rise."""
    arrays = {"x": np.zeros((40, 1, 1, 2), np.uint8), "label": np.arange(40) % 2}
    data = Splits(*[ArraySource(arrays, levels=256, num_classes=2).conditional()] * 3)
    z = np.where(np.arange(40) % 4 < 2, 0.0, 5.0)[:, None]
    trained = SimpleNamespace(
        encode=lambda x, key, context: z, decode=lambda z, context: np.concatenate([z, context], 1)[:, None, None]
    )

    def logits(x):
        """The class, unless z is above 3: then the other one."""
        sign = np.where(x[:, 0, 0, 0] > 3, -1, 1)[:, None]
        return sign * x[:, 0, 0, 1:]

    found = interpolation_metrics(trained, logits, data, 0)
    second = np.random.default_rng(0).permutation(40)
    first = np.flatnonzero(np.arange(40) % 2 != second % 2)
    ends = z[first, 0], z[second[first], 0]
    points = (1 - np.linspace(0, 1, 10))[:, None] * ends[0] + np.linspace(0, 1, 10)[:, None] * ends[1]
    assert found["class kept along z"] == pytest.approx((points <= 3).mean())
    assert found["rising along the class"] == pytest.approx((ends[0] <= 3).mean())
    assert 0 < found["class kept along z"] < 1 and 0 < found["rising along the class"] < 1


def test_the_log_additive_control_is_exact_where_class_and_factor_multiply():
    reflectance, light = np.random.default_rng(0).uniform(0.5, 1, (3, 2, 2, 1)), np.array([40.0, 90.0, 150.0, 220.0])
    label, factor = (a.ravel() for a in np.meshgrid(np.arange(3), np.arange(4)))
    x = reflectance[label] * light[factor][:, None, None, None] - 1
    seen = np.arange(12) != 5
    train = {"x": x[seen], "label": label[seen], "factor": factor[seen]}
    # an example whose factor is not known is left out
    train = {
        "x": np.append(train["x"], x[:1], 0),
        "label": np.append(train["label"], 1),
        "factor": np.append(train["factor"], 255),
    }
    np.testing.assert_allclose(log_additive(train, label, factor), x, rtol=1e-6)


def test_reconstructions_are_measured_against_the_data():
    data = source("digits")

    def trained(change):
        return SimpleNamespace(
            reconstruct=lambda x, key, context: change(np.float32(x)),
            decode=lambda z, context: data.test.head(len(z))["x"],
            sample_prior=lambda key, n, context: np.zeros((n, 2)),
        )

    exact = measure_reconstructions(trained(lambda x: x), VAEGANConfig(), data)
    assert exact["pixel error"] == 0 and exact["sharpness of reconstructions"] == pytest.approx(1)
    assert exact["sharpness of samples"] == pytest.approx(1)
    half = measure_reconstructions(trained(lambda x: x / 2), VAEGANConfig(), data)
    x = data.test.head(len(data.test))["x"] / 16
    assert half["pixel error"] == pytest.approx((x**2).mean() / 4, rel=1e-4)
    assert half["sharpness of reconstructions"] == pytest.approx(0.25, rel=1e-4)


def test_what_is_built_is_what_the_papers_have():
    faces = ArraySource({"x": np.zeros((20, 64, 64, 3), np.uint8)}, levels=256)
    model = build_vae_gan(VAEGANConfig(), Splits(faces, faces, faces)).model
    assert isinstance(model, VAEGAN) and model.gate is None and model.real_weight == 1 and model.latent_dim == 128
    assert model.encoder == StridedConvs((64, 128, 256), 0, 2048, 5)
    assert model.decoder.start == (8, 8) and model.decoder.widths == (256, 256, 128, 32)
    assert model.critic == StridedConvs((128, 256, 256), 32, None, 5) and model.critic_head.width == 512
    digits = source("digits")
    authors = build_vae_gan(VAEGANConfig(variant="authors"), digits).model
    assert (authors.gate, authors.real_weight, len(authors.fakes)) == (Gate(), 2, 2)
    celeba = build_vae_gan(VAEGANConfig(variant="authors_celeba"), digits).model
    assert (celeba.gate, celeba.real_weight, celeba.fakes) == (Gate(), 1, ("samples",))
    control = build_vae_gan(VAEGANConfig(system="vae"), digits).model
    assert type(control) is VAE and control.encoder == build_vae_gan(VAEGANConfig(), digits).model.encoder
    conditional = Splits(*(part.conditional() for part in digits))
    kinds = {
        name: build_cvae_gan(CVAEGANConfig(system=name), conditional).model for name in ("cvae_gan", "cvae", "cgan")
    }
    assert [type(kinds[name]) for name in kinds] == [CVAEGAN, VAE, GAN]
    assert kinds["cvae"].encoder == kinds["cvae_gan"].encoder and kinds["cgan"].generator == kinds["cvae_gan"].decoder
    assert (kinds["cvae_gan"].objective.kl_weight, kinds["cvae_gan"].class_matching) == (3.0, 1e-3)
    with pytest.raises(ValueError, match="`conditional` must be True"):
        build_cvae_gan(CVAEGANConfig(conditional=False), digits)


def test_the_vqgans_systems_share_their_networks():
    models = {
        name: build_vqgan(VQGANConfig(system=name), source("digits")).model
        for name in ("vqgan", "perceptual", "vq_vae")
    }
    vqgan, perceptual, vq_vae = models.values()
    assert [type(model) for model in models.values()] == [VQGAN, QuantizedAutoencoder, QuantizedAutoencoder]
    assert vqgan.encoder == perceptual.encoder == vq_vae.encoder and vqgan.prior == vq_vae.prior
    assert vqgan.codebook == vq_vae.codebook and vqgan.critic == PatchCritic()
    assert (vq_vae.pixel_loss, vq_vae.features) == ("squared", None) and perceptual.pixel_loss == "absolute"
    assert (vqgan.adversarial_loss, vqgan.epsilon, vqgan.critic_start) == (NonSaturating(), 1e-6, 0)
    tamed = build_vqgan(VQGANConfig(variant="taming", adversarial_start=7), source("digits")).model
    assert (tamed.adversarial_loss, tamed.critic_start, tamed.adversarial_start) == (Hinge(), 10_000, 7)
    faces = ArraySource({"x": np.zeros((20, 256, 256, 3), np.uint8)}, levels=256)
    model = build_vqgan(VQGANConfig(), Splits(faces, faces, faces)).model
    assert model.encoder == VQGANEncoder() and model.decoder == VQGANDecoder() and model.prior.network.length == 16 * 16
    assert model.codebook == Codebook(num_codes=1024, code_dim=256)


def test_the_vqgans_codes_are_measured_against_codes_drawn_independently():
    """Images of one of four grey values, each its own code."""
    rng = np.random.default_rng(0)
    grey = {split: rng.choice(4, n, p=[0.5, 0.25, 0.125, 0.125]) for split, n in (("train", 4000), ("test", 2000))}

    def images(g):
        return ArraySource({"x": np.broadcast_to(g[:, None, None, None], (len(g), 4, 4, 1)).astype(np.uint8)}, levels=4)

    parts = {split: images(g) for split, g in grey.items()}
    trained = SimpleNamespace(
        encode=lambda x, key=None, context=None: np.broadcast_to(x[:, :1, :2, 0], (len(x), 1, 2)).astype(np.int32)
    )
    config = VQGANConfig(codes=5, eval_batch=1000)
    found = measure_codes(trained, config, Splits(parts["train"], parts["train"], parts["test"]))
    assert found["fraction of codes in use"] == 0.8 and found["uniform bits per code"] == pytest.approx(np.log2(5))
    assert found["order-0 bits per code"] == pytest.approx(1.75, abs=0.05)
    assert found["perplexity of codes"] == pytest.approx(2**1.75, rel=0.05)
