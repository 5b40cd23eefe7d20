"""Series from files: windows that share no step between splits, scales, and refusals."""

import numpy as np
import pytest

from jaxgen.data import DataError, SeriesSource, source, time_series
from jaxgen.data.series import rc_gan_sines, time_gan_sines
from jaxgen.data.time_series import windows

RNG = np.random.default_rng(0)
LONG = np.stack([np.arange(600), np.arange(600) ** 2], 1).astype(np.float64)


@pytest.fixture
def file(tmp_path):
    short = {
        "short_x_train": RNG.normal(size=(20, 8, 2)).astype(np.float32), "short_y_train": np.arange(20) % 2,
        "short_x_test": RNG.normal(size=(40, 8, 2)).astype(np.float32), "short_y_test": np.arange(40) % 2,
    }  # fmt: skip
    np.savez(tmp_path / "series.npz", long=LONG, flat=np.arange(600.0), constant=np.zeros((600, 1)), **short)
    return tmp_path / "series.npz", short


@pytest.mark.parametrize("blocks", [1, 3])
def test_splits_share_no_step_and_windows_are_consecutive(blocks):
    parts = windows(LONG, 6, blocks=blocks)
    steps = [set(part[..., 0].ravel()) for part in parts]
    assert not (steps[0] & steps[1] or steps[0] & steps[2] or steps[1] & steps[2])
    assert set.union(*steps) == set(range(600))
    block = 600 // blocks
    for part, length in zip(parts, (0.7 * block, 0.1 * block, 0.2 * block), strict=True):
        assert part.shape == (blocks * (round(length) - 5), 6, 2)
        assert (np.diff(part[..., 0], axis=1) == 1).all()  # in the order of time, none dropped
        np.testing.assert_array_equal(part[..., 1], part[..., 0] ** 2)
    if blocks == 1:
        assert max(steps[0]) < min(steps[1]) and max(steps[1]) < min(steps[2])
    assert len(windows(LONG, 6, stride=6, blocks=blocks)[0]) == blocks * -(-(round(0.7 * block) - 5) // 6)


def test_columns_are_scaled_by_the_training_split_alone_and_back(file):
    splits = time_series(file[0], "long", window=6, blocks=1, interval=(-1.0, 1.0))
    x = splits.train.arrays["x"]
    assert isinstance(splits.train, SeriesSource) and x.dtype == np.float32 and splits.train.levels is None
    np.testing.assert_allclose((x.min((0, 1)), x.max((0, 1))), [[-1, -1], [1, 1]], atol=1e-6)
    assert splits.test.arrays["x"].max() > 1.2  # later, and larger, values than any in training
    for split, part in zip(splits, windows(LONG, 6, blocks=1), strict=True):
        np.testing.assert_allclose(split.original(split.arrays["x"]), part, rtol=1e-5, atol=0.05)
    subset = splits.test.subset(np.arange(3))
    np.testing.assert_allclose(subset.original(subset.arrays["x"]), windows(LONG, 6, blocks=1)[2][:3], rtol=1e-5)


def test_short_series_keep_their_splits_or_are_pooled(file):
    path, short = file
    splits = time_series(path, "short")
    assert [len(split) for split in splits] == [18, 2, 40] and splits.train.num_classes == 2
    np.testing.assert_array_equal(splits.test.arrays["label"], short["short_y_test"])
    np.testing.assert_allclose(splits.test.original(splits.test.arrays["x"]), short["short_x_test"], atol=1e-5)
    pooled = time_series(path, "short", pooled=True)
    assert [len(split) for split in pooled] == [30, 6, 24]
    values = np.concatenate([split.original(split.arrays["x"])[:, 0, 0] for split in pooled])
    labels = np.concatenate([split.arrays["label"] for split in pooled])
    all_values = np.concatenate([short["short_x_train"], short["short_x_test"]])[:, 0, 0]
    all_labels = np.concatenate([short["short_y_train"], short["short_y_test"]])
    np.testing.assert_allclose(np.sort(values), np.sort(all_values), atol=1e-5)
    order, found = np.argsort(all_values), np.argsort(values)
    np.testing.assert_array_equal(labels[found], all_labels[order])  # classes stay with their series
    assert pooled.train.conditional().arrays["context"].shape == (30, 2)


def test_named_series_are_scaled_too(file):
    splits = time_series("time_gan_sines")
    assert splits.train.arrays["x"].min() == 0 and splits.train.arrays["x"].max() == 1
    original = source("time_gan_sines").test.arrays["x"]
    np.testing.assert_allclose(splits.test.original(splits.test.arrays["x"]), original, atol=1e-6)
    constant = time_series(file[0], "constant", window=6)
    assert (constant.train.arrays["x"] == 0).all()


def test_sines_of_the_papers():
    x = rc_gan_sines(np.random.default_rng(0), 4000)["x"]
    assert x.shape == (4000, 30, 1) and np.abs(x).max() <= 0.9
    assert (x**2).mean() == pytest.approx((0.9**3 - 0.1**3) / 3 / 0.8 / 2, rel=0.05)  # E a^2 / 2
    x = time_gan_sines(np.random.default_rng(0), 4000)["x"]
    assert x.shape == (4000, 24, 5) and 0.5 <= x.min() and x.max() <= 1
    assert x[:, 0].max() == pytest.approx((1 + np.sin(0.1)) / 2, abs=1e-3)  # the phase alone
    np.testing.assert_allclose(np.corrcoef(x[:, 12].T), np.eye(5), atol=0.06)  # columns are independent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"series": "missing"}, "must have 'missing'"),
        ({"series": "flat"}, r"flat must be a series \[T, D\]"),
        ({"series": "long", "blocks": 30}, "must leave a window in each part of a series of 600 steps"),
        ({"series": "long", "window": 1}, "window must be an integer >= 2"),
        ({"series": "long", "stride": 0}, "stride must be an integer >= 1"),
    ],
)
def test_what_cannot_be_cut_is_refused(arguments, message, file):
    with pytest.raises(DataError, match=message):
        time_series(file[0], **arguments)
    with pytest.raises(DataError, match=r"must be real-valued series \[N, T, D\]"):
        time_series("digits")
