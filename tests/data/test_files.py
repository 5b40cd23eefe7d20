import numpy as np
import pytest

from jaxgen.data import DataError, source

RNG = np.random.default_rng(0)


@pytest.fixture
def save(tmp_path):
    def save(**arrays):
        np.savez_compressed(tmp_path / "set.npz", **arrays)
        return source("set.npz", data_dir=tmp_path)

    return save


def images(n, first=0):
    """Distinct 5x6 images: the first two pixels count."""
    x = RNG.integers(256, size=(n, 5, 6)).astype(np.uint8)
    x[:, 0, 0], x[:, 0, 1] = (first + np.arange(n)) // 256, (first + np.arange(n)) % 256
    return x


def numbers(part):
    return part.arrays["x"][:, 0, :2, 0].astype(int) @ [256, 1]


def test_a_file_laid_out_like_mnist(save):
    """x_train and x_test: test stays as it is, and a tenth of train becomes valid, with its own labels."""
    splits = save(
        x_train=images(200),
        y_train=np.arange(200, dtype=np.uint8) % 10,
        x_test=images(30, 200),
        y_test=np.arange(30) % 5,
    )
    assert [len(part) for part in splits] == [180, 20, 30]
    for part in splits:
        assert (part.levels, part.num_classes, part.event_shape) == (256, 10, (5, 6, 1))
        assert part.arrays["x"].dtype == np.uint8 and part.arrays["label"].dtype == np.int32
    np.testing.assert_array_equal(numbers(splits.test), 200 + np.arange(30))
    np.testing.assert_array_equal(splits.test.arrays["label"], np.arange(30) % 5)
    order = np.random.default_rng(0).permutation(200)
    np.testing.assert_array_equal(numbers(splits.train), order[:180])
    np.testing.assert_array_equal(numbers(splits.valid), order[180:])
    for part in splits[:2]:
        np.testing.assert_array_equal(part.arrays["label"], numbers(part) % 10)
    assert [part.name for part in splits] == ["set.npz (train)", "set.npz (valid)", "set.npz (test)"]


def test_all_splits_in_the_file_stay_as_they_are(save):
    arrays = {f"x_{split}": RNG.normal(size=(n, 3)) for split, n in (("train", 7), ("valid", 5), ("test", 2))}
    splits = save(**arrays, context_train=RNG.normal(size=(7, 2)), unrelated=np.array(["text"]))
    for split, part in splits._asdict().items():
        np.testing.assert_array_equal(part.arrays["x"], arrays[f"x_{split}"].astype(np.float32))
        assert part.levels is None and part.num_classes is None
    assert splits.train.arrays["context"].shape == (7, 2)


@pytest.mark.parametrize("key", ["y", "label", "labels"])
def test_a_file_without_splits_is_split_by_tenths(save, key):
    x = np.arange(100.0)[:, None]
    splits = save(x=x, **{key: np.arange(100) // 25})
    assert [len(part) for part in splits] == [80, 10, 10]
    assert sorted(np.concatenate([part.arrays["x"][:, 0] for part in splits])) == list(range(100))
    for part in splits:
        np.testing.assert_array_equal(part.arrays["label"], part.arrays["x"][:, 0] // 25)
        assert part.num_classes == 4


def test_a_file_of_records(save):
    """num_* is x, cat_* categories, y_* the label, whatever follows the name of the split."""
    parts = {"train20": 50, "test": 7, "test21": 3}
    numbers = {part: RNG.normal(size=(n, 4)) for part, n in parts.items()}
    kinds = {part: RNG.integers(9, size=(n, 2)).astype(np.uint8) for part, n in parts.items()}
    labels = {part: RNG.integers(2, size=n).astype(np.uint8) for part, n in parts.items()}
    splits = save(
        **{f"num_{part}": x for part, x in numbers.items()}, **{f"cat_{part}": x for part, x in kinds.items()},
        **{f"y_{part}": y for part, y in labels.items()}, names=np.array(["a", "b"]),
    )
    assert [len(part) for part in splits] == [45, 5, 7]
    assert all((part.levels, part.num_classes, part.event_shape) == (None, 2, (4,)) for part in splits)
    np.testing.assert_array_equal(splits.test.arrays["x"], numbers["test"].astype(np.float32))
    np.testing.assert_array_equal(splits.test.arrays["categories"], kinds["test"])
    np.testing.assert_array_equal(splits.test.arrays["label"], labels["test"])
    order = np.random.default_rng(0).permutation(50)
    np.testing.assert_array_equal(splits.valid.arrays["categories"], kinds["train20"][order[45:]])


def test_two_training_splits_of_records_are_refused(save):
    rows = RNG.normal(size=(5, 2))
    with pytest.raises(DataError, match="must have one array 'num_train.*, got .*'num_train20', 'num_train100'"):
        save(num_train20=rows, num_train100=rows)


def test_npy_files_are_data_alone(tmp_path):
    np.save(tmp_path / "x.npy", images(20))
    splits = source(tmp_path / "x.npy")
    assert [len(part) for part in splits] == [16, 2, 2] and splits.train.event_shape == (5, 6, 1)
    assert set(splits.train.arrays) == {"x"}


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_black_and_white_images_have_two_levels(save, dtype):
    x = RNG.integers(2, size=(20, 4, 5)).astype(dtype)
    splits = save(x=x)
    assert splits.train.levels == 2 and splits.train.event_shape == (4, 5, 1)
    assert splits.train.arrays["x"].dtype == np.uint8
    assert save(x_train=np.zeros_like(x), x_test=x).train.levels == 2
    if dtype == np.uint8:  # one split of the file is not black and white
        assert save(x_train=x, x_test=2 * x).train.levels == 256


def test_vectors_and_colour_images_keep_their_shape(save):
    assert save(x=np.zeros((10, 7), np.uint8) + 9).train.event_shape == (7,)
    assert save(x=np.zeros((10, 4, 4, 3), np.uint8)).train.event_shape == (4, 4, 3)
    assert save(x=np.zeros((10, 4, 4))).train.event_shape == (4, 4)  # real-valued: not an image


class Trap:
    """Unpickling this fails the test."""

    def __reduce__(self):
        return pytest.fail, ("an object was unpickled",)


@pytest.mark.parametrize("key", ["x", "x_train", "y"])
def test_objects_are_refused_without_being_unpickled(save, key):
    objects = np.array([Trap()] * 10, dtype=object)
    with pytest.raises(
        DataError, match=f"set.npz: array '{key}' must hold numeric arrays, got pickled Python objects"
    ):
        save(**({"x": np.ones(10)} if key == "y" else {}), **{key: objects})


@pytest.mark.parametrize("content", ["object array", "pickle"])
def test_npy_objects_are_refused_without_being_unpickled(tmp_path, content):
    import pickle

    path = tmp_path / "x.npy"
    if content == "pickle":
        path.write_bytes(pickle.dumps(Trap()))
    else:
        np.save(path, np.array([Trap()], dtype=object))
    with pytest.raises(DataError, match="x.npy must hold numeric arrays, got pickled Python objects"):
        source(path)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"data": np.ones(9)}, r"set.npz must have an array 'x' or 'x_train', got \['data'\]"),
        ({"x_test": np.ones(9)}, r"must have 'x_train', got \['x_test'\]"),
        ({"x": np.ones(2)}, "at least 3 examples to be split, got 2"),
        ({"x": np.array(["a"] * 9)}, r"set.npz \(train\): array 'x' must be .* got <U1"),
        ({"x": np.ones(9), "y": np.ones(8, int)}, "must have the same length"),
        ({"x": np.ones(9), "y": np.ones(9)}, "'label' must be integers, got float32"),
        ({"x": np.ones(9), "y": np.arange(9) - 1}, "'label' must be in 0..7"),
        (
            {"x_train": np.ones((9, 2)), "x_test": np.ones((9, 3))},
            r"splits must have the same .*float64\[2\].*float64\[3\]",
        ),
        ({"x_train": np.ones((9, 2)), "x_test": np.ones((9, 2), np.uint8)}, "splits must have the same .*uint8"),
        (
            {"x_train": np.ones((9, 2)), "x_test": np.full((9, 2), np.nan)},
            r"\(test\): array 'x' must be finite .* example 0",
        ),
        (
            {"x_train": np.ones((0, 2)), "x_test": np.ones((9, 2))},
            r"\(train\): array 'x' must have .* got shape \(0, 2\)",
        ),
    ],
)
def test_wrong_files_are_refused_by_name(save, arrays, message):
    with pytest.raises(DataError, match=message):
        save(**arrays)


@pytest.mark.parametrize("name", ["none.npz", "none.npy"])
def test_missing_files_are_named(tmp_path, name):
    with pytest.raises(
        DataError, match=f"{name} must be the path of a .npy or .npz file, got a file that does not exist"
    ):
        source(name, data_dir=tmp_path)


def test_damaged_files_are_named(tmp_path):
    np.savez_compressed(tmp_path / "whole.npz", x=RNG.normal(size=(50, 8)), y=np.arange(50))
    whole = (tmp_path / "whole.npz").read_bytes()
    damaged = bytearray(whole)
    damaged[300:340] = bytes(40)
    contents = {
        "empty.npz": b"",
        "empty.npy": b"",
        "text.npy": b"1, 2, 3\n",
        "cut.npz": whole[:-30],
        "body.npz": bytes(damaged),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            source(tmp_path / name)
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(DataError, match="folder.npy cannot be read"):
        source(tmp_path / "folder.npy")


def test_paths_may_begin_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", np.ones((10, 2)))
    assert len(source("~/x.npy").train) == len(source("x.npy", data_dir="~").train) == 8


@pytest.mark.parametrize(
    "make, classes",
    [
        (lambda y: y[:, None], 3),
        (lambda y: np.eye(5)[y], 5),
        (lambda y: np.eye(5, dtype=bool)[y], 5),
        (lambda y: y > 0, 2),
    ],
)
def test_labels_of_a_column_one_hot_and_boolean_ones_are_classes(save, make, classes):
    """One-hot labels count all columns, including classes that a split lacks."""
    y = np.arange(40) % 3
    splits = save(x_train=y.astype(float), y_train=make(y), x_test=y[:7].astype(float), y_test=make(y[:7]))
    for part in splits:
        x = part.arrays["x"].astype(int)
        np.testing.assert_array_equal(part.arrays["label"], x > 0 if classes == 2 else x)
        assert part.num_classes == classes and part.conditional().arrays["context"].shape[1] == classes


def test_further_arrays_are_named_by_the_caller(tmp_path):
    """Labels under any name, and other columns beside them, in all splits."""
    subject, light = np.arange(60) % 7, np.arange(60) % 4
    arrays = {"x": images(60), "subject": subject, "light": light, "y": np.zeros(60, int)}
    parts = {
        f"{name}_{split}": a[rows]
        for name, a in arrays.items()
        for split, rows in (("train", slice(40)), ("test", slice(40, 60)))
    }
    np.savez(tmp_path / "set.npz", **parts)
    splits = source(tmp_path / "set.npz", arrays={"label": "subject", "factor": "light"})
    for part in splits:
        np.testing.assert_array_equal(part.arrays["label"], numbers(part) % 7)
        np.testing.assert_array_equal(part.arrays["factor"], numbers(part) % 4)
    assert splits.train.num_classes == 7 and set(splits.test.arrays) == {"x", "label", "factor"}
    with pytest.raises(DataError, match=r"must have the arrays \['lamp_train'\], got"):
        source(tmp_path / "set.npz", arrays={"factor": "lamp"})
    with pytest.raises(DataError, match="`arrays` must be empty for data other than .npz files"):
        source("digits", arrays={"label": "subject"})
    np.save(tmp_path / "one.npy", images(30))
    with pytest.raises(DataError, match="must be a .npz file with arrays"):
        source(tmp_path / "one.npy", arrays={"label": "subject"})
