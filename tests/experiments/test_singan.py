"""The experiment with SinGAN: one picture from any kind of data, and what is measured."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from experiments.hybrids.singan import PictureDistance, SinGANConfig, baselines, blurred, build, measured
from jaxgen.data import DataError
from jaxgen.metrics import pixel_diversity, position_frechet_distances
from jaxgen.models.hybrids import SinGAN
from jaxgen.models.hybrids.singan import AUTHORS

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "pictures.npz", real_00=PICTURE, other_00=PICTURE[::-1], grey=PICTURE[..., 0])
    Image.fromarray(PICTURE).save(tmp_path / "picture.PNG")
    kernels = {f"conv1_{i}_kernel": RNG.normal(0, 0.3, (3, 3, c, 4)).astype(np.float32) for i, c in ((1, 3), (2, 4))}
    np.savez(tmp_path / "trunk.npz", conv1_1_bias=np.ones(4), conv1_2_bias=np.ones(4), mean_bgr=np.ones(3), **kernels)
    return tmp_path


def test_the_data_are_one_picture(folder):
    for fields in ({"data": "pictures.npz", "picture": "real_00"}, {"data": "picture.PNG"}):
        splits = SinGANConfig(data_dir=str(folder), **fields).open()
        for split in splits:
            assert len(split) == 1 and split.levels == 256
            np.testing.assert_array_equal(split.head(1)["x"], PICTURE[None])
    small = SinGANConfig(data=str(folder / "picture.PNG"), size=12).open()
    assert small.train.event_shape == (8, 12, 3)
    digits = SinGANConfig().open().train
    assert len(digits) == 1 and digits.event_shape == (8, 8, 1) and digits.levels == 17
    with pytest.raises(DataError, match="must have pictures uint8"):
        SinGANConfig(data=str(folder / "pictures.npz"), picture="grey").open()
    with pytest.raises(DataError, match=r"`data` must be images \[height, width, channels\]"):
        SinGANConfig(data="two_moons").open()


def test_samples_and_references_are_measured_by_the_same_program(folder):
    config = SinGANConfig(
        data=str(folder / "pictures.npz"), picture="real_00", references=("other_00",), trunk=folder / "trunk.npz",
        min_side=20, variant="authors", width=2,
    )  # fmt: skip
    experiment = build(config, config.open())
    assert experiment.model == SinGAN((20, 30, 3), 256, min_side=20, width=2, **AUTHORS)
    assert set(experiment.plots) == {"random", "wide", "animation", "enlarged"}  # one scale: nothing to inject below
    distance = PictureDistance(folder / "trunk.npz", PICTURE)
    # features after pooling, divided
    features = distance.features(PICTURE[None])
    assert features.shape == (1, 10, 15, 4) and features.max() < 100
    assert distance(PICTURE[None]) == pytest.approx(0, abs=1e-4)
    found = baselines(config, distance)
    assert set(found) == {"distance (mirrored)", "distance (blurred)", "distance (other_00)"}
    expected = position_frechet_distances(features[0], distance.features(PICTURE[None, ::-1]))
    assert found["distance (other_00)"] == pytest.approx(expected[0], rel=1e-5) and expected[0] > 0
    samples = RNG.integers(0, 256, (50, 20, 30, 3)).astype(np.uint8)
    trained = SimpleNamespace(sample=lambda key, n: samples[:n], reconstruct=lambda: PICTURE[None])
    metrics = measured(trained, PICTURE, distance)
    assert metrics["diversity of samples"] == pytest.approx(float(pixel_diversity(samples * 1.0, PICTURE)), rel=1e-5)
    each = [distance(one[None]) for one in samples]
    assert metrics["distance of samples"] == pytest.approx(np.mean(each), rel=1e-4)
    assert metrics["distance of the reconstruction"] == pytest.approx(0, abs=1e-4)


def test_the_blur_is_the_mean_of_nine():
    spot = np.zeros((5, 6, 3), np.uint8)
    spot[2, 3] = 90
    expected = np.zeros_like(spot)
    expected[1:4, 2:5] = 10
    np.testing.assert_array_equal(blurred(spot), expected)
    assert jax.numpy.asarray(blurred(PICTURE)).shape == PICTURE.shape
