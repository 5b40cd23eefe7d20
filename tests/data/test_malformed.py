"""Arrays, files, names and numbers that are malformed."""

import gzip
import io
import zipfile

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from jaxgen.data import ArraySource, RecordSource, Zipped, attributes, source
from jaxgen.data.images import low_resolution
from jaxgen.data.tables import Columns
from jaxgen.training.loop import as_splits
from tests.malformed import examples, outcome, refused

ROWS = 6
X = np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2)
SOURCE = ArraySource({"x": X, "label": np.arange(ROWS) % 2}, num_classes=2)

BAD_ARRAYS = {
    "words": np.array(["a"] * ROWS),
    "bytes": np.array([b"a"] * ROWS),
    "objects": np.array([{}] * ROWS),
    "complex": X.astype(complex),
    "dates": np.full(ROWS, "2020-01-01", "datetime64[D]"),
    "spans": np.full(ROWS, 1, "timedelta64[s]"),
    "nan": np.full((ROWS, 2), np.nan),
    "infinite": np.full(X.shape, np.inf),
    "beyond float32": np.full((ROWS, 2), 1e300),
    "beyond int32": np.full(ROWS, 2**40),
    "beyond int64": np.full(ROWS, 2**63, np.uint64),
    "no rows": X[:0],
    "no features": X[:, :0],
    "a number": np.float32(1),
    "ragged": [[1.0], [1.0, 2.0]] * (ROWS // 2),
    "none": None,
    "text": "digits",
    "a set": {1, 2},
    "keys": jax.random.split(jax.random.key(0), ROWS),
    "masked": np.ma.masked_array(X, X > 3),
    "fields": np.zeros(ROWS, [("a", "f4")]),
    "other rows": X[:-1],
    "a function": len,
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@examples(80)
@hypothesis.given(st.sampled_from(sorted(BAD_ARRAYS)), st.sampled_from(["x", "label", "context"]))
def test_arrays_that_are_no_rows_of_numbers_are_named(kind, key):
    arrays = {"x": X, key: BAD_ARRAYS[kind]}
    if kind == "other rows" and key == "x":
        arrays["label"] = np.arange(ROWS)
    refused(lambda: ArraySource(arrays, name="mine"), "mine", key)


@pytest.mark.parametrize("arrays", [None, [1, 2], X, "x", {}, {"y": X}, {3: X}, {3: X, "y": X}])
def test_what_is_no_mapping_with_an_x_is_refused(arrays):
    refused(lambda: ArraySource(arrays), "'x'")


@examples(60)
@hypothesis.given(
    st.sampled_from(
        [np.float64, np.float16, np.int8, np.uint8, np.uint16, np.int64, np.uint64, np.longdouble, bool, list]
    )
)
def test_arrays_of_other_types_are_the_same_numbers(kind):
    given = X.astype(int).tolist() if kind is list else X.astype(kind)
    found = ArraySource({"x": given})
    expected = X.astype(bool) if kind is bool else X
    np.testing.assert_array_equal(found.arrays["x"], expected)
    assert found.arrays["x"].dtype.itemsize <= 4


@pytest.mark.parametrize("label", [[0, 1, 2, 3, 4, -1], [0, 1, 2, 3, 4, 9], [0.0, 1, 0, 1, 0, 1], ["a"] * 6])
def test_labels_that_are_no_classes_are_refused(label):
    refused(lambda: ArraySource({"x": X, "label": label}, num_classes=5), "label")


@pytest.mark.parametrize("levels", [0, 1, -3, 2.5, "2", True, float("nan")])
def test_levels_are_whole_numbers_of_at_least_two(levels):
    refused(lambda: ArraySource({"x": np.zeros((3, 2), np.uint8)}, levels=levels), "levels")


def test_levels_and_values_agree():
    refused(lambda: ArraySource({"x": np.full((3, 2), 7, np.uint8)}, levels=7), "levels")
    refused(lambda: ArraySource({"x": X}, levels=300), "levels")


NO_COUNTS = st.one_of(
    st.integers(max_value=-1),
    st.floats(),
    st.none(),
    st.text(),
    st.complex_numbers(),
    st.lists(st.integers()),
    st.binary(),
)
ASKED = {
    "n": lambda v: SOURCE.head(v),
    "size": lambda v: SOURCE.indices_at(0, v, 0),
    "step": lambda v: SOURCE.indices_at(v, 2, 0),
    "seed": lambda v: SOURCE.indices_at(0, 2, v),
    "process_index": lambda v: SOURCE.batch_at(0, 4, 0, v, 2),
    "process_count": lambda v: SOURCE.batch_at(0, 4, 0, 0, v),
    "size ": lambda v: list(SOURCE.batches(v)),
    "size  ": lambda v: Zipped({"a": SOURCE}).batch_at(0, v, 0),
}


@examples(120)
@hypothesis.given(st.sampled_from(sorted(ASKED)), NO_COUNTS)
def test_numbers_that_are_no_counts_are_named(name, value):
    refused(lambda: ASKED[name](value), name.strip(), " must be ")


@pytest.mark.parametrize(
    "call",
    [
        lambda: SOURCE.indices_at(0, 7, 0),
        lambda: SOURCE.indices_at(0, 10**20, 0),
        lambda: SOURCE.indices_at(0, 0, 0),
        lambda: SOURCE.batch_at(0, 4, 0, 2, 2),
        lambda: SOURCE.batch_at(0, 1, 0, 0, 2),
    ],
)
def test_batches_larger_than_the_set_are_refused(call):
    refused(call)


BAD_ROWS = ([0, 9], [-1], [0.5], ["a"], None, 9, [[0, 1]], [], [True, False], "0", {0: 1}, [[0], [1, 2]], [2**70])


@pytest.mark.parametrize("rows", BAD_ROWS)
def test_rows_that_are_not_there_make_no_subset(rows):
    records = RecordSource([{"v": [1.0]}] * ROWS, {"x": "v"})
    refused(lambda: SOURCE.subset(rows), "indices")
    refused(lambda: records.subset(rows), "indices")


BAD_RECORDS = {
    "none": None,
    "a number": 3,
    "no rows": [],
    "numbers": [1, 2],
    "words": [{"v": "a"}],
    "bytes": [{"v": b"a"}],
    "ragged": [{"v": [[1], [1, 2]]}],
    "another feature": [{"w": 1.0}],
    "complex": [{"v": 1j}],
    "an object": [{"v": {}}],
    "nan": [{"v": np.nan}],
}


@pytest.mark.parametrize("kind", BAD_RECORDS)
def test_records_that_are_no_rows_are_refused(kind):
    refused(lambda: RecordSource(BAD_RECORDS[kind], {"x": "v"}, name="mine"), "mine")


@pytest.mark.parametrize("second", [{"w": 1.0}, {"v": [1.0]}, {}, 3, None, {"v": np.nan}, {"v": "a"}])
def test_records_that_differ_from_the_first_are_refused(second):
    mine = RecordSource([{"v": 1.0}, second], {"x": "v"}, name="mine")
    refused(lambda: mine.take(np.arange(2)), "mine")


@pytest.mark.parametrize(
    "make", [lambda r: None, lambda r: np.ones(7), lambda r: np.full(len(r["x"]), np.nan), lambda r: "no"]
)
def test_contexts_that_are_no_rows_are_refused(make):
    """Those of records once were taken as they came."""
    records = RecordSource([{"v": [1.0]}] * ROWS, {"x": "v"})
    refused(lambda: SOURCE.with_context(make), "context")
    refused(lambda: records.with_context(make), "context")


@pytest.mark.parametrize(
    "classes",
    [
        {},
        None,
        ["label"],
        {"nope": 2},
        {"label": 0},
        {"label": -1},
        {"label": 2.5},
        {"label": 1},
        {"x": 2},
        {"label": 10**9},
    ],
)
def test_attributes_that_are_none_are_refused(classes):
    refused(lambda: attributes(SOURCE.arrays, classes), "attribute")


def test_identifiers_are_no_classes():
    """One number a row of up to 10^9: one-hot, they once asked for more memory than there is."""
    many = ArraySource({"x": X, "label": np.arange(ROWS) * 10**8}, num_classes=10**9)
    refused(many.conditional, "num_classes", "1000000000")


@pytest.mark.parametrize("sources", [{}, None, [SOURCE], {"a": X}, {"a": None}, SOURCE])
def test_what_are_no_sources_are_not_zipped(sources):
    refused(lambda: Zipped(sources), "Zipped")


@pytest.mark.parametrize("size", [{}, {"a": 2, "b": 2}, {"a": 0}, {"a": None}, 0, None])
def test_sizes_are_one_for_each_source(size):
    refused(lambda: Zipped({"a": SOURCE}).batch_at(0, size, 0), "size")


@pytest.mark.parametrize("factor", [0, 1, -2, 3, 2.0, None, "2"])
def test_factors_that_do_not_divide_are_refused(factor):
    refused(lambda: low_resolution(np.zeros((2, 4, 4, 1), np.uint8), 16, factor))
    refused(lambda: low_resolution(np.zeros((2, 4, 4, 1), np.uint8), 1, 2), "levels")


@pytest.mark.parametrize(
    "table",
    [
        None,
        np.ones(3),
        [["a"]],
        [[np.nan]],
        [[np.inf]],
        np.ones((0, 2)),
        np.ones((2, 0)),
        [[1], [1, 2]],
        [[1j]],
        [[{}]],
    ],
)
def test_what_are_no_records_are_refused(table):
    refused(lambda: Columns.of(table), "records")


@pytest.mark.parametrize(
    "data", [None, 3, "digits", (X, X), {X.tobytes(): X}, {"y": X}, {}, [], [1, [2]], X[:0], [X, None]]
)
def test_fit_refuses_what_are_no_data(data):
    refused(lambda: as_splits(data))


@examples(100)
@hypothesis.given(
    st.one_of(
        st.text(max_size=20),
        st.text(min_size=401, max_size=2000),
        st.none(),
        st.integers(),
        st.binary(),
        st.sampled_from(
            [
                "",
                "digit",
                "Digits",
                " digits",
                "tfds",
                "/",
                "..",
                "~",
                "a\0b",
                "a\0b.npy",
                "a\0b.txt",
                ".npy",
                ".txt.gz",
                "nope.npz",
                "~nobody/x.npy",
                "no/such/folder/x.txt",
                "💥.npz",
                "ünï.npy",
                ["digits"],
                b"digits",
                "\n",
                "digits.csv",
                "x" * 9999,
            ]
        ),
    )
)
def test_names_of_nothing_are_refused(tmp_path_factory, name):
    refused(lambda: source(name, tmp_path_factory.getbasetemp()))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "..",
        "a b",
        "ünï",
        "mnist:9.9.9",
        "mnist:abc",
        "mnist/nope",
        "mnist[",
        "mnist/a=1",
        ":",
        "huggingface:x",
        "http://x",
        "mnis",
        "a\0b",
        "\n",
        "x" * 500,
    ],
)
def test_sets_that_are_not_prepared_are_refused(tmp_path, name):
    refused(lambda: source(f"tfds:{name}", tmp_path))


@pytest.mark.parametrize("folder", [3, b"x", "a\0b", ["."], "x" * 500])
def test_data_dirs_that_are_no_paths_are_refused(folder):
    refused(lambda: source("x.npy", folder), "data_dir")
    refused(lambda: source("tfds:mnist", folder), "data_dir")


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(save, **arrays):
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


BIG = np.arange(60, dtype=np.float32).reshape(30, 2)
WHOLE = {
    "a.npy": npy(BIG),
    "a.npz": npz(np.savez, x=BIG, label=np.arange(30) % 3),
    "b.npz": npz(np.savez_compressed, x=BIG, label=np.arange(30) % 3),
    "a.txt": b"some text, with \xc3\xbc. " * 30,
    "a.txt.gz": gzip.compress(b"hello world " * 100, mtime=0),
}


@examples(250)
@hypothesis.given(st.sampled_from(sorted(WHOLE)), st.data())
def test_damaged_files_are_refused_or_read(tmp_path_factory, name, data):
    """Where a flipped bit is one of a number's, no one can tell."""
    content = bytearray(WHOLE[name])
    match data.draw(st.sampled_from(["cut", "flip", "other"])):
        case "cut":
            content = content[: data.draw(st.integers(0, len(content) - 1))]
        case "flip":
            for _ in range(data.draw(st.integers(1, 4))):
                content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        case "other":
            content = data.draw(st.binary(max_size=300))
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(bytes(content))
    splits, said = outcome(lambda: source(path))
    assert said is not None or len(splits.train) > 0
    assert said is None or name in said


HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }",
    "{'descr': '<f4'}",
    "[1, 2",
    "__import__('os')",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1180591620717411303424,), }",
    "(" * 300 + ")" * 300,
    "",
    "{'descr': 'nope', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }",
    "{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }",
    "lambda: 0",
    "{'shape': 3}",
    "\x00",
    "é",
)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("header", HEADERS)
def test_headers_that_promise_something_else_are_refused(tmp_path, header, packed):
    line = header.encode("latin-1").ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + bytes(12)
    if packed:
        with zipfile.ZipFile(tmp_path / "h.npz", "w") as file:
            file.writestr("x.npy", content)
    else:
        (tmp_path / "h.npy").write_bytes(content)
    refused(lambda: source(tmp_path / ("h.npz" if packed else "h.npy")), "h.np")


KEYS = {
    "none": {},
    "no x": {"y": X},
    "both": {"x_train": X, "x_test": BIG[:, :1]},
    "test only": {"x_test": X},
    "other types": {"x_train": X.astype(np.uint8), "x_test": X},
    "labels of two axes": {"x": BIG, "context": X},
    "labels of other rows": {"x": BIG, "label": np.arange(3)},
    "words": {"x": BIG, "label": np.full(30, "a")},
    "real labels": {"x": BIG, "label": np.arange(30) / 2},
    "below": {"x": BIG, "label": -np.arange(30)},
    "beyond": {"x": BIG, "label": np.full(30, 2**62)},
    "a number": {"x": np.float32(1)},
    "few": {"x": X[:2]},
    "two records": {"num_train_a": X, "num_train_b": X},
    "categories alone": {"cat_train": X},
}


@pytest.mark.parametrize("kind", KEYS)
def test_archives_of_other_arrays_are_refused(tmp_path, kind):
    np.savez(tmp_path / "k.npz", **KEYS[kind])
    refused(lambda: source(tmp_path / "k.npz"), "k.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_damage_inside_of_every_compression_is_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "m.npz", "w", method) as file:
        file.writestr("x.npy", npy(BIG))
    content = bytearray((tmp_path / "m.npz").read_bytes())
    content[60:75] = bytes(15)
    (tmp_path / "m.npz").write_bytes(content)
    refused(lambda: source(tmp_path / "m.npz"), "m.npz")


@pytest.mark.parametrize("member", ["x", "x_train", "x.npy"])
def test_members_that_are_no_arrays_are_refused(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as file:
        file.writestr(member, "no array")
    refused(lambda: source(tmp_path / "m.npz"), "m.npz")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".txt", ".txt.gz"])
def test_folders_are_no_files(tmp_path, suffix):
    (tmp_path / f"d{suffix}").mkdir()
    (tmp_path / "file").write_text("")
    refused(lambda: source(tmp_path / f"d{suffix}"), f"d{suffix}")
    refused(lambda: source(tmp_path / "file" / f"d{suffix}"), f"d{suffix}")


@pytest.mark.parametrize("content", [b"", b"a", b"a" * 999, b"\xff\xfe" * 99, b"\xed\xa0\x80" * 99])
def test_texts_that_are_none_are_refused(tmp_path, content):
    (tmp_path / "c.txt").write_bytes(content)
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(content))
    (tmp_path / "d.txt.gz").write_bytes(content)
    for name in ("c.txt", "c.txt.gz", "d.txt.gz"):
        refused(lambda name=name: source(tmp_path / name), name)
