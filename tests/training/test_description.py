"""Models as JSON and back; and that a description can build models, and nothing else."""

import dataclasses
import functools
import json

import jax
import pytest
from flax import linen as nn

from jaxgen.distributions.likelihoods import Gaussian
from jaxgen.models.gans import dense_wgan_gp, residual_wgan_gp
from jaxgen.models.vaes import conv_vae, dense_vae
from jaxgen.metrics.modes import mixture_metrics
from jaxgen.models.flows.real_nvp import real_nvp_image, real_nvp_vector
from jaxgen.training.description import build, describe

MODELS = {
    "dense vae": dense_vae((4, 4, 1), latent_dim=3, widths=(8,), activation=jax.nn.silu, levels=17),
    "conv vae": conv_vae((8, 8, 3), latent_dim=4, width=8, likelihood=Gaussian(), levels=256),
    "dense gan": dataclasses.replace(
        dense_wgan_gp(), metrics=functools.partial(mixture_metrics, centers=((0.0, 1.0),), std=0.1)
    ),
    "conv gan": residual_wgan_gp((8, 8, 1), width=8),
    "image flow": real_nvp_image((8, 8, 1), num_levels=17, depth=1, width=8),
    "vector flow": real_nvp_vector(3, depth=2, widths=(8,)),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_models_come_back_equal(model):
    text = json.dumps(describe(model))
    again = build(json.loads(text))
    assert repr(again) == repr(model) and type(again) is type(model)
    assert json.dumps(describe(again)) == text


def test_every_field_counts():
    one, other = (
        json.dumps(describe(dense_vae((4,), latent_dim=3, widths=(8,), activation=f))) for f in (nn.tanh, nn.relu)
    )
    assert one != other


class Own(nn.Module):
    pass


def own_function(x):
    return x


@pytest.mark.parametrize("thing", [Own(), own_function, lambda x: x, object(), nn.Sequential([own_function])])
def test_foreign_parts_are_not_written(thing):
    with pytest.raises(TypeError, match="jaxgen.load"):
        describe(thing)


@pytest.mark.parametrize(
    "evil",
    [
        {"function": "os.system"},
        {"class": "subprocess.Popen", "fields": {"args": "true"}},
        {"partial": {"function": "builtins.eval"}, "args": ["1"], "keywords": {}},
        {"function": "jaxgen.training.folder.shutil.rmtree"},
        {"function": "jaxgen.metrics.modes.jnp"},
        {"function": "jaxgen.convolution.strided.functools"},
        {"function": "jaxgen.nets.mlp.nn"},
        {"class": "jaxgen.data.arrays.ArraySource", "fields": {}},
        {"function": "jaxgen.data.prepare.main"},
        {"function": "jax.numpy.__builtins__"},
        {"function": "jax.numpy.load"},
        {"class": "jaxgen.models.vaes.builders.dense_vae", "fields": {}},
        {"class": "jaxgen.models.vaes.vae.VAE", "fields": {"nonsense": 1}},
        {"function": 3},
        {"surprise": 1},
    ],
    ids=str,
)
def test_only_models_can_be_built(evil):
    with pytest.raises(ValueError):
        build(evil)
