import importlib.resources.abc
import io
import json
import sys

import numpy as np
import pytest

from jaxgen.data import ArraySource, DataError, RecordSource, prepare, records, source

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")
features = tensorflow_datasets.features
# TensorFlow Datasets wants it to prepare, not to read; where it is missing the standard library's will do
sys.modules.setdefault("importlib_resources", importlib.resources)


def build(folder, name, row_features, splits, **options):
    """Prepares a set as array_record, as `prepare` would; `splits` are lists of rows."""

    class Builder(tensorflow_datasets.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tensorflow_datasets.core.Version(options.get("version", "1.0.0"))

        def _info(self):
            return tensorflow_datasets.core.DatasetInfo(builder=self, features=features.FeaturesDict(row_features))

        def _split_generators(self, dl_manager):
            return {split: enumerate(rows) for split, rows in splits.items()}

        def _generate_examples(self):
            raise NotImplementedError

    Builder.name = name
    Builder(data_dir=folder, file_format="array_record").download_and_prepare()


def points(first, n):
    return [{"x": np.full((3,), i, np.float32), "label": i % 4} for i in range(first, first + n)]


POINTS = {"x": features.Tensor(shape=(3,), dtype=np.float32), "label": features.ClassLabel(num_classes=4)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Own sets of tensors, and one in the very layout of the official mnist."""
    folder = tmp_path_factory.mktemp("tfds")
    build(folder, "points", POINTS, {"train": points(0, 40), "test": points(40, 6)})
    build(folder, "split_points", POINTS, {"train": points(0, 9), "validation": points(9, 3), "test": points(12, 2)})
    build(folder, "only_test", POINTS, {"test": points(0, 4)})
    build(folder, "text", {"text": features.Text()}, {"train": [{"text": "a"}]})
    image = {"image": features.Image(shape=(28, 28, 1)), "label": features.ClassLabel(num_classes=10)}
    build(folder, "mnist", image, {"train": pngs(0, 50), "test": pngs(50, 10)}, version="3.0.1")
    return folder


def pngs(first, n):
    """Rows as the official builder gives them: encoded images."""
    from PIL import Image

    rows = []
    for i in range(first, first + n):
        buffer = io.BytesIO()
        Image.fromarray(picture(i)).save(buffer, "PNG")
        rows.append({"image": io.BytesIO(buffer.getvalue()), "label": i % 10})
    return rows


def picture(i):
    return (np.add.outer(np.arange(28), 2 * np.arange(28)) + i).astype(np.uint8)


@pytest.mark.parametrize("limit", [records.RESIDENT_BYTES, 100])
def test_own_tensors_are_read(prepared, monkeypatch, limit):
    monkeypatch.setattr(records, "RESIDENT_BYTES", limit)
    splits = source("tfds:points", data_dir=prepared)
    kind = RecordSource if limit == 100 else ArraySource
    assert all(type(part) is kind for part in splits)
    assert [len(part) for part in splits] == [36, 4, 6]
    rows = [next(part.batches(100)) for part in splits]
    seen = [batch["x"][:, 0].astype(int) for batch in rows]
    assert set(seen[2]) == set(range(40, 46)) and set(seen[0]) | set(seen[1]) == set(range(40))
    for part, batch, x in zip(splits, rows, seen, strict=True):
        np.testing.assert_array_equal(batch["x"], np.repeat(x[:, None], 3, 1))
        np.testing.assert_array_equal(batch["label"], x % 4)
        assert (part.levels, part.num_classes, part.event_shape) == (None, 4, (3,))
        assert batch["x"].dtype == np.float32 and batch["label"].dtype == np.int32
    assert splits.train.conditional().head(2)["context"].shape == (2, 4)
    assert splits.valid.name == "tfds:points (valid)"


def test_records_and_arrays_give_the_same_batches(prepared, monkeypatch):
    resident = source("tfds:points", data_dir=prepared)
    monkeypatch.setattr(records, "RESIDENT_BYTES", 0)
    on_disk = source("tfds:points", data_dir=prepared)
    for a, b in zip(resident, on_disk, strict=True):
        for step in (5, 0):
            batches = [part.batch_at(step, 3, 1, 1, 2) for part in (a, b)]
            np.testing.assert_array_equal(batches[0]["x"], batches[1]["x"])
            np.testing.assert_array_equal(batches[0]["label"], batches[1]["label"])


def test_a_validation_split_is_used_as_it_is(prepared):
    splits = source("tfds:split_points:1.0.0", data_dir=str(prepared))
    assert [sorted(part.arrays["x"][:, 0]) for part in splits] == [list(range(9)), [9, 10, 11], [12, 13]]


def test_a_prepared_mnist_is_opened_by_its_name(prepared):
    splits = source("tfds:mnist", data_dir=prepared)
    assert [len(part) for part in splits] == [45, 5, 10]
    for part in splits:
        assert (part.levels, part.num_classes, part.event_shape, part.resident) == (256, 10, (28, 28, 1), True)
        assert part.arrays["x"].dtype == np.uint8
    x, label = (np.concatenate([part.arrays[key] for part in splits]) for key in ("x", "label"))
    number = x[:, 0, 0, 0]
    assert sorted(number) == list(range(60)) and set(splits.test.arrays["x"][:, 0, 0, 0]) == set(range(50, 60))
    np.testing.assert_array_equal(label, number % 10)
    np.testing.assert_array_equal(x[..., 0], [picture(i) for i in number])


@pytest.mark.parametrize("name, shape", [("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))])
def test_official_sets_have_features_that_are_understood(name, shape):
    """The official builder's features, with rows drawn from them at random."""
    from tensorflow_datasets.testing import mocking

    def rows(builder, split=None, **_):
        fake = mocking.RandomFakeGenerator(builder.info.features, 20)
        return {split: [fake[i] for i in range(20)] for split in ("train", "test")}

    with tensorflow_datasets.testing.mock_data(as_data_source_fn=rows):
        splits = source(f"tfds:{name}")
    assert [len(part) for part in splits] == [18, 2, 20]
    for part in splits:
        assert (part.event_shape, part.levels, part.num_classes) == (shape, 256, 10)
        assert set(part.arrays) == {"x", "label"} and part.arrays["x"].dtype == np.uint8


def test_a_set_that_is_not_prepared_says_what_to_run(tmp_path, monkeypatch):
    with pytest.raises(DataError) as error:
        source("tfds:mnist", data_dir=tmp_path)
    assert str(error.value) == (
        f"tfds:mnist is not prepared under {tmp_path}: run `python -m jaxgen.data.prepare mnist "
        f'--data-dir {tmp_path}` after `pip install "jaxgen[tf]"`'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    with pytest.raises(DataError) as error:
        source("tfds:cifar10")
    assert "tfds:cifar10 is not prepared under ~/tensorflow_datasets" in str(error.value)
    assert 'run `python -m jaxgen.data.prepare cifar10` after `pip install "jaxgen[tf]"`' in str(error.value)


@pytest.fixture
def as_tfrecord(tmp_path):
    """mnist as TensorFlow Datasets prepares it by default."""
    image = {"image": features.Image(shape=(28, 28, 1)), "label": features.ClassLabel(num_classes=10)}
    build(tmp_path, "mnist", image, {"train": pngs(0, 3)}, version="3.0.1")
    info = tmp_path / "mnist" / "3.0.1" / "dataset_info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "fileFormat": "tfrecord"}))
    for file in info.parent.glob("*array_record*"):
        file.rename(info.parent / file.name.replace("array_record", "tfrecord"))
    return tmp_path


def test_tfrecords_say_what_to_run(as_tfrecord):
    with pytest.raises(DataError) as error:
        source("tfds:mnist", data_dir=as_tfrecord)
    assert str(error.value) == (
        f"tfds:mnist is prepared under {as_tfrecord} as tfrecord, which only TensorFlow reads: run `python -m "
        f'jaxgen.data.prepare mnist --data-dir {as_tfrecord}-array-record` after `pip install "jaxgen[tf]"`'
    )


@pytest.mark.parametrize(
    "name, message",
    [
        ("mnits", "tfds:mnits is unknown to TensorFlow Datasets .*did you mean 'mnist'"),
        ("mn ist", "tfds:mn ist cannot be opened: .*mn ist"),
        ("mnist/none", "tfds:mnist/none cannot be opened: .*BuilderConfig none not found"),
        ("mnist:9.9.9", "tfds:mnist:9.9.9 cannot be opened: .*only: 3.0.1"),
        ("", "must be named tfds:dataset, .* got tfds:$"),
        ("huggingface:mnist", "must be named tfds:dataset, .* got tfds:huggingface:mnist$"),
        ("only_test", r"tfds:only_test must have a split 'train', got \['test'\]"),
        ("text", r"tfds:text must have one image or one tensor, got features \['text'\]"),
    ],
)
def test_wrong_names_and_sets_are_refused(prepared, name, message):
    with pytest.raises(DataError, match=message) as error:
        source(f"tfds:{name}", data_dir=prepared)
    assert "\n" not in str(error.value)


def test_preparing_without_tensorflow_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: None if name == "tensorflow" else "found")
    assert prepare.main(["mnist"]) == 2
    captured = capsys.readouterr()
    assert captured.err == (
        'python -m jaxgen.data.prepare: preparing mnist needs tensorflow: run `pip install "jaxgen[tf]"`\n'
    )
    assert captured.out == ""


@pytest.fixture
def with_tensorflow(monkeypatch):
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: "found")


@pytest.mark.parametrize("name", ["mnist", "tfds:mnist"])
def test_preparing_writes_array_record_where_source_looks(with_tensorflow, monkeypatch, capsys, tmp_path, name):
    """The official builder, but for its rows: those it would download."""
    builder = tensorflow_datasets.builder_cls("mnist")
    monkeypatch.setattr(builder, "_split_generators", lambda self, manager: {"train": enumerate(pngs(0, 20))})
    assert prepare.main([name, "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(f"tfds:mnist is ready in {tmp_path}/mnist/3.0.1\n")
    assert list(tmp_path.glob("mnist/3.0.1/*.array_record*"))
    splits = source("tfds:mnist", data_dir=tmp_path)
    assert sorted(np.concatenate([part.arrays["x"][:, 0, 0, 0] for part in splits])) == list(range(20))
    assert prepare.main([name, "--data-dir", str(tmp_path)]) == 0  # once more does nothing


def test_preparing_leaves_other_formats_alone(with_tensorflow, capsys, as_tfrecord):
    assert prepare.main(["mnist", "--data-dir", str(as_tfrecord)]) == 2
    assert "as tfrecord: choose another --data-dir" in capsys.readouterr().err


def test_preparing_an_unknown_set_names_near_ones(with_tensorflow, capsys, tmp_path):
    assert prepare.main(["mnits", "--data-dir", str(tmp_path)]) == 2
    assert "did you mean 'mnist'" in capsys.readouterr().err
