"""The measures of experiments.hybrids.vfunc."""

import dataclasses

import jax
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from experiments.hybrids import vfunc
from experiments.hybrids.vfunc import VFuncConfig, deviations, gap, posterior, spread
from jaxgen.distributions import GaussianProcess
from jaxgen.training import TrainedModel


def test_the_posterior_is_scikit_learns():
    train = gap().train.head(8)
    places = np.linspace(-3, 3, 20)[:, None]
    regressor = GaussianProcessRegressor(RBF(0.7), alpha=vfunc.NOISE**2, optimizer=None)
    mean, deviation = regressor.fit(train["context"], train["x"][:, 0]).predict(places, return_std=True)
    found = posterior(GaussianProcess(1.0, 0.7), train, places)
    np.testing.assert_allclose(found[0], mean, atol=1e-4)
    np.testing.assert_allclose(found[1], deviation, atol=1e-4)


def test_deviations_are_of_functions_at_each_place_not_over_places():
    """Functions without any spread that vary over places have the deviation of their noise."""
    f = np.sin(3 * np.broadcast_to(vfunc.PLACES[:, 0], (50, 101)))
    np.testing.assert_allclose(spread(f, 0.02), np.full(101, 0.02))
    inside = np.where(np.abs(vfunc.PLACES[:, 0]) <= vfunc.GAP / 2, 0.6, 9.0)
    assert deviations(inside, np.array([0.3, 0.1]))["deviation ratio"] == pytest.approx(0.6 / 0.05**0.5)


def test_the_data_have_a_gap_which_the_test_set_fills():
    splits = gap()
    train, test = splits.train.head(8), splits.test.head(len(splits.test))
    assert len(splits.train) == 8 and np.abs(train["context"]).min() == vfunc.GAP and splits.valid is None
    assert np.abs(test["context"]).min() < 0.05
    assert np.abs(test["x"] - np.sin(vfunc.RATE * test["context"])).std() < 1.5 * vfunc.NOISE
    with pytest.raises(ValueError, match="`data` must be 'gap', got 'digits'"):
        VFuncConfig(data="digits").open()


@pytest.mark.slow
def test_members_of_an_ensemble_are_single_functions_of_other_seeds():
    config = VFuncConfig(steps=4, width=3, points=3, latents=2, ensemble=2, steps_per_call=4)
    data = gap()
    experiment = vfunc.build(config, data)
    assert experiment.model.prior is None and experiment.model.num_examples == 8
    assert vfunc.build(dataclasses.replace(config, prior="gp"), data).model.prior == GaussianProcess(1.0, 0.7)
    members = vfunc.ensemble(experiment.model, data, config, experiment.optimizers, vfunc.PLACES)
    assert members.shape == (2, 101) and np.abs(members[0] - members[1]).max() > 1e-3
    trained = TrainedModel(experiment.model, experiment.model.init(jax.random.key(0), data.train.head(8)))
    assert vfunc.draw(trained, vfunc.PLACES).shape == (1000, 101)
