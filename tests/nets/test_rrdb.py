import jax
import numpy as np
import pytest
import scipy.signal

from jaxgen.nets import RRDBEncoder
from tests.bijectors.tools import quick, random_variables


def conv(layer, x, *index):
    """A 3 x 3 convolution with zero padding, channel by channel, of the parameters at an index of the loops."""
    kernel, bias = (np.asarray(layer[name], np.float64)[index] for name in ("kernel", "bias"))
    out = np.zeros((*x.shape[:3], kernel.shape[-1])) + bias
    for b in range(x.shape[0]):
        for c in range(kernel.shape[2]):
            for d in range(kernel.shape[3]):
                out[b, ..., d] += scipy.signal.correlate2d(x[b, ..., c], kernel[:, :, c, d], "same")
    return out


def dense_block(layers, x, *index):
    outputs = [x]
    for i in range(4):
        h = conv(layers[f"Conv_{i}"], np.concatenate(outputs, -1), *index)
        outputs.append(np.where(h > 0, h, 0.2 * h))
    return x + 0.2 * conv(layers["Conv_4"], np.concatenate(outputs, -1), *index)


@pytest.mark.parametrize("stacked", [None, (1,), ()])
def test_the_encoder_is_the_papers_and_stacks_its_blocks(stacked):
    encoder = RRDBEncoder(3, 2, 2, stacked)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 1)).astype(np.float32)
    variables = random_variables(encoder, 1, x)
    params, h, blocks = variables["params"], conv(variables["params"]["first"], x), []
    for block in range(2):
        inner = h
        for i in range(3):
            inner = dense_block(params["blocks"]["dense"], inner, block, i)
        h = h + 0.2 * inner
        blocks.append(h)
    chosen = [blocks[i] for i in ((0, 1) if stacked is None else stacked)]
    expected = np.concatenate([h + conv(params["last"], h), *chosen], -1)
    result = quick(encoder.apply)(variables, x)
    assert result.shape == (2, 3, 4, 3 * (1 + len(chosen)))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)


def test_a_block_that_does_not_exist():
    with pytest.raises(ValueError, match=r"`stacked` must be indices of 2 blocks, got \(2,\)"):
        jax.eval_shape(RRDBEncoder(3, 2, 2, (2,)).init, jax.random.key(0), np.zeros((1, 2, 2, 1), np.float32))
