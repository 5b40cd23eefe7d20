"""Two domains from one name: arrays, folders, halves of pictures."""

import numpy as np
import pytest
from PIL import Image

from jaxgen.data import DataError, Paired, Zipped, domains

RNG = np.random.default_rng(0)


def pictures(n, size=(6, 8), channels=3):
    return RNG.integers(0, 256, (n, *size, channels), np.uint8)


def write(folder, images, names=None):
    folder.mkdir(parents=True)
    for i, x in enumerate(images):
        Image.fromarray(x).save(folder / f"{names[i] if names else f'{i:03d}'}.png")


@pytest.fixture
def npz(tmp_path):
    arrays = {"palette": RNG.integers(0, 256, (5, 3), np.uint8)}
    for split, n in {"train": 12, "valid": 4, "test": 3}.items():
        arrays[f"map_{split}"] = RNG.integers(0, 5, (n, 6, 8), np.int8)
        arrays[f"photo_{split}"] = pictures(n)
    np.savez(tmp_path / "pairs.npz", **arrays)
    return tmp_path / "pairs.npz", arrays


def test_named_arrays_are_domains_and_maps_get_the_colours_of_the_palette(npz):
    path, arrays = npz
    splits = domains(path, ("map", "photo"), paired=True)
    assert isinstance(splits.train, Paired) and [len(split) for split in splits] == [12, 4, 3]
    head = splits.test.head(3)
    np.testing.assert_array_equal(head["a"]["x"], arrays["palette"][arrays["map_test"]])
    np.testing.assert_array_equal(head["b"]["x"], arrays["photo_test"])
    batch = splits.train.batch_at(1, 5, 0)
    where = [int(np.flatnonzero((arrays["photo_train"] == x).all((1, 2, 3)))[0]) for x in batch["b"]["x"]]
    np.testing.assert_array_equal(batch["a"]["x"], arrays["palette"][arrays["map_train"][where]])
    assert type(domains(path, ("photo", "map")).train) is Zipped


def test_named_arrays_that_do_not_fit_are_named(npz, tmp_path):
    path, arrays = npz
    with pytest.raises(DataError, match="must have an array 'depth_train', got "):
        domains(path, ("map", "depth"))
    np.savez(tmp_path / "beyond.npz", **{**arrays, "map_train": arrays["map_train"] + 1})
    with pytest.raises(DataError, match=r"array 'map_train' must be in 0\.\.4, the classes of `palette`"):
        domains(tmp_path / "beyond.npz", ("map", "photo"))
    with pytest.raises(DataError, match="`domains` must be 'colorization', two sources"):
        domains("elsewhere")


def test_two_sources_side_by_side(tmp_path):
    one, two = pictures(20), pictures(30, (4, 4), 1)
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "two.npy", two)
    splits = domains("one.npy, two.npy", data_dir=tmp_path)
    assert splits.train.event_shape == {"a": (6, 8, 3), "b": (4, 4, 1)} and len(splits.train.sources["b"]) == 24
    with pytest.raises(DataError, match="equally long"):
        domains("one.npy,two.npy", data_dir=tmp_path, paired=True)


def test_folders_of_two_domains_in_three_layouts(tmp_path):
    a, b = pictures(10), pictures(10)
    write(tmp_path / "named" / "summer", a)
    write(tmp_path / "named" / "winter", b)
    splits = domains(tmp_path / "named", ("summer", "winter"), paired=True)
    for split in splits:  # missing splits are taken from both alike
        part = split.head(10)
        for x, y in zip(part["a"]["x"], part["b"]["x"], strict=True):
            assert any((x == a[i]).all() and (y == b[i]).all() for i in range(10))

    for folder, x in {"trainA": a, "trainB": b[:7], "testA": a[:2], "testB": b[:3]}.items():
        write(tmp_path / "lettered" / folder, x)
    splits = domains(tmp_path / "lettered")
    assert [len(splits.train.sources[k]) for k in "ab"] == [9, 6] and len(splits.test.sources["b"]) == 3
    np.testing.assert_array_equal(splits.test.head(3)["b"]["x"], b[:3])

    for split, n in {"train": 6, "val": 2, "test": 2}.items():
        write(tmp_path / "halves" / split, np.concatenate([a[:n], b[:n]], 2))
    splits = domains(tmp_path / "halves", paired=True)
    assert splits.train.event_shape == {"a": (6, 8, 3), "b": (6, 8, 3)}
    for split, n in zip(splits, (6, 2, 2), strict=True):
        np.testing.assert_array_equal(split.head(n)["a"]["x"], a[:n])
        np.testing.assert_array_equal(split.head(n)["b"]["x"], b[:n])


def test_folders_that_do_not_match_are_refused(tmp_path):
    write(tmp_path / "pairs" / "a", pictures(3))
    write(tmp_path / "pairs" / "b", pictures(3), ["000", "001", "003"])
    with pytest.raises(DataError, match="equal file names in both folders"):
        domains(tmp_path / "pairs", paired=True)
    with pytest.raises(DataError, match="must hold the folders 'x' and 'y', or 'trainA' and 'trainB'"):
        domains(tmp_path / "pairs", ("x", "y"))
    write(tmp_path / "odd", pictures(3, (4, 5)))
    with pytest.raises(DataError, match="must have an even width"):
        domains(tmp_path / "odd", paired=True)


def test_colorization_needs_no_files():
    splits = domains("colorization", paired=True)
    head = splits.test.head(2)
    np.testing.assert_allclose(head["a"]["x"][..., 0], head["b"]["x"].mean(-1), atol=0.51)
    assert splits.train.levels == {"a": 256, "b": 256}
