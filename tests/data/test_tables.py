"""Records made into rows of one scale."""

import numpy as np
import pytest

from jaxgen.data import DataError
from jaxgen.data.tables import Columns

RNG = np.random.default_rng(0)


def records(n):
    """A heavy tail, a normal column, one with a heavy tail and negative values, and a constant one; two categories."""
    tail = np.floor(np.exp(RNG.normal(3, 2, n)))
    x = np.stack([tail, RNG.normal(7, 0.1, n), tail - 1e4, np.full(n, 0.1)], 1).astype(np.float32)
    return x, np.stack([RNG.integers(3, size=n) * 10, RNG.integers(2, size=n)], 1)


def test_numbers_get_one_scale_and_tails_a_logarithm():
    x, categories = records(1000)
    columns = Columns.of(x, categories, limit=1e9)
    assert columns.heavy.tolist() == [True, False, False, False]
    rows = columns(x, categories)
    assert rows.shape == (1000, columns.width) and rows.dtype == np.float32
    np.testing.assert_allclose(rows[:, :3].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(rows[:, :3].std(0), 1, rtol=1e-5)
    logs = np.log1p(x[:, 0].astype(float))
    np.testing.assert_allclose(rows[:, 0], (logs - logs.mean()) / logs.std(), atol=1e-5)
    # of the rows that were learned from, not of those it is applied to
    np.testing.assert_array_equal(columns(x[:10], categories[:10]), rows[:10])


def test_what_lies_far_out_is_clipped():
    x, categories = records(1000)
    columns = Columns.of(x, categories, limit=3.0)
    assert np.abs(columns(x, categories)[:, :4]).max() == 3
    far = np.array([[1e12, -50, 1e12, 0.1], [-1e12, 50, -1e12, 0.1]], np.float32)
    rows = columns(far, categories[:2])
    np.testing.assert_array_equal(rows[:, 1:4], [[-3, 3, 0], [3, -3, 0]])
    assert rows[0, 0] == 3
    # below what the logarithm is of: as zero
    np.testing.assert_array_equal(rows[1, 0], columns(np.zeros((1, 4)), categories[:1])[0, 0])


def test_any_other_value_of_a_constant_column_is_at_the_limit():
    x, categories = records(1000)
    columns = Columns.of(x, categories)
    # whose mean, summed in whatever order, is not exactly 0.1
    np.testing.assert_array_equal(columns(x, categories)[:, 3], 0)
    x[:3, 3] = [0.1001, -7, 0.1]
    np.testing.assert_array_equal(columns(x[:3], categories[:3])[:, 3], [5, -5, 0])


def test_categories_are_one_hot_and_others_have_a_column_of_their_own():
    x, categories = records(50)
    columns = Columns.of(x, categories)
    assert [values.tolist() for values in columns.values] == [[0, 10, 20], [0, 1]] and columns.width == 4 + 4 + 3
    rows = columns(x[:3], np.array([[20, 0], [0, 1], [15, -1]]))
    np.testing.assert_array_equal(rows[:, 4:], [
        [0, 0, 1, 0, 1, 0, 0],
        [1, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 1, 0, 0, 1],
    ])  # fmt: skip


def test_words_are_categories_too_and_there_may_be_none():
    x = RNG.normal(size=(4, 2))
    words = np.array([["tcp"], ["udp"], ["tcp"], ["tcp"]])
    np.testing.assert_array_equal(Columns.of(x, words)(x, words)[:, 2:], [[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]])
    assert Columns.of(x)(x).shape == (4, 2)


def test_tables_that_do_not_fit_are_refused():
    x, categories = records(10)
    with pytest.raises(DataError, match=r"got shapes \(10, 4\) and \(9, 2\)"):
        Columns.of(x, categories[:9])
    with pytest.raises(DataError, match="4 numeric and 2 categorical columns, got 3 and 0"):
        Columns.of(x, categories)(x[:, :3])
