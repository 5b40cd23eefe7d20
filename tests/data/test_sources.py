import subprocess
import sys

import numpy as np
import pytest

from jaxgen.data import ArraySource, DataError, RecordSource, Splits, Zipped, carve

ROWS, SIZE, SEED = 23, 5, 3


def labelled(rows=ROWS, **options):
    x = np.arange(rows * 4, dtype=np.float32).reshape(rows, 2, 2)
    return ArraySource({"x": x, "label": np.arange(rows) % 3}, **{"num_classes": 3, "name": "toy", **options})


class Records:
    """The rows of `labelled` as records on disk would come; counts how it is read."""

    def __init__(self, rows=ROWS, whole_batches=True):
        self.arrays = labelled(rows).arrays
        self.reads = []
        if whole_batches:
            self.__getitems__ = lambda keys: [self[key] for key in keys]

    def __len__(self):
        return len(self.arrays["x"])

    def __getitem__(self, key):
        assert type(key) is int  # array_record takes no other integers
        self.reads.append(key)
        return {"image": self.arrays["x"][key], "kind": self.arrays["label"][key], "id": "text"}


def recorded(rows=ROWS, whole_batches=True):
    fields = {"x": "image", "label": "kind"}
    return RecordSource(Records(rows, whole_batches), fields, name="toy", num_classes=3)


@pytest.fixture(params=["arrays", "records", "single records"])
def source(request):
    return labelled() if request.param == "arrays" else recorded(whole_batches=request.param == "records")


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])
        assert a[key].dtype == b[key].dtype


def test_an_epoch_sees_every_row_once_but_for_its_ragged_tail(source):
    for epoch in range(3):
        seen = np.concatenate([source.indices_at(epoch * 4 + i, SIZE, SEED) for i in range(4)])
        assert len(seen) == len(set(seen.tolist())) == 20 and seen.min() >= 0 and seen.max() < ROWS
        assert seen.dtype == np.int32
        expected = np.random.default_rng((SEED, epoch)).permutation(ROWS)[:20]
        np.testing.assert_array_equal(seen, expected)


def test_epochs_and_seeds_differ_in_order(source):
    epochs = [source.indices_at(epoch, ROWS, SEED).tolist() for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert source.indices_at(0, ROWS, SEED + 1).tolist() != epochs[0]
    assert all(sorted(order) == list(range(ROWS)) for order in epochs)


def test_a_batch_does_not_depend_on_the_batches_before_it(source):
    before = {step: source.batch_at(step, SIZE, SEED) for step in (11, 0, 4, 3, 9, 11)}
    for step, batch in before.items():
        same(batch, labelled().batch_at(step, SIZE, SEED))


def test_indices_cannot_be_written_to_and_a_changed_batch_leaves_the_source_as_it_is(source):
    with pytest.raises(ValueError, match="read-only"):
        source.indices_at(0, SIZE, SEED)[0] = 0
    for batch in (source.batch_at(0, SIZE, SEED), source.head(SIZE), next(source.batches(SIZE))):
        batch["x"][:] = -1
    assert np.concatenate([batch["x"] for batch in source.batches(SIZE)]).min() == 0


@pytest.mark.parametrize("size, count", [(6, 3), (7, 3), (20, 2)])
def test_the_parts_of_all_processes_are_the_global_batch(source, size, count):
    for step in (0, 1, 5):
        parts = [source.batch_at(step, size, SEED, index, count) for index in range(count)]
        whole = source.batch_at(step, size, SEED)
        same({key: np.concatenate([part[key] for part in parts]) for key in whole}, whole)
        assert {len(part["x"]) for part in parts} <= {size // count, size // count + 1}


def test_head_and_batches_run_in_order_and_to_the_end(source):
    whole = labelled().arrays
    same(source.head(7), {key: array[:7] for key, array in whole.items()})
    same(source.head(10**6), whole)
    parts = list(source.batches(SIZE))
    assert [len(part["x"]) for part in parts] == [5, 5, 5, 5, 3]
    same({key: np.concatenate([part[key] for part in parts]) for key in whole}, whole)
    assert len(source) == ROWS and source.event_shape == (2, 2) and source.nbytes == ROWS * (16 + 4)


def test_more_rows_than_are_read_at_once_are_loaded():
    same(recorded(2500).load().arrays, labelled(2500).arrays)


def test_only_the_rows_of_a_batch_are_read():
    source = recorded()
    source.records.reads.clear()
    source.batch_at(2, 6, SEED, process_index=1, process_count=2)
    assert source.records.reads == source.indices_at(2, 6, SEED)[3:].tolist()
    assert not source.resident and labelled().resident


def test_subsets_of_subsets_and_loading(source):
    rows = np.array([20, 3, 7, 7, 1])
    part = source.subset(rows).subset(np.array([4, 0]))
    same(next(part.batches(9)), {key: array[[1, 20]] for key, array in labelled().arrays.items()})
    if not source.resident:
        same(source.subset(rows).load().arrays, {key: array[rows] for key, array in labelled().arrays.items()})


def test_conditional_adds_the_label_one_hot(source):
    conditional = source.conditional()
    batch = conditional.batch_at(1, SIZE, SEED)
    assert batch["context"].dtype == np.float32 and batch["context"].shape == (SIZE, 3)
    np.testing.assert_array_equal(batch["context"].argmax(1), batch["label"])
    np.testing.assert_array_equal(batch["context"].sum(1), 1)
    assert "context" not in source.batch_at(1, SIZE, SEED)
    with pytest.raises(DataError, match="toy must not have an array 'context' already"):
        conditional.conditional()


def test_a_context_is_made_of_the_rows_it_stands_beside(source):
    made = source.with_context(lambda rows: rows["x"].sum((1, 2)) + rows["label"])
    for part in (made, made.subset(np.array([5, 2, 9, 9, 1, 0]))):
        batch = part.batch_at(1, 3, SEED)
        np.testing.assert_array_equal(batch["context"], batch["x"].sum((1, 2)) + batch["label"])
        assert batch["context"].dtype == np.float32 and len(np.unique(batch["context"])) > 1
    assert "context" not in source.head(2)
    with pytest.raises(DataError, match="toy must not have an array 'context' already"):
        made.with_context(lambda rows: rows["x"])
    if not source.resident:
        same(made.load().arrays, made.head(ROWS))


def test_all_splits_there_are_get_a_context():
    splits = Splits(labelled(), None, labelled(4)).with_context(lambda rows: rows["x"] + 1)
    assert splits.valid is None
    for part, rows in ((splits.train, ROWS), (splits.test, 4)):
        np.testing.assert_array_equal(part.arrays["context"], labelled(rows).arrays["x"] + 1)


@pytest.mark.parametrize(
    "arrays, options, message",
    [
        ({"x": np.ones((3, 2))}, {"num_classes": 3}, "must have an array 'label' to be conditional"),
        ({"x": np.ones((3, 2)), "label": [0, 1, 2]}, {}, "num_classes must be known for a one-hot context, got None"),
        (
            {"x": np.ones((3, 2)), "label": np.ones((3, 4), int)},
            {"num_classes": 2},
            r"'label' must be .* got shape \(3, 4\)",
        ),
    ],
)
def test_a_context_needs_one_label_a_row(arrays, options, message):
    with pytest.raises(DataError, match=message):
        ArraySource(arrays, **options).conditional()


def test_types_are_those_that_jax_computes_in():
    source = ArraySource(
        {"x": [[0.5], [2.0]], "label": np.array([0, 1], np.uint8), "context": np.array([True, False]), "tokens": [7, 8]}
    )
    kinds = {key: array.dtype for key, array in source.arrays.items()}
    assert kinds == {"x": np.float32, "label": np.int32, "context": np.uint8, "tokens": np.int32}
    image = np.zeros((2, 4, 4, 1), np.uint8)
    assert ArraySource({"x": image}, levels=256).arrays["x"] is image  # neither copied nor cast


def row(value, at, dtype=np.float64):
    x = np.zeros((6, 2), dtype)
    x[at, 1] = value
    return {"x": x}


@pytest.mark.parametrize(
    "arrays, options, message",
    [
        ({"y": np.ones(3)}, {}, r"toy must have an array 'x', got \['y'\]"),
        ({"x": np.ones((3, 2)), "label": [0, 1]}, {}, r"same length, got \{'x': 3, 'label': 2\}"),
        ({"x": np.array([object()] * 3)}, {}, "array 'x' must be .* got object"),
        ({"x": np.array(["a", "b"])}, {}, "array 'x' must be .* got <U1"),
        ({"x": np.ones(3, complex)}, {}, "array 'x' must be .* got complex128"),
        ({"x": [[1.0], [1.0, 2.0]]}, {}, "array 'x' must have examples of the same shape, got a ragged list"),
        ({"x": np.ones((0, 2))}, {}, r"array 'x' must have .* got shape \(0, 2\)"),
        ({"x": 3.0}, {}, r"array 'x' must have .* got shape \(\)"),
        (row(np.nan, 4), {}, "array 'x' must be finite in float32, got NaN or infinity in example 4"),
        (row(-np.inf, 2), {}, "array 'x' must be finite in float32, got NaN or infinity in example 2"),
        (row(1e39, 5), {}, "array 'x' must be finite in float32, got NaN or infinity in example 5"),
        ({"x": np.ones((6, 1)), "context": row(np.nan, 1)["x"]}, {}, "array 'context' must be finite.* example 1"),
        ({"x": np.array([1, 2**31])}, {}, "array 'x' must fit int32, got integers from 1 to 2147483648"),
        (row(17, 3, np.uint8), {"levels": 17}, r"array 'x' must be in 0..16 \(levels=17\), .* example 3$"),
        (row(-1, 3, np.int8), {"levels": 256}, r"array 'x' must be in 0..255 .* example 3$"),
        (row(1, 1), {"levels": 256}, "array 'x' must be integers or levels None, got float32 with levels=256"),
        ({"x": np.ones((2, 1)), "label": [0.0, 1.0]}, {}, "array 'label' must be integers, got float32; convert"),
        ({"x": np.ones((2, 1)), "label": [0, 3]}, {"num_classes": 3}, r"array 'label' must be in 0..2 .* example 1$"),
        ({"x": np.ones((2, 1)), "label": [0, -1]}, {"num_classes": 3}, r"array 'label' must be in 0..2 .* example 1$"),
        (row(1, 1, np.uint8), {"levels": 1}, "toy: levels must be an integer >= 2, got 1"),
        (row(1, 1), {"num_classes": 2.5}, "toy: num_classes must be an integer >= 1, got 2.5"),
    ],
)
def test_wrong_arrays_are_refused_by_name(arrays, options, message):
    with pytest.raises(DataError, match=message) as error:
        ArraySource(arrays, name="toy", **options)
    assert str(error.value).startswith("toy") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, ROWS + 1, 0), f"size must be at most the {ROWS} examples of toy, got {ROWS + 1}"),
        ((0, 0, 0), "size must be an integer >= 1, got 0"),
        ((-1, 2, 0), "step must be an integer >= 0, got -1"),
        ((0, 2, -1), "seed must be an integer >= 0, got -1"),
        ((0, 2.0, 0), "size must be an integer >= 1, got 2.0"),
        ((0, 4, 0, 2, 2), "process_index must be below process_count=2, got 2"),
        ((0, 4, 0, 0, 5), "size must be at least process_count=5, got 4"),
    ],
)
def test_wrong_questions_are_refused_by_name(source, arguments, message):
    with pytest.raises(DataError, match=message):
        source.batch_at(*arguments)
    with pytest.raises(DataError, match="size must be an integer >= 1, got 0"):
        source.batches(0)


def test_wrong_records_are_refused_by_name():
    class Bad(Records):
        def __getitem__(self, key):
            x = [np.zeros(2), np.ones(2), np.array([0, np.nan]), np.ones(3), np.ones((1, 2))][key]
            return {"image": x, "kind": key}

    def bad(**fields):
        return RecordSource(Bad(5, False), fields, name="disk", num_classes=3)

    with pytest.raises(
        DataError, match=r"disk: records must have a feature 'picture', got features \['image', 'kind'\]"
    ):
        bad(x="picture")
    with pytest.raises(DataError, match=r"disk must have an array 'x', got \['label'\]"):
        bad(label="kind")
    source = bad(x="image", label="kind")
    with pytest.raises(DataError, match="array 'x' must be finite in float32, got NaN or infinity in example 2"):
        source.take(np.array([1, 2]))
    for rows in ([0, 3], [3], [4]):
        with pytest.raises(DataError, match="disk: feature 'image' must have the same shape"):
            source.take(np.array(rows))
    with pytest.raises(DataError, match="disk must have at least one example, got none"):
        RecordSource([], {"x": "image"}, name="disk")


def test_sources_with_long_epochs_draw_each_permutation_once(monkeypatch):
    from jaxgen.data import sources

    drawn = []
    draw = sources._permutation
    monkeypatch.setattr(sources, "_permutation", lambda *key: drawn.append(key) or draw(*key))
    zipped = Zipped({name: labelled() for name in "abc"})
    for step in range(8):
        zipped.batch_at(step, SIZE, SEED)
    assert len(drawn) == len(set(drawn)) == 3 * 2  # three sources, two epochs


def test_zipped_sources_are_each_their_own():
    zipped = Zipped({"a": labelled(), "b": labelled(), "c": recorded(11)})
    sizes = {"a": 4, "b": 4, "c": 2}
    indices, batch = zipped.indices_at(7, sizes, SEED), zipped.batch_at(7, sizes, SEED)
    assert {key: rows.shape for key, rows in indices.items()} == {"a": (4,), "b": (4,), "c": (2,)}
    for key in sizes:
        same(zipped.take(indices)[key], batch[key])
    same(batch["a"], labelled().take(indices["a"]))
    parts = [zipped.batch_at(7, sizes, SEED, index, 2) for index in range(2)]
    for key in sizes:
        same({name: np.concatenate([part[key][name] for part in parts]) for name in ("x", "label")}, batch[key])
    assert len(zipped) == 11 and not zipped.resident and zipped.event_shape["c"] == (2, 2)
    assert zipped.nbytes == (23 + 23 + 11) * 20
    assert {key: len(part["x"]) for key, part in zipped.head({"a": 9, "b": 1, "c": 2}).items()} == {
        "a": 9, "b": 1, "c": 2,
    }  # fmt: skip


def test_equal_sources_are_not_aligned():
    rows = 1000
    zipped = Zipped({"a": labelled(rows), "b": labelled(rows)})
    met = [zipped.indices_at(step, 50, SEED) for step in range(40)]
    a, b = (np.concatenate([indices[key] for indices in met]) for key in "ab")
    assert (a == b).sum() < 15  # two expected by chance in 2000
    assert sorted(a[:rows]) == sorted(b[:rows]) == list(range(rows))


def test_zipped_evaluation_ends_with_the_shortest():
    zipped = Zipped({"long": labelled(23), "short": labelled(7)})
    met = [(len(batch["long"]["x"]), len(batch["short"]["x"])) for batch in zipped.batches(3)]
    assert met == [(3, 3), (3, 3), (1, 1)]  # equally many of each: a batch's mean has one weight


def test_zipped_arrays_are_nested_and_zips_nest():
    a, b = labelled(), labelled(7)
    inner = Zipped({"a": a, "b": b})
    outer = Zipped({"pair": inner, "a": a})
    assert outer.resident and outer.arrays["pair"]["b"]["x"] is b.arrays["x"]
    indices = outer.indices_at(1, 3, SEED)
    assert (indices["a"] != indices["pair"]["a"]).any()
    same(outer.take(indices)["pair"]["b"], b.take(indices["pair"]["b"]))


def test_wrong_zips_are_refused_by_name():
    with pytest.raises(DataError, match="must not be empty"):
        Zipped({})
    with pytest.raises(DataError, match=r"an entry for each of \['a', 'b'\], got \['a'\]"):
        Zipped({"a": labelled(), "b": labelled()}).batch_at(0, {"a": 2}, 0)
    with pytest.raises(DataError, match="size must be at most the 11 examples of toy, got 12"):
        Zipped({"a": labelled(), "b": labelled(11)}).batch_at(0, 12, 0)


@pytest.mark.parametrize("make", [labelled, recorded])
@pytest.mark.parametrize("given, sizes", [((), (80, 10, 10)), (("valid",), (90, 4, 10)), (("test",), (90, 10, 4))])
def test_missing_splits_are_carved_from_train(make, given, sizes):
    extra = labelled(4)
    splits = carve(make(100), **dict.fromkeys(given, extra))
    assert tuple(map(len, splits)) == sizes
    assert all(getattr(splits, name) is extra for name in given)
    carved = [source for source in splits if source is not extra]
    rows = np.concatenate([source.head(100)["x"][:, 0, 0] for source in carved])
    assert sorted(rows) == [4 * i for i in range(100)]
    again = carve(make(100), **dict.fromkeys(given, extra))
    same(again.train.head(100), splits.train.head(100))


def test_carving_leaves_what_is_whole_and_refuses_what_is_too_small():
    a, b, c = labelled(), labelled(2), labelled(1)
    assert carve(a, b, c) == (a, b, c)
    assert tuple(map(len, carve(labelled(3)))) == (1, 1, 1)
    with pytest.raises(DataError, match="toy must have at least 3 examples to be split, got 2"):
        carve(labelled(2))


def test_importing_is_light():
    heavy = "{'tensorflow_datasets', 'sklearn', 'matplotlib', 'PIL', 'tensorflow'}"
    code = f"import sys, jaxgen.data; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


LABELS = np.arange(ROWS) % 3
ONE_HOT = np.eye(3)[LABELS]


@pytest.mark.parametrize(
    "label",
    [LABELS[:, None], LABELS[:, None].astype("u1"), ONE_HOT, ONE_HOT.astype(int), ONE_HOT == 1, ONE_HOT.tolist()],
)
@pytest.mark.parametrize("classes", [None, 3])
def test_labels_of_a_column_and_one_hot_ones_become_integers(label, classes):
    x = np.arange(ROWS, dtype=np.float32)
    column = np.shape(label)[1] == 1
    known = None if column and classes is None else 3
    resident = ArraySource({"x": x, "label": label}, num_classes=classes)
    records = [{"a": x[i], "b": label[i]} for i in range(ROWS)]
    streamed = RecordSource(records, {"x": "a", "label": "b"}, num_classes=classes)
    every = np.arange(ROWS)
    for source in (resident, streamed, streamed.load(), streamed.subset(every), resident.subset(every)):
        rows = source.take(np.arange(ROWS))["label"]
        np.testing.assert_array_equal(rows, LABELS)
        assert rows.dtype == np.int32 and source.num_classes == known
    if known:
        np.testing.assert_array_equal(streamed.conditional().head(ROWS)["context"], ONE_HOT)


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 1)])
def test_boolean_labels_are_two_classes(shape):
    source = ArraySource({"x": np.ones(ROWS), "label": (LABELS == 1).reshape(shape)})
    np.testing.assert_array_equal(source.arrays["label"], LABELS == 1)
    assert source.num_classes == 2 and source.arrays["label"].dtype == np.int32


@pytest.mark.parametrize(
    "label, classes, remedy",
    [
        (ONE_HOT + ONE_HOT[:, ::-1], None, "context"),
        (0 * ONE_HOT, None, "context"),
        (0.9 * ONE_HOT + 0.1 / 3, None, "context"),
        (2 * ONE_HOT - 1, None, "context"),
        (ONE_HOT, 4, r"one-hot \[N, 4\]"),
        (ONE_HOT[:, None], None, "one integer per example"),
        (LABELS.astype(float), 3, r"\.astype\(int\)"),
        (LABELS[:, None].astype(float), 3, r"\.astype\(int\)"),
    ],
)
def test_other_labels_are_refused_with_the_remedy(label, classes, remedy):
    with pytest.raises(DataError, match=f"mine: array 'label' .*{remedy}"):
        ArraySource({"x": np.ones(ROWS), "label": label}, num_classes=classes, name="mine")


SEEDED = {
    "source": lambda seed: labelled().batch_at(0, 2, seed),
    "zipped": lambda seed: Zipped({"a": labelled()}).indices_at(0, 2, seed),
}


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63, 2**64, 0.5, "1", None])
@pytest.mark.parametrize("draw", SEEDED)
def test_seeds_are_of_32_bits(draw, seed):
    """2^32 in epoch 0 was seed 0 in epoch 1."""
    with pytest.raises(DataError, match="seed must be"):
        SEEDED[draw](seed)
    SEEDED[draw](2**32 - 1)
