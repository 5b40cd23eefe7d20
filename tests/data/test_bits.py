import numpy as np
import pytest
from scipy.stats import chisquare

from jaxgen.data import ArraySource, DataError, Splits, bits, source
from jaxgen.data.bits import FLIP, PATTERNS, WEIGHTS, all_strings, binarized, log_prob_of_bit_patterns


def test_bit_patterns_are_fixed_draws_with_known_probabilities():
    splits, again = source("bit_patterns"), source("bit_patterns")
    strings = all_strings(10)
    p = np.exp(log_prob_of_bit_patterns(strings))
    assert p.sum() == pytest.approx(1, rel=1e-12)
    for part, other, size in zip(splits, again, bits.SIZES, strict=True):
        np.testing.assert_array_equal(part.arrays["x"], other.arrays["x"])
        assert part.levels == 2 and part.num_classes == 8 and part.arrays["x"].shape == (size, 10)
        counts = np.bincount(part.arrays["x"] @ (1 << np.arange(10)[::-1]), minlength=1024)
        frequent = p * size > 5
        seen = np.append(counts[frequent], counts[~frequent].sum())
        assert chisquare(seen, np.append(p[frequent], p[~frequent].sum()) * size).pvalue > 1e-3
        np.testing.assert_allclose(np.bincount(part.arrays["label"]) / size, WEIGHTS, atol=0.02)


def test_the_probability_of_a_string_is_a_sum_over_patterns():
    apart = (PATTERNS[:, None] != PATTERNS).sum(-1)
    assert apart[~np.eye(8, dtype=bool)].min() == 4
    by_hand = sum(w * FLIP**d * (1 - FLIP) ** (10 - d) for w, d in zip(WEIGHTS, apart[0], strict=True))
    assert np.exp(log_prob_of_bit_patterns(PATTERNS[:1]))[0] == pytest.approx(by_hand, rel=1e-12)


def test_all_strings_are_in_order():
    np.testing.assert_array_equal(all_strings(2), [[0, 0], [0, 1], [1, 0], [1, 1]])


def images(x, levels=5):
    return Splits(
        ArraySource({"x": np.asarray(x, np.uint8), "label": np.arange(len(x)) % 3}, levels=levels, num_classes=3)
    )


def test_a_square_is_one_if_half_of_its_pixels_are():
    x = np.zeros((3, 4, 6, 1), np.uint8)
    x[0, 0, 0], x[0, 0, 2:4], x[0, 2, 5], x[0, 3, 4], x[1] = 1, 1, 1, 1, 1
    halved = binarized(images(x, levels=2), 2).train
    expected = np.zeros((3, 2, 3, 1))
    expected[0, 0, 1], expected[0, 1, 2], expected[1] = 1, 1, 1  # one pixel of four is not enough
    label = halved.arrays["label"]
    assert halved.levels == 2 and halved.num_classes == 3 and sorted(label) == [0, 1, 2]
    np.testing.assert_array_equal(halved.arrays["x"], expected[label])
    # bits stay as they are, whatever the seed
    same = binarized(images(x, levels=2), 1, seed=3).train.arrays
    np.testing.assert_array_equal(same["x"], x[same["label"]])


def test_the_order_is_random_and_fixed():
    x = np.zeros((300, 1, 1, 1))
    label, again = (binarized(images(x, levels=2), 1).train.arrays["label"] for _ in range(2))
    np.testing.assert_array_equal(label, again)
    assert (label != np.arange(300) % 3).mean() > 0.5 and (np.bincount(label) == 100).all()


def test_grey_values_are_probabilities_drawn_once():
    x = np.broadcast_to(np.arange(5)[None, :, None, None], (4000, 5, 3, 1))
    drawn, again = (binarized(images(x), 1).train.arrays["x"] for _ in range(2))
    np.testing.assert_array_equal(drawn, again)
    np.testing.assert_allclose(drawn.mean((0, 2, 3)), np.arange(5) / 4, atol=0.02)
    assert drawn[:, 0].max() == 0 and drawn[:, 4].min() == 1
    two = binarized(Splits(*(images(x).train for _ in range(2))), 1)
    assert (two.train.arrays["x"] != two.valid.arrays["x"]).any()


@pytest.mark.parametrize("factor", [2, 0])
def test_other_data_are_refused(factor):
    with pytest.raises(DataError, match="factor"):
        binarized(images(np.zeros((2, 5, 4, 1))), factor)
    with pytest.raises(DataError, match="must hold grey images"):
        binarized(images(np.zeros((2, 4))), 1)
