import numpy as np
import pytest

from jaxgen.data.errors import DataError
from jaxgen.data.pictures import central_crop, load_pictures, random_crops, resized, scaled_down

RNG = np.random.default_rng(0)
TALL, WIDE = RNG.integers(0, 256, (14, 9, 3)).astype(np.uint8), RNG.integers(0, 256, (8, 20, 3)).astype(np.uint8)


@pytest.fixture
def path(tmp_path):
    np.savez(tmp_path / "p.npz", style_a=TALL, style_b=WIDE, content_c=WIDE, style_train=np.array(["style_b"]))
    return tmp_path / "p.npz"


def test_pictures_are_chosen_by_prefix_or_by_name(path):
    assert list(load_pictures(path, "style_")) == ["style_a", "style_b"]
    chosen = load_pictures(path, np.load(path)["style_train"])
    assert list(chosen) == ["style_b"] and np.array_equal(chosen["style_b"], WIDE)
    for names in ("texture_", ["style_c"], ["style_train"], []):
        with pytest.raises(DataError, match="must have pictures uint8"):
            load_pictures(path, names)


def contains(picture, crop):
    size = len(crop)
    windows = np.lib.stride_tricks.sliding_window_view(picture, (size, size), (0, 1)).transpose(0, 1, 3, 4, 2)
    return any((windows == one).all((2, 3, 4)).any() for one in (crop, crop[:, ::-1]))


def test_crops_are_windows_of_all_pictures_by_the_seed():
    crops = random_crops([TALL, WIDE], 6, 40, seed=1)
    assert crops.shape == (40, 6, 6, 3) and crops.dtype == np.uint8
    inside = np.array([[contains(picture, crop) for picture in (TALL, WIDE)] for crop in crops])
    assert inside.sum(0).tolist() == [20, 20] and (inside.sum(1) == 1).all()
    assert 20 > inside[:20, 0].sum() > 0  # in random order
    mirrored = [
        any(np.array_equal(c, TALL[i : i + 6, j : j + 6][:, ::-1]) for i in range(9) for j in range(4)) for c in crops
    ]
    assert 3 < sum(mirrored) < 17
    np.testing.assert_array_equal(crops, random_crops([TALL, WIDE], 6, 40, seed=1))
    assert (crops != random_crops([TALL, WIDE], 6, 40, seed=2)).any()


def test_larger_squares_are_scaled_down():
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8)[:, None, None], (60, 60, 3))
    crops = random_crops([ramp], 10, 30, seed=0, largest=40).astype(float)
    slopes = np.diff(crops[:, 2:8, 0, 0], axis=1).mean(1) / 4  # the factor of the scale
    assert slopes.min() < 1.3 and 3 < slopes.max() < 4.2
    assert random_crops([ramp], 60, 2, seed=0, largest=500).shape == (2, 60, 60, 3)
    with pytest.raises(DataError, match="`pictures` must have sides of at least size=9"):
        random_crops([TALL, WIDE], 9, 2, seed=0)


def test_central_crops_are_in_the_middle():
    np.testing.assert_array_equal(central_crop(WIDE, 8), WIDE[:, 6:14])
    np.testing.assert_array_equal(central_crop(TALL, 4), TALL[5:9, 2:6])
    with pytest.raises(DataError, match="`picture` must have sides of at least size=9"):
        central_crop(WIDE, 9)
    flat = np.full((12, 12, 3), 77, np.uint8)
    np.testing.assert_array_equal(resized(flat, 5), flat[:5, :5])


def test_pictures_are_scaled_down_by_their_longer_side():
    assert scaled_down(WIDE, 10).shape == (4, 10, 3) and scaled_down(TALL, 7).shape == (7, 4, 3)
    assert scaled_down(WIDE, 20) is WIDE and scaled_down(WIDE, 99) is WIDE
    grey = np.full((9, 30, 1), 77, np.uint8)
    np.testing.assert_array_equal(scaled_down(grey, 10), grey[:3, :10])
    ramp = np.broadcast_to(np.arange(60, dtype=np.uint8)[:, None, None], (60, 30, 3))
    np.testing.assert_allclose(scaled_down(ramp, 20)[3:-3, 5, 0], np.arange(60).reshape(20, 3).mean(1)[3:-3], atol=1)
    with pytest.raises(DataError, match="longest"):
        scaled_down(WIDE, 0)
