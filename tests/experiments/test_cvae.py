import numpy as np
import pytest

from experiments.vaes.cvae import CVAEConfig, build, with_attributes
from jaxgen.data import ArraySource, Splits, source


def test_the_context_is_of_the_configured_attributes_in_their_order():
    data = source("digits")
    for names, ink, label in ((("ink", "label"), 0, slice(1, 11)), (("label", "ink"), 10, slice(0, 10))):
        found = with_attributes(CVAEConfig(attributes=names), data)
        for split in found:
            rows = split.head(len(split))
            np.testing.assert_array_equal(rows["context"][:, label].argmax(-1), rows["label"])
            assert (rows["context"][:, label].sum(-1) == 1).all()
            assert np.corrcoef(rows["context"][:, ink], rows["x"].sum((1, 2, 3)))[0, 1] > 0.999
        # in the training rows' units, everywhere
        train = found.train.head(len(found.train))["context"][:, ink]
        assert train.mean() == pytest.approx(0, abs=1e-5) and train.std() == pytest.approx(1, abs=1e-5)
        test = found.test.head(len(found.test))
        raw = data.train.head(len(data.train))["x"].mean((1, 2, 3))
        expected = (test["x"].mean((1, 2, 3)) - raw.mean()) / raw.std()
        np.testing.assert_allclose(test["context"][:, ink], expected, rtol=1e-4, atol=1e-5)


def test_ink_that_is_the_same_everywhere_is_zero():
    x = np.full((20, 4, 4, 1), 3, np.uint8)
    rows = ArraySource({"x": x}, levels=256)
    found = with_attributes(CVAEConfig(attributes=("ink",)), Splits(rows, rows, rows))
    np.testing.assert_array_equal(found.train.head(20)["context"], 0)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`conditional` must be False"):
        build(CVAEConfig(conditional=True), source("digits"))
    with pytest.raises(ValueError, match="needs labels of a known number of classes, got data='swiss_roll'"):
        build(CVAEConfig(data="swiss_roll"), source("swiss_roll"))
    with pytest.raises(ValueError, match="must be a nonempty mapping"):
        build(CVAEConfig(attributes=()), source("digits"))
