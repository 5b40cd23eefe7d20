import numpy as np
import pytest

from jaxgen.data import ArraySource, source
from jaxgen.data.labels import semi_supervised


def test_labels_are_left_to_as_many_rows_of_each_class_and_no_row_is_in_both():
    train = source("digits").train
    rows = np.arange(len(train), dtype=np.float32)[:, None]
    marked = ArraySource({"x": rows, "label": train.arrays["label"]}, num_classes=10)
    parts = {seed: semi_supervised(marked, 30, seed).sources for seed in (0, 1)}
    for sources in parts.values():
        labelled, others = (sources[name].arrays for name in ("labelled", "unlabelled"))
        np.testing.assert_array_equal(np.bincount(labelled["label"]), np.full(10, 3))
        together = np.concatenate([labelled["x"], others["x"]])[:, 0].astype(int)
        np.testing.assert_array_equal(np.sort(together), np.arange(len(train)))
        np.testing.assert_array_equal(train.arrays["label"][labelled["x"][:, 0].astype(int)], labelled["label"])
    assert set(parts[0]["labelled"].arrays["x"][:, 0]) != set(parts[1]["labelled"].arrays["x"][:, 0])


def test_numbers_of_labels_that_cannot_be_are_refused():
    train = source("digits").train
    for labels in (0, 15):
        with pytest.raises(ValueError, match="multiple of the 10 classes"):
            semi_supervised(train, labels, 0)
    with pytest.raises(ValueError, match="must leave unlabelled examples of each class, got 1400"):
        semi_supervised(train, 1400, 0)
    with pytest.raises(ValueError, match="must have labels"):
        semi_supervised(ArraySource({"x": np.zeros((20, 2), np.float32)}), 10, 0)
