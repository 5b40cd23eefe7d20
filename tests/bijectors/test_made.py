import functools
import itertools

import numpy as np
import pytest

from jaxgen.bijectors import made

SIZES = {
    "as many units as degrees": (5, (4, 4), 0),
    "many more units": (5, (64, 33), 0),
    "layers of different widths": (7, (30, 9, 50), 0),
    "context": (5, (16, 16), 2),
    "context, as many units as degrees": (5, (5,), 3),
    "two coordinates": (2, (3, 1), 0),
    "two coordinates, context": (2, (3, 2), 1),
    "one coordinate, context": (1, (4, 2), 3),
    "no hidden layer": (4, (), 0),
    "no hidden layer, context": (4, (), 2),
}
NARROW = {
    "few units": (9, (4, 4), 0),
    "few units, context": (9, (4, 3), 2),
    "few units, then many": (9, (3, 40), 0),
    "many units, then few": (9, (40, 3), 0),
    "one unit": (9, (1,), 0),
    "one unit, then many": (9, (1, 5), 0),
    "many units, then one": (9, (5, 1, 5), 0),
}


def parametrize(sizes):
    return pytest.mark.parametrize(("features", "widths", "context"), sizes.values(), ids=sizes)


def reach(masks):
    """Which input which output depends on, through any path: [inputs, outputs]."""
    return functools.reduce(np.matmul, [mask.astype(int) for mask in masks]) > 0


@parametrize(SIZES)
def test_each_output_depends_on_the_context_and_on_all_inputs_before_it_and_no_other(features, widths, context):
    reached = reach(made.masks(made.degrees(features, widths, context)))
    np.testing.assert_array_equal(reached[:context], True)
    np.testing.assert_array_equal(reached[context:], np.triu(np.ones((features, features), bool), 1))


@parametrize(NARROW)
def test_narrow_networks_are_autoregressive_too(features, widths, context):
    reached = reach(made.masks(made.degrees(features, widths, context)))
    assert not np.tril(reached[context:]).any()
    assert reached[:context].all()
    # the last output hears of every input before it
    assert reached[:-1, -1].all()


@parametrize({**SIZES, **NARROW})
def test_no_hidden_unit_is_dead(features, widths, context):
    degrees = made.degrees(features, widths, context)
    masks = made.masks(degrees)
    assert [mask.shape for mask in masks] == [(a.size, b.size) for a, b in itertools.pairwise(degrees)]
    assert [d.size for d in degrees] == [context + features, *widths, features]
    for layer in range(1, len(degrees) - 1):
        assert reach(masks[:layer]).any(0).all() and reach(masks[layer:]).any(1).all()


@pytest.mark.parametrize(("lowest", "highest", "width"), [(1, 4, 4), (1, 4, 10), (0, 6, 100), (2, 2, 3), (1, 62, 512)])
def test_hidden_degrees_are_spread_evenly(lowest, highest, width):
    degrees = made.hidden_degrees(lowest, highest, width)
    counts = np.bincount(degrees, minlength=highest + 1)
    assert degrees.size == width and (np.diff(degrees) >= 0).all()
    assert counts[:lowest].sum() == 0 and counts.size == highest + 1
    assert counts[lowest:].max() - counts[lowest:].min() <= 1


def test_few_hidden_degrees_leave_out_some_between_the_ends():
    np.testing.assert_array_equal(made.hidden_degrees(1, 9, 3), [1, 5, 9])
    np.testing.assert_array_equal(made.hidden_degrees(0, 9, 4), [0, 3, 6, 9])
    np.testing.assert_array_equal(made.hidden_degrees(1, 9, 1), [9])
    assert np.unique(made.hidden_degrees(1, 9, 8)).size == 8


def test_one_coordinate_without_context_has_no_hidden_layers():
    degrees = made.degrees(1, (4, 4))
    assert len(degrees) == 2
    np.testing.assert_array_equal(made.masks(degrees)[0], [[False]])


def test_masks_by_hand():
    """Three coordinates and layers of five and three units, as TensorFlow Probability's tests have them."""
    first, second, head = made.masks(made.degrees(3, (5, 3)))
    np.testing.assert_array_equal(first, [[1, 1, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(second, [[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_array_equal(head, [[0, 1, 1], [0, 1, 1], [0, 0, 1]])


def test_degrees_in_blocks_give_masks_in_blocks():
    """Four inputs and three blocks of two units, exclusive and inclusive, as in TensorFlow Probability's tests."""
    inputs, blocks = np.arange(1, 5), np.repeat([1, 2, 3], 2)
    (exclusive,) = made.masks((inputs, blocks))
    inclusive, _ = made.masks((inputs, blocks, blocks))
    np.testing.assert_array_equal(
        exclusive.T, [[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    )
    np.testing.assert_array_equal(
        inclusive.T, [[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]]
    )


@pytest.mark.parametrize("widths", [(4, 0), (-1,)])
def test_refuses_empty_layers(widths):
    with pytest.raises(ValueError, match="`widths` must be at least 1") as error:
        made.degrees(3, widths)
    assert str(widths) in str(error.value)
