import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxgen.convolution import (
    Conv,
    UpConv,
    conv_general_dilated,
    convolution,
    depth_to_space,
    space_to_depth,
)
from jaxgen.convolution.forms import KERNEL_GRADIENT_FORMS

NHWC = ("NHWC", "HWIO", "NHWC")
PADDINGS = ("SAME", "VALID", ((1, 2), (0, 3)))


def normals(*shape):
    return np.float32(np.random.default_rng(0).normal(size=shape))


def stock(x, kernel, strides, padding):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NHWC)


def derivatives(conv, x, kernel, strides, padding):
    """The gradients of a function of the convolution, and the gradients of those gradients' squared norm."""

    def loss(x, kernel):
        return jnp.sin(conv(x, kernel, strides, padding)).sum()

    def slope(x, kernel):
        return sum((g**2).sum() for g in jax.grad(loss, argnums=(0, 1))(x, kernel))

    return jax.grad(loss, argnums=(0, 1))(x, kernel), jax.grad(slope, argnums=(0, 1))(x, kernel)


@pytest.mark.parametrize("stride", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_convolution_and_two_derivatives_are_the_stock_ones(stride):
    # every kernel size with every padding, on odd and even sizes
    cases = []
    for i, (size, padding) in enumerate(itertools.product(range(1, 6), PADDINGS)):
        rng = np.random.default_rng(i)
        x, kernel = rng.normal(size=(2, 7 + i % 2, 6 + i % 3, 2)), rng.normal(size=(size, 1 + (size + 1) % 5, 2, 3))
        # greater strides come down to stride 1, whose gradient is written out: some of their derivatives will do
        derived = stride == 1 or (size + stride) % 3 == PADDINGS.index(padding)
        cases.append((x, kernel, padding, derived))

    def results(arrays):
        for (x, kernel), (_, _, padding, derived) in zip(arrays, cases, strict=True):
            for conv in (convolution, stock):
                args = conv, x, kernel, (stride, stride), padding
                yield conv(*args[1:]), derivatives(*args) if derived else None

    with jax.enable_x64(True):
        arrays = [case[:2] for case in cases]
        quickly = {"xla_backend_optimization_level": 0}
        got = jax.jit(lambda arrays: list(results(arrays))).lower(arrays).compile(quickly)(arrays)
        for (_, kernel, padding, _), ours, theirs in zip(cases, got[::2], got[1::2], strict=True):
            for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
                assert a.dtype == np.float64 and a.shape == b.shape
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=f"{kernel.shape} {padding}")
    assert jnp.zeros(1).dtype == jnp.float32


@pytest.mark.parametrize(
    "shape, kernel, stride",
    [
        ((3, 6, 4, 64), (3, 3, 64, 65), 1),
        ((16, 16, 16, 64), (3, 3, 64, 64), 1),
        ((4, 6, 4, 128), (3, 3, 128, 130), 1),
        ((2, 5, 4, 40), (3, 3, 40, 20), 1),
        ((2, 4, 5, 3), (3, 3, 3, 34), 1),
        ((2, 4, 5, 3), (5, 5, 3, 34), 1),
        ((2, 8, 8, 16), (4, 4, 16, 20), 2),
        ((2, 8, 7, 16), (3, 3, 16, 20), 2),
        ((2, 8, 8, 3), (4, 4, 3, 40), 2),
    ],
    ids=[
        "Winograd", "Winograd in parts", "Winograd forward too", "few outputs", "few inputs", "many places", "strided",
        "strided and dilated", "strided, few inputs",
    ],  # fmt: skip
)
def test_every_form_and_its_two_derivatives_are_the_stock_ones(shape, kernel, stride):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=shape), rng.normal(size=kernel) / kernel[2]

    def results(conv):
        return jax.jit(lambda x, kernel: derivatives(conv, x, kernel, (stride, stride), "SAME"))(x, kernel)

    with jax.enable_x64(True):
        for a, b in zip(jax.tree.leaves(results(convolution)), jax.tree.leaves(results(stock)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11 * np.abs(b).max())


@pytest.mark.parametrize("stride, size", [pytest.param(1, 3, marks=pytest.mark.slow), (1, 2), (2, 3)])
def test_forward_mode_and_its_mixtures_with_reverse_mode_are_the_stock_ones(stride, size):
    rng = np.random.default_rng(0)
    x, kernel, dx, dkernel = (
        rng.normal(size=s) for s in ((1, 4, 3, 2), (size, size, 2, 2), (1, 4, 3, 2), (size, size, 2, 2))
    )

    def results(conv):
        def loss(x, kernel):
            return jnp.sin(conv(x, kernel, (stride, stride), "SAME")).sum()

        def mapped(x, kernel):
            return jax.vmap(jax.value_and_grad(loss, (0, 1)))(x, kernel)

        @jax.jit
        def run(x, kernel, dx, dkernel):
            return (
                jax.jvp(loss, (x, kernel), (dx, dkernel)),
                jax.linearize(jax.checkpoint(loss), x, kernel)[1](dx, dkernel),
                jax.hessian(loss, (0, 1))(x, kernel),
                jax.jacfwd(jax.jacfwd(loss, 1), 0)(x, kernel),
                mapped(jnp.stack([x, dx]), jnp.stack([kernel, dkernel])),
                jax.jvp(mapped, (x[None], kernel[None]), (dx[None], dkernel[None])),
            )

        return run(x, kernel, dx, dkernel)

    with jax.enable_x64(True):
        ours, theirs = results(convolution), results(stock)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == np.float64 and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("axis_type", ["Auto", "Explicit"])
def test_gradients_with_a_sharded_batch(axis_type):
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(getattr(jax.sharding.AxisType, axis_type),))
    x, kernel = normals(2, 4, 4, 2), normals(3, 3, 2, 3)

    def gradient(conv):
        return jax.grad(lambda x, kernel: (conv(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC) ** 3).sum(), (0, 1))

    with jax.set_mesh(mesh):
        placed = jax.device_put(x, jax.NamedSharding(mesh, jax.P("batch"))), jax.device_put(kernel, jax.P())
        ours = jax.jit(gradient(conv_general_dilated))(*placed)
    for a, b in zip(ours, gradient(lax.conv_general_dilated)(x, kernel), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_gradients_within_shard_map():
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    x, kernel = normals(2, 4, 4, 2), normals(3, 3, 2, 3)

    def loss(x, kernel):
        return (convolution(x, kernel) ** 3).sum()

    specs = jax.P("batch"), jax.P()
    mapped = jax.shard_map(jax.grad(loss, (0, 1)), mesh=mesh, in_specs=specs, out_specs=specs)
    for a, b in zip(jax.jit(mapped)(x, kernel), jax.grad(loss, (0, 1))(x, kernel), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size, stride, padding", [(3, 1, "VALID"), (5, 2, "SAME")])
def test_no_convolution_of_a_gradient_penalty_is_turned_around_by_xla(size, stride, padding):
    # where a convolution's window is reversed and not dilated, XLA's CPU backend takes a naive loop, ten times slower
    x, kernel = normals(2, 8, 8, 3), normals(size, size, 3, 4)

    def penalty(kernel):
        return (jax.grad(lambda x: jnp.sin(convolution(x, kernel, (stride, stride), padding)).sum())(x) ** 2).sum()

    text = jax.jit(jax.grad(penalty)).lower(kernel).compile().as_text()
    convolutions = [line for line in text.splitlines() if " convolution(" in line]
    assert convolutions and not any("rhs_reversal" in line and "lhs_dilate" not in line for line in convolutions)


@pytest.mark.parametrize("kernel, stride", [((3, 3, 4, 8), 1), ((3, 3, 4, 8), 2)])
def test_no_convolution_is_without_padding(kernel, stride):
    # JAX 0.10 hands those to YNNPACK, which takes up to 30 times as long
    function = jax.jit(lambda x, kernel: convolution(x, kernel, (stride, stride), "VALID"))
    text = function.lower(normals(2, 9, 9, 4), normals(*kernel)).compile().as_text()
    windows = [line for line in text.splitlines() if " convolution(" in line]
    assert windows and all("pad=" in line for line in windows)


def test_what_convolution_does_not_cover_takes_the_stock_path():
    x, kernel = jnp.ones((2, 6, 6, 4)), jnp.ones((3, 3, 2, 4))
    options = dict(rhs_dilation=(2, 2), dimension_numbers=NHWC, feature_group_count=2)
    ours = conv_general_dilated(x, kernel, (1, 1), "SAME", **options)
    np.testing.assert_array_equal(ours, lax.conv_general_dilated(x, kernel, (1, 1), "SAME", **options))
    # strides that differ, and padding that crops
    np.testing.assert_array_equal(convolution(x[..., :2], kernel, (1, 2)), stock(x[..., :2], kernel, (1, 2), "SAME"))
    crop = ((-1, 0), (0, 0))
    np.testing.assert_array_equal(
        convolution(x[..., :2], kernel, (2, 2), crop), stock(x[..., :2], kernel, (2, 2), crop)
    )


@pytest.mark.parametrize("strides", [1, 2])
def test_the_layer_is_flaxs_with_the_same_parameters(strides):
    x, kernel = normals(2, 7, 8, 3), normals(3, 3, 3, 5)
    layer = Conv(5, 3, strides=strides, use_bias=False)
    variables = {"params": {"kernel": kernel}}
    theirs = nn.Conv(5, (3, 3), (strides, strides), use_bias=False).apply(variables, x)
    np.testing.assert_allclose(layer.apply(variables, x), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3])
def test_space_and_depth(factor):
    x = jnp.arange(2 * 6 * 12 * 2).reshape(2, 6, 12, 2)
    folded = space_to_depth(x, factor)
    assert folded.shape == (2, 6 // factor, 12 // factor, 2 * factor**2)
    np.testing.assert_array_equal(depth_to_space(folded, factor), x)
    # channel-major: the first f^2 channels are the first channel's neighbourhood, row by row
    np.testing.assert_array_equal(folded[1, 0, 1, : factor**2], x[1, :factor, factor : 2 * factor, 0].ravel())


def test_upsampling_spreads_each_pixels_own_channels():
    x, kernel, bias = normals(2, 3, 5, 4), normals(1, 1, 4, 54), normals(54)
    y = UpConv(6, kernel_size=1, factor=3).apply({"params": {"Conv_0": {"kernel": kernel, "bias": bias}}}, x)
    assert y.shape == (2, 9, 15, 6)
    # a 1x1 kernel: the nine pixels of a block depend on one input pixel
    wide = (x[1, 2, 4] @ kernel[0, 0] + bias).reshape(6, 3, 3)
    np.testing.assert_allclose(y[1, 6:9, 12:15], wide.transpose(1, 2, 0), rtol=1e-4, atol=1e-5)
    variables = jax.eval_shape(UpConv(6, use_bias=False).init, jax.random.key(0), x)
    assert {name: a.shape for name, a in variables["params"]["Conv_0"].items()} == {"kernel": (3, 3, 4, 24)}


@pytest.mark.parametrize(
    "shape, kernel, form",
    [
        ((4, 4, 4, 64), (3, 3, 64, 64), "Winograd"),
        ((4, 5, 4, 64), (3, 3, 64, 64), "transposed"),
        ((4, 4, 4, 63), (3, 3, 63, 64), "transposed"),
        ((3, 4, 4, 64), (3, 3, 64, 64), "transposed"),
        ((2, 4, 4, 32), (3, 3, 32, 32), "columns"),
        ((2, 4, 4, 15), (3, 3, 15, 64), "products"),
        ((2, 4, 4, 64), (2, 2, 64, 64), "products"),
    ],
)
def test_the_form_of_a_kernels_gradient_follows_the_table(shape, kernel, form, monkeypatch):
    taken = []
    for name, function in KERNEL_GRADIENT_FORMS.items():
        recorded = lambda *args, name=name, function=function: taken.append(name) or function(*args)
        monkeypatch.setitem(KERNEL_GRADIENT_FORMS, name, recorded)
    jax.jit(jax.grad(lambda k: convolution(jnp.ones(shape), k).sum())).lower(jnp.ones(kernel))
    assert taken == [form]
