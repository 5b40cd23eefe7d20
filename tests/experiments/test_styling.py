"""Experiments with style transfer, from files of pictures to distances, plots and a table."""

import dataclasses
import json

import jax
import numpy as np
import pytest

import jaxgen
from experiments import styling
from experiments.run import run
from experiments.studies import style_transfer
from experiments.translation import adain, linear_style
from jaxgen.nets import load_vgg

RNG = np.random.default_rng(0)
SMALL = {"steps": 4, "batch_size": 2, "size": 16, "largest": 24, "crops": 12, "decoder_width": 2, "eval_every": 2}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pictures, contents and a trunk as files."""
    folder = tmp_path_factory.mktemp("files")
    sizes = {
        "style_a": (30, 40),
        "style_b": (26, 24),
        "style_c": (24, 24),
        "content_d": (24, 33),
        "content_e": (28, 24),
    }
    pictures = {name: RNG.integers(0, 256, (*size, 3)).astype(np.uint8) for name, size in sizes.items()}
    names = {"style_train": np.array(["style_a", "style_b"]), "style_test": np.array(["style_c"])}
    np.savez(folder / "pictures.npz", **pictures, **names)
    np.savez(folder / "photos.npz", photo_train=RNG.integers(0, 256, (20, 16, 16, 3)).astype(np.uint8))
    trunk, channels = {"mean_bgr": np.float32([100, 110, 120])}, 3
    for name, width in {"conv1_1": 2, "conv2_1": 3, "conv3_1": 4, "conv4_1": 4}.items():
        trunk[f"{name}_kernel"] = RNG.normal(0, 0.4, (3, 3, channels, width)).astype(np.float16)
        trunk[f"{name}_bias"], channels = RNG.normal(5, 3, width).astype(np.float32), width
    np.savez(folder / "vgg.npz", **trunk)
    return {"data": str(folder / "pictures.npz"), "contents": folder / "photos.npz", "trunk": folder / "vgg.npz"}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(styling, "TEST_SIDE", 16)
    monkeypatch.setattr(styling, "TIMED", 2)


def test_styles_are_crops_of_training_pictures_and_test_pairs_are_held_out(files):
    data = adain.AdaINConfig(**files, **SMALL).open()
    assert {name: len(part) for name, part in data.train.sources.items()} == {"a": 16, "b": 12}
    assert data.train.event_shape == {"a": (16, 16, 3), "b": (16, 16, 3)}
    test = data.test.head(2)
    pictures = np.load(files["data"])
    for part, names in (("a", ["content_d", "content_e"]), ("b", ["style_c", "style_c"])):
        expected = np.stack([styling.central_crop(pictures[name], 16) for name in names])
        np.testing.assert_array_equal(test[part]["x"], expected)
    assert len(data.test) == 2
    with pytest.raises(ValueError, match="`contents` must be a .npz file"):
        adain.AdaINConfig(data=files["data"]).open()


def test_layers_have_mean_one_on_training_images(files):
    config = adain.AdaINConfig(**files, **SMALL)
    data = config.open()
    network, start = styling.fixed_features(config, data)
    x = np.concatenate([part["x"] for part in data.train.head(32).values()]) / np.float32(255)
    plain = load_vgg(files["trunk"], padding="reflect")
    for name, features in network.apply(start["features"], x).items():
        means, before = (np.asarray(f).mean((0, 1, 2)) for f in (features, plain[0].apply(plain[1], x)[name]))
        np.testing.assert_allclose(means, before / before.mean(), rtol=1e-3, atol=1e-4)


def test_controls_of_unchanged_contents_and_styles_are_zero(files):
    data = adain.AdaINConfig(**files, **SMALL).open()
    controls = styling.StyleDistance(files["trunk"], data).controls()
    zero = {"content (unchanged content)", "style (style itself)", "colour (style itself)"}
    assert {name for name, value in controls.items() if value == 0} == zero
    # colours have the moments of the style's colours up to clipping, so the style is nearer
    assert controls["style (colours moved)"] < controls["style (unchanged content)"]
    x, y = (part["x"] / 255 for part in data.test.head(2).values())
    moments = [np.concatenate([a.mean((1, 2)), a.std((1, 2))], -1) for a in (x, y)]
    expected = np.sqrt(np.square(moments[0] - moments[1]).mean())
    np.testing.assert_allclose(controls["colour (unchanged content)"], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (adain, adain.AdaINConfig),
        pytest.param(linear_style, linear_style.LinearStyleConfig, marks=pytest.mark.slow),
    ],
)
def test_from_files_to_distances(module, kind, files, tmp_path):
    config = kind(**files, **SMALL, out=tmp_path / "run", checkpoint_every=4, log_every=2)
    result = run(f"experiments.translation.{module.__name__.rpartition('.')[2]}", config, module.build, quiet=True)
    for alpha in ("0.5", "1"):
        assert {f"{name} (alpha {alpha})" for name in ("content", "style")} <= set(result["test"])
    assert all(np.isfinite(value) for value in result["test"].values())
    assert (tmp_path / "run" / "translations.png").stat().st_size > 0
    trained = jaxgen.load(tmp_path / "run")
    test = config.open().test.head(2)
    assert trained.translate(test["a"]["x"], test["b"]["x"]).shape == (2, 16, 16, 3)
    # the run holds the trunk
    kernel = trained.variables["features"]["params"]["conv1_1"]["kernel"]
    means = load_vgg(files["trunk"])[0].mean
    assert trained.model.features.mean == means and kernel.shape == (3, 3, 3, 2)
    # another run may begin with its decoder
    data = config.open()
    another = module.build(dataclasses.replace(config, decoder=tmp_path / "run"), data)
    jax.tree.map(np.testing.assert_array_equal, another.start["decoder"], trained.variables["decoder"])
    _, start = styling.fixed_features(config, data)
    jax.tree.map(np.testing.assert_array_equal, trained.variables["features"], start["features"])


def test_colours_follow_the_normalised_features(files):
    config = adain.AdaINConfig(**files, **SMALL, colours=5.0, measure=False)
    data = config.open()
    built = adain.build(config, data)
    x = data.train.head(2)["a"]["x"] / np.float32(255)
    plain, start = styling.fixed_features(dataclasses.replace(config, colours=0.0), data)
    expected = plain.apply(start["features"], x)["relu2_1"]
    features = built.model.features.apply(built.start["features"], x)["relu2_1"]
    np.testing.assert_allclose(features[..., :-3], expected, rtol=1e-5)
    np.testing.assert_allclose(features[..., -3:], 5 * x.reshape(2, 8, 2, 8, 2, 3).mean((2, 4)), rtol=1e-4)
    assert built.final_metrics is None and not built.baselines


def test_the_linear_transformation_may_train_one_of_its_two_phases(files):
    for share, play in ((0.0, "transformation"), (1.0, "decoder")):
        config = linear_style.LinearStyleConfig(**{**files, "trunk": None}, **SMALL, decoder_share=share)
        config.check()  # the study trains a decoder alone
        built = linear_style.build(config, config.open())
        assert set(built.optimizers) == {play} == set(built.model.phases(4)[0].plays)


def test_the_table_of_the_study_has_methods_and_controls():
    test = {f"{name} (alpha {alpha})": 0.25 for name in style_transfer.METRICS for alpha in ("0.5", "1")}
    baselines = {"content (style itself)": 1.6, "style (style itself)": 0.0, "colour (style itself)": 0.0}
    results = {"AdaIN": {"test": test, "baselines": baselines}, "seconds": {"AdaIN": 0.123}}
    table = style_transfer.table(json.loads(json.dumps(results)))
    assert "| AdaIN, alpha 0.5 | 0.250 | 0.250 | 0.250 | 123 ms |" in table
    assert "| style itself | 1.600 | 0.000 | 0.000 |  |" in table
