"""A model with its variables: what its methods are given, and what completion offers."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.training import TrainedModel


@dataclass(frozen=True)
class Translator:
    scale: float = 2.0

    def translate(self, variables, x, to=("a",)):
        """Translates `x` to domains."""
        assert isinstance(x, jax.core.Tracer) and type(to) is tuple  # compiled, and `to` is static
        return {domain: variables[domain]["params"]["w"] * x for domain in to}

    def score(self, variables, x):
        return variables["a"]["params"]["w"] * x

    def plays(self):
        return {"translate": self.scale}

    def _private(self, variables):
        return variables


@pytest.fixture
def trained():
    return TrainedModel(Translator(), {name: {"params": {"w": jnp.float32(w)}} for name, w in (("a", 3.0), ("b", 5.0))})


@pytest.mark.parametrize("to", [("a", "b"), ["a", "b"]])
def test_several_strings_are_static_arguments(trained, to):
    translated = trained.translate(jnp.arange(2.0), to=to)
    np.testing.assert_array_equal([translated["a"], translated["b"]], [[0, 3], [0, 5]])


def test_defaults_stay_and_lists_of_numbers_are_arrays(trained):
    translated = trained.translate([0.0, 1.0])
    assert list(translated) == ["a"]
    np.testing.assert_array_equal(translated["a"], [0, 3])


def test_words_in_place_of_numbers_are_refused(trained):
    with pytest.raises(TypeError):
        trained.score(["1", "2"])


def test_methods_without_variables_and_fields_are_the_models_own(trained):
    assert trained.plays() == {"translate": 2.0} and trained.scale == 2.0
    assert trained.translate.__doc__ == "Translates `x` to domains."
    with pytest.raises(AttributeError):
        trained.nothing


def test_completion_offers_the_models_methods(trained):
    offered = dir(trained)
    assert {"translate", "score", "plays", "scale", "model", "variables"} <= set(offered)
    assert "_private" not in offered
