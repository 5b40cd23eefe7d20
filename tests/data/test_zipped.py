"""Sources side by side, and sources whose parts are pairs."""

import jax
import numpy as np
import pytest

from jaxgen.data import ArraySource, DataError, Paired, Zipped
from jaxgen.training import evaluate


def numbered(rows, offset=0):
    x = np.arange(offset, offset + rows, dtype=np.uint8)[:, None]
    return ArraySource({"x": x, "label": np.arange(rows) % 2}, levels=256, num_classes=2)


def test_what_a_source_answers_a_zip_answers_by_part():
    zipped = Zipped({"a": numbered(9), "b": numbered(5, 100)})
    assert zipped.levels == {"a": 256, "b": 256} and zipped.num_classes == {"a": 2, "b": 2}
    few = zipped.subset({"b": [3, 1]})
    assert len(few) == 2 and few.head(9)["b"]["x"][:, 0].tolist() == [103, 101] and len(few.head(9)["a"]["x"]) == 9
    hot = zipped.conditional().head(3)
    np.testing.assert_array_equal(hot["a"]["context"], [[1, 0], [0, 1], [1, 0]])
    doubled = zipped.with_context(lambda arrays: np.float32(2 * arrays["x"])).head(2)
    np.testing.assert_array_equal(doubled["b"]["context"], [[200], [202]])
    with pytest.raises(DataError, match="keys among"):
        zipped.subset({"c": [0]})


@pytest.mark.parametrize("step", [0, 2, 5])
def test_pairs_stay_aligned_in_every_epoch_subset_and_process(step):
    pairs = Paired({"photo": numbered(11), "edges": numbered(11, 100)})
    orders = set()
    for source in (pairs, pairs.subset(np.arange(10)[::-1])):
        for part in range(2):
            batch = source.batch_at(step, 4, 7, part, 2)
            assert (batch["edges"]["x"] == batch["photo"]["x"] + 100).all()
        orders.add(tuple(source.batch_at(step, 4, 7)["photo"]["x"][:, 0]))
        for batch in source.batches(4):
            assert (batch["edges"]["x"] == batch["photo"]["x"] + 100).all()
    assert len(orders) == 2
    assert isinstance(pairs.conditional(), Paired) and len(pairs.subset([1, 2])) == 2


def test_parts_of_pairs_are_equally_long_and_one_size_serves_all():
    with pytest.raises(DataError, match=r"equally long, .* got {'a': 3, 'b': 4}"):
        Paired({"a": numbered(3), "b": numbered(4)})
    with pytest.raises(DataError, match="permuted as a whole"):
        Paired({"a": numbered(3), "b": Zipped({"c": numbered(3)})})
    with pytest.raises(DataError, match="the same for each part"):
        Paired({"a": numbered(4), "b": numbered(4)}).batch_at(0, {"a": 2, "b": 3}, 0)


class Means:
    monitor = ("a", "min")

    def evaluate(self, variables, batch, key):
        return {name: batch[name]["x"].astype(np.float32).mean() for name in ("a", "b")}


def test_evaluation_weights_each_part_by_what_was_evaluated_of_it():
    """Means over the first 7 examples of both, in batches of 3, 3 and 1, whichever is the shorter."""
    expected = {"a": np.arange(7).mean(), "b": np.arange(100, 107).mean()}
    for lengths in ((7, 23), (23, 7)):
        source = Zipped({"a": numbered(lengths[0]), "b": numbered(lengths[1], 100)})
        found = evaluate(Means(), {}, source, jax.random.key(0), batch_size=3)
        assert found == pytest.approx(expected, rel=1e-6)
