"""The experiments of latent spaces apart from training, and their study's table."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.hybrids import alae, glann
from experiments.studies import latent_codes as study
from jaxgen.data import ArraySource, Splits
from jaxgen.training import TrainedModel

RNG = np.random.default_rng(0)
SPLITS = Splits(*(
    ArraySource(
        {"x": RNG.integers(0, 256, (n, 4, 4, 1)).astype(np.uint8), "label": np.arange(n) % 3}, levels=256, num_classes=3
    )
    for n in (40, 12, 30)
))  # fmt: skip


def test_the_table_has_a_row_for_each_example_in_its_order():
    indexed = glann.indexed(SPLITS.train, 10)
    assert len(indexed) == 10 and indexed.levels == 256 and indexed.num_classes == 3
    np.testing.assert_array_equal(indexed.arrays["index"], np.arange(10))
    taken = indexed.batch_at(0, 5, 3)
    np.testing.assert_array_equal(taken["x"], SPLITS.train.arrays["x"][taken["index"]])
    config = glann.GLANNConfig(network="dense", width=4, latents=3, mapping_width=4, batch_size=8)
    experiment = glann.build(config, SPLITS)
    assert experiment.model.num_examples == 40 and experiment.model.epoch == 5
    assert "index" in experiment.data.train.arrays and "index" not in experiment.data.test.arrays
    with pytest.raises(ValueError, match="the table of latents needs data in memory"):
        glann.indexed(None)


@pytest.mark.parametrize("layers, bounded", [("equalized", False), ("bounded", True), ("plain", True)])
def test_a_generator_of_pixels_is_bounded_where_asked(layers, bounded):
    config = alae.ALAEConfig(width=4, latents=3, mapping_layers=1, layers=layers)
    generator, encoder = alae.coders(config, 5, bounded=True)
    w = 100 * RNG.normal(size=(6, 3)).astype(np.float32)
    x = np.asarray(generator.init_with_output(jax.random.key(0), w)[0])
    assert x.shape == (6, 5) and (np.abs(x).max() <= 1) == bounded
    # floats have no bounds
    generator, _ = alae.coders(config, 5, bounded=False)
    assert np.abs(np.asarray(generator.init_with_output(jax.random.key(0), w)[0])).max() > 1
    assert encoder.init_with_output(jax.random.key(0), x)[0].shape == (6, 3)


@pytest.mark.slow
def test_path_lengths_of_a_linear_generator_are_those_of_its_ends():
    config = alae.ALAEConfig(width=4, latents=3, mapping_layers=1)
    model = alae.build(config, SPLITS).model
    variables = model.init(jax.random.key(0), SPLITS.train.head(2))
    matrix = RNG.normal(size=(3, 5)).astype(np.float32)

    class Linear(type(model)):
        def latents(self, variables, z):
            return 2 * z

        def generate(self, variables, w):
            return w @ matrix

    fields = {
        name: getattr(model, name)
        for name in ("mapping", "generator", "encoder", "critic", "event_shape", "latent_dim", "levels")
    }
    key = jax.random.key(1)
    found = alae.path_lengths(TrainedModel(Linear(**fields), variables), key, lambda x: 3 * x)
    start, end = (np.asarray(model.noise(k, alae.PATHS), np.float64) for k in jax.random.split(key, 3)[:2])
    squared = 36 * (((end - start) @ matrix) ** 2).sum(1)
    low, high = np.quantile(squared, 0.01, method="lower"), np.quantile(squared, 0.99, method="higher")
    np.testing.assert_allclose(
        found["path length in W"], squared[(squared >= low) & (squared <= high)].mean(), rtol=1e-3
    )
    # great circles between unit vectors, in place of normal ones
    assert 0 < found["path length in Z"] < found["path length in W"]


def test_codes_are_classified_and_pixels_compared():
    config = alae.ALAEConfig(system="autoencoder", fitted=25)

    class Known:
        def encode(self, x, key, context):
            return jnp.asarray(x, jnp.float32).reshape(len(x), -1) / 255

        def reconstruct(self, x):
            return np.uint8(np.clip(np.int32(x) + 51, 0, 255))

    metrics = alae.code_metrics(Known(), config, SPLITS)
    test = SPLITS.test.arrays["x"].astype(np.float64)
    np.testing.assert_allclose(
        metrics["pixel error"], ((np.minimum(test + 51, 255) - test) ** 2).mean() / 255**2, rtol=1e-4
    )
    train = SPLITS.train.arrays["x"][:25].reshape(25, -1).astype(float), test.reshape(30, -1)
    nearest = ((train[1][:, None] - train[0]) ** 2).sum(-1).argmin(1)
    assert metrics["nearest neighbour's accuracy"] == pytest.approx(np.mean(nearest % 3 == np.arange(30) % 3))
    assert "linear SVM's accuracy" in metrics and "path length in W" not in metrics


def test_the_table_of_the_study(tmp_path, monkeypatch):
    asked = []

    def experiment(module, out, *arguments):
        words = [word for argument in arguments for word in ([argument] if isinstance(argument, str) else argument)]
        asked.append((module, dict(zip(words[::2], words[1::2], strict=True))))
        metrics = {
            "frechet distance": 3.0,
            "coverage": 0.5,
            "gaussian frechet distance": 9.0,
            "gaussian coverage": 0.25,
        }
        if module == "hybrids.alae":
            metrics = {"linear SVM's accuracy": 0.96, "latent_error": 0.123}
        elif "glann" not in words:
            metrics = {"frechet distance": 12.0}
        return {
            "experiment": module,
            "test": metrics,
            "standard_errors": {n: 0.01 for n in metrics},
            "training_seconds": 7,
        }

    monkeypatch.setattr(study.harness, "experiment", experiment)
    config = study.LatentCodes(
        data=tmp_path / "mnist.npz", extractor=tmp_path / "judge", runs=tmp_path / "runs",
        only=("alae", "glann", "gan"),
        sample_steps=60, code_steps=40,
    )  # fmt: skip
    text = study.study(config)
    assert [module for module, _ in asked] == ["hybrids.alae", "hybrids.glann", "hybrids.glann"]
    assert asked[1][1]["--system"] == "glann" and asked[1][1]["--steps"] == "60" and asked[0][1]["--steps"] == "40"
    assert "| alae | 0.9600 ± 0.0100 | – | – | 0.123 ± 0.010 |" in text
    assert "| glann | 3.00 ± 0.01 |" in text and "| glo of glann | 9.00 ± 0.01 |" in text
    assert "| gan | 12.00 ± 0.01 |" in text and "glo of gan" not in text
    records = [json.loads(line) for line in (tmp_path / "runs" / "records.jsonl").read_text().splitlines()]
    assert [r["system"] for r in records] == ["alae", "glann", "gan"] and records[1]["test"][
        "gaussian coverage"
    ] == 0.25
