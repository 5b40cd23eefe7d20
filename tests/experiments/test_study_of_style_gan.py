"""The study of StyleGAN's options, from runs that are finished, and what its experiment measures."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from experiments.hybrids.style_gan import StyleGANConfig, build, chosen, class_by_coarse_styles, half_life, path_length
from experiments.studies import harness, style_gan
from experiments.studies.style_gan import StyleGANStudy
from jaxgen.data import source
from jaxgen.models.classifier import Classifier
from jaxgen.models.gans import AdaptiveAugmentation, Rotations
from jaxgen.models.hybrids import StyleGAN


def test_each_row_is_run_from_each_seed(tmp_path, monkeypatch):
    called = []

    def run(module, out, *arguments):
        words = [word for given in arguments for word in given]
        called.append((module, out.name, words))
        out.mkdir(parents=True)
        seed = int(words[words.index("--seed") + 1])
        test = {"frechet_distance": 10.0 + 2 * seed, "path length in Z": 3.0}
        result = {"test": test, "training_seconds": 60 + seed, "command": out.name, "changed": {}}
        (out / "result.json").write_text(json.dumps(result))

    monkeypatch.setattr(harness.commands, "run", run)
    config = StyleGANStudy(
        extractor=tmp_path / "judge", runs=tmp_path / "runs", seeds=2, steps=70, few_steps=30, examples=50,
        only=("StyleGAN", "rotations", "few", "few, ADA"),
    )  # fmt: skip
    text = style_gan.study(config)
    names = ("StyleGAN", "rotations", "few", "few_ADA")
    assert [(m, out) for m, out, _ in called] == [("hybrids.style_gan", f"{n}-{s}") for n in names for s in range(2)]
    words = dict(zip(names, [words for _, out, words in called if out.endswith("-0")], strict=True))
    assert "--rotations" in words["rotations"] and "--rotations" not in words["StyleGAN"]
    assert words["few_ADA"][-3:] == ["--ada", "--ada-images", "20000"]
    assert words["few"][-4:] == ["--steps", "30", "--examples", "50"]
    assert "| StyleGAN | 70 | 11.0 ± 1.0 | 3.0 ± 0.0 | 60 s |" in text
    records = [json.loads(line) for line in (tmp_path / "runs" / "records.jsonl").read_text().splitlines()]
    assert [r["system"] for r in records] == ["StyleGAN", "rotations", "few", "few, ADA"]
    assert style_gan.study(config) == text and len(called) == 8


def test_presets_make_the_networks_of_their_resolution():
    data = source("digits")
    model = build(StyleGANConfig(width=4, max_width=6, latents=3, rotations=True, ada=True, examples=40), data)
    assert isinstance(model.model, StyleGAN) and model.model.generator.synthesis.widths == (6, 4)
    assert [type(term) for term in model.model.terms[1:]] == [Rotations, AdaptiveAugmentation]
    assert len(model.data.train) == 40 and len(model.data.test) == len(data.test)
    assert build(StyleGANConfig(path_weight=0.0), data).model.path_length is None
    # an average with a half-life of 10,000 images has lost half of it after so many
    assert StyleGANConfig().ema ** (10_000 / 32) == pytest.approx(0.5) and half_life(64, 64) == 0.5
    for preset, fields in StyleGANConfig.PRESETS.items():
        StyleGANConfig(preset=preset, **fields).check()
    with pytest.raises(ValueError, match="`examples` must be at most"):
        chosen(5, 4)


class Styles(StyleGAN):
    """Styles are the latents, and images the styles of both halves of the layers."""

    def noise(self, key, n):
        return jax.random.normal(key, (n, 3))

    def styles(self, variables, z, context=None, truncation=1.0):
        return jnp.repeat(z[:, None], 4, 1)

    def synthesize(self, variables, styles, key=None):
        return styles.reshape(-1, 2, 2, 3)


@pytest.fixture
def trained():
    model = build(StyleGANConfig(width=2, max_width=2, latents=3, mapping_layers=1), source("digits")).model
    fields = {name: getattr(model, name) for name in ("generator", "critic", "event_shape", "levels")}
    return SimpleNamespace(model=Styles(**fields), variables={})


def test_path_lengths_are_those_of_the_features(trained):
    """The features are the image: the length is four times that of the path between the latents."""

    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x.reshape(len(x), -1)

    classifier = Classifier(Plain(), (2, 2, 3), 2, levels=256)
    extractor = SimpleNamespace(trained=SimpleNamespace(model=classifier, variables={"classifier": {}}))
    key = jax.random.key(3)
    first, second = (np.asarray(jax.random.normal(k, (400, 3))) for k in jax.random.split(key, 3)[:2])
    squared = 4 * ((first - second) ** 2).sum(1)
    low, high = np.quantile(squared, [0.01, 0.99])
    expected = squared[(squared >= low) & (squared <= high)].mean()
    assert path_length(trained, extractor, "W", 400, key) == pytest.approx(expected, rel=2e-2)
    cosine = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    angles = 4 * np.arccos(cosine) ** 2
    assert path_length(trained, extractor, "Z", 400, key) == pytest.approx(angles.mean(), rel=3e-2)


def test_classes_of_mixtures_are_those_of_the_coarse_half():
    rng = np.random.default_rng(0)
    model = SimpleNamespace(generator=SimpleNamespace(synthesis=SimpleNamespace(num_styles=4)))
    trained = SimpleNamespace(model=model, synthesize=lambda styles: styles)
    w = rng.normal(size=(60, 3))
    for layer, expected in ((0, 1.0), (1, 1.0), (2, 0.0), (3, 0.0)):
        extractor = SimpleNamespace(logits=lambda x, layer=layer: x[:, layer])
        assert class_by_coarse_styles(trained, extractor, w) == expected
