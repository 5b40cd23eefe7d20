"""Pairs of frames: which there are, that batches depend on seed and step alone, files and drawn figures."""

import numpy as np
import pytest

from jaxgen.data import DataError, FramePairs, frames
from jaxgen.data.figures import figures
from jaxgen.data.frames import all_pairs, half_a_clip_apart

RNG = np.random.default_rng(0)


def arrays(count=12):
    return {
        "x": RNG.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8),
        "joints": np.arange(count * 28, dtype=np.float32).reshape(count, 14, 2),
    }


def test_pairs_are_all_ordered_pairs_within_a_clip_that_are_far_enough_apart():
    pairs = all_pairs(3, 4)
    expected = [(c + i, c + j) for c in (0, 4, 8) for i in range(4) for j in range(4) if i != j]
    assert sorted(map(tuple, pairs)) == expected
    # two percent of 100 frames: at least three apart
    distances = np.abs(np.diff(all_pairs(2, 100), axis=1))
    assert distances.min() == 3 and len(distances) == 2 * sum(2 * (100 - d) for d in range(3, 100))
    assert len(set(all_pairs(3, 4)[:9, 0] // 4)) > 1  # the first examples are of several clips
    np.testing.assert_array_equal(half_a_clip_apart(2, 5), [(0, 2), (1, 3), (5, 7), (6, 8)])


def test_a_batch_is_a_function_of_seed_and_step_and_epochs_have_every_pair_once():
    source = FramePairs(arrays(), all_pairs(3, 4))
    again = FramePairs(source.frames, all_pairs(3, 4))
    seen = []
    for step in range(12):
        batch, same = source.batch_at(step, 3, 7), again.batch_at(step, 3, 7)
        for part in ("source", "target"):
            np.testing.assert_array_equal(batch[part]["x"], same[part]["x"])
            indices = source.indices_at(step, 3, 7)[part]
            np.testing.assert_array_equal(batch[part]["joints"], source.arrays[part]["joints"][indices])
        seen += list(zip(*(source.indices_at(step, 3, 7)[part] for part in ("source", "target")), strict=True))
    assert sorted(seen) == sorted(map(tuple, source.pairs))
    assert (source.indices_at(0, 3, 7)["source"] != source.indices_at(0, 3, 8)["source"]).any()
    halves = [source.batch_at(2, 4, 1, process, 2)["target"]["x"] for process in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves), source.batch_at(2, 4, 1)["target"]["x"])


def test_a_source_of_pairs_is_a_source():
    source = FramePairs(arrays(), half_a_clip_apart(3, 4), name="clips")
    assert len(source) == 6 and source.event_shape == (8, 8, 3) and source.levels == 256 and source.nbytes > 0
    assert source.head(4)["source"]["joints"].shape == (4, 14, 2)
    np.testing.assert_array_equal(source.subset(np.array([5, 1])).pairs, source.pairs[[5, 1]])
    assert [len(batch["target"]["x"]) for batch in source.batches(4)] == [4, 2]
    with pytest.raises(DataError, match="poses in place of a context"):
        source.with_context(lambda arrays: arrays["x"])


def test_joints_may_be_unknown_but_not_infinite_nor_of_another_shape():
    given = arrays()
    given["joints"][3, 2] = np.nan
    assert np.isnan(FramePairs(given, all_pairs(3, 4)).frames["joints"][3, 2]).all()
    for joints in (given["joints"] + np.inf, given["joints"][:5], given["joints"][..., :1]):
        with pytest.raises(DataError, match="'joints' must be .12, J, 2., finite or NaN"):
            FramePairs({**given, "joints": joints}, all_pairs(3, 4))
    with pytest.raises(DataError, match="indices must be some of 0..11"):
        FramePairs(given, np.array([[0, 12]]))


def test_figures_have_masks_and_backgrounds_of_their_own():
    drawn = figures(3, 4, 32)
    image, mask, background = drawn["image"], drawn["mask"], drawn["background"]
    assert image.shape == (3, 4, 32, 32, 3) and drawn["joints"].shape == (3, 4, 14, 2)
    outside = mask == 0
    still = np.broadcast_to(background[:, None], image.shape)
    np.testing.assert_array_equal(image[outside], still[outside])
    x, y = np.moveaxis(drawn["joints"].round().astype(int).clip(0, 31), -1, 0)
    person, pose = np.arange(3)[:, None, None], np.arange(4)[:, None]
    assert (mask[person, pose, y, x] > 200).mean() > 0.95  # joints are on the figure: x along columns
    assert 0.05 < (mask > 127).mean() < 0.4
    np.testing.assert_array_equal(image, figures(3, 4, 32)["image"])
    assert (image != figures(3, 4, 32, seed=1)["image"]).any()


def test_splits_are_of_different_figures():
    splits = frames("figures")
    assert len(splits.train.frames["x"]) == 32 * 12 and set(splits.train.frames) == {"x", "joints"}
    assert set(splits.test.frames) == {"x", "joints", "mask", "background"}
    backgrounds = [splits.valid.frames["background"][0], splits.test.frames["background"][0]]
    assert (backgrounds[0] != backgrounds[1]).any() and len(splits.test) == 4 * 6


def test_a_file_has_images_and_joints_by_split(tmp_path):
    drawn = {split: figures(count, 4, 16, seed) for seed, (split, count) in enumerate({"train": 3, "test": 2}.items())}
    file = {f"{key}_{split}": array for split, part in drawn.items() for key, array in part.items()}
    np.savez(tmp_path / "dolls.npz", **file, limbs=np.zeros((10, 2)))
    splits = frames("dolls.npz", tmp_path)
    np.testing.assert_array_equal(splits.test.frames["x"], drawn["test"]["image"].reshape(8, 16, 16, 3))
    np.testing.assert_array_equal(splits.test.frames["background"][4], drawn["test"]["background"][1])
    assert len(splits.train.frames["x"]) == 8 and len(splits.valid.frames["x"]) == 4  # the last figure
    np.testing.assert_array_equal(splits.valid.frames["x"][0], drawn["train"]["image"][2, 0])
    for missing in ("joints_train", "image_test"):
        np.savez(tmp_path / "less.npz", **{key: value for key, value in file.items() if key != missing})
        with pytest.raises(DataError, match="must have 'image_"):
            frames("less.npz", tmp_path)
    np.savez(tmp_path / "odd.npz", **{**file, "joints_train": file["joints_train"][:, :2]})
    with pytest.raises(DataError, match="must begin with the axes"):
        frames("odd.npz", tmp_path)
    for name in ("dolls.zip", "missing.npz"):
        with pytest.raises(DataError):
            frames(name, tmp_path)
