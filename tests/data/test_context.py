import functools

import numpy as np
import pytest

from jaxgen.data import ArraySource, DataError, attributes

ROWS = {
    "x": np.zeros((3, 2), np.float32),
    "label": np.array([2, 0, 1]),
    "age": np.array([0.5, -1.0, 2.0]),
    "pose": np.array([[1, 2], [3, 4], [5, 6]], np.int32),
}


def test_attributes_stand_beside_one_another_in_their_order():
    source = ArraySource(ROWS).with_context(
        functools.partial(attributes, num_classes={"age": None, "label": 4, "pose": None})
    )
    context = source.take(np.array([0, 2]))["context"]
    np.testing.assert_array_equal(context, [[0.5, 0, 0, 1, 0, 1, 2], [2, 0, 1, 0, 0, 5, 6]])
    assert context.dtype == np.float32


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ({}, "nonempty mapping"),
        ({"hair": 3}, "attribute 'hair' must be among the arrays .*'age'"),
        ({"label": 2}, r"'label' must be integers 0\.\.1, got .*2"),
        ({"age": 3}, r"'age' must be integers 0\.\.2, got .*0\.5"),
        ({"pose": 7}, r"'pose' must be \[N\], .* got shape \(3, 2\)"),
        ({"image": None}, r"'image' must be \[N\] or .* got shape \(3, 2, 2, 1\)"),
    ],
)
def test_what_is_no_attribute_is_refused(classes, said):
    with pytest.raises(DataError, match=said):
        attributes({**ROWS, "image": np.zeros((3, 2, 2, 1))}, classes)
