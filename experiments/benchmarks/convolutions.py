"""Forms of a convolution on one core of a CPU, beside PyTorch's: `python -m experiments.benchmarks.convolutions`.

Forward, gradient of the input and gradient of the kernel, in float32: XLA's own, every form of
`jaxgen.convolution`, and PyTorch's if installed. One process on one core; the functions alternate, round by round;
medians of their processor time, which other processes on the machine disturb little. `*` marks the form that the rule
selects. The rule's thresholds are set by this table.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxgen.heap import keep_freed_memory


class Shape(NamedTuple):
    """Images of `size` x `size`; at stride 1 "SAME" padding for odd kernels, "VALID" for even ones and 7x7."""

    batch: int
    size: int
    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1

    @property
    def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
        if self.stride == 2:
            total = self.kernel - 2
            return ((total // 2, total - total // 2),) * 2
        border = (self.kernel - 1) // 2 if self.kernel in (3, 5) else 0
        return ((border, border),) * 2


SHAPES = (
    # DCGAN's generator and the vector-quantized autoencoder
    Shape(64, 4, 256, 512), Shape(64, 8, 128, 256), Shape(64, 16, 64, 128), Shape(64, 8, 128, 128),
    Shape(64, 8, 64, 128), Shape(64, 8, 128, 32), Shape(64, 16, 64, 12), Shape(64, 32, 32, 3),
    # Glow's couplings
    Shape(16, 16, 6, 64), Shape(16, 8, 64, 24), Shape(16, 16, 64, 64),
    # kernels of 4x4 and stride 2, folded
    Shape(64, 17, 12, 64, 2), Shape(64, 9, 256, 128, 2), Shape(64, 5, 512, 256, 2),
    # CycleGAN's generators, padded by reflection
    Shape(16, 70, 3, 64, 7), Shape(16, 70, 64, 3, 7),
    # kernels of stride 2
    Shape(32, 64, 64, 128, 3, 2), Shape(64, 16, 64, 128, 5, 2),
    Shape(64, 32, 3, 64, 4, 2), Shape(64, 16, 64, 128, 4, 2), Shape(64, 8, 128, 256, 4, 2),
)  # fmt: skip


@dataclass(frozen=True)
class Convolutions:
    rounds: int = 11


def functions(shape: Shape) -> dict[str, tuple[str, dict[str, Callable[[], Any]]]]:
    """By measure, the form that the rule selects, and a function for each form."""
    import jax
    import jax.numpy as jnp

    from jaxgen.convolution import forms, strided, unit_stride
    from jaxgen.convolution.padding import NHWC, opposite_padding

    k, padding, stride, rng = shape.kernel, shape.padding, shape.stride, np.random.default_rng(0)
    geometry = strided.Geometry(stride, padding, (shape.size,) * 2, (k, k))

    def normals(*shape):
        return rng.normal(size=shape).astype(np.float32)

    x = normals(shape.batch, shape.size, shape.size, shape.inputs)
    g = normals(shape.batch, *geometry.outputs, shape.outputs)
    kernel = normals(k, k, shape.inputs, shape.outputs)

    def stock(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=NHWC)

    own_input = lambda g, kernel: jax.vjp(lambda x: stock(x, kernel), jnp.asarray(x))[1](g)[0]
    own_kernel = lambda x, g: jax.vjp(lambda kernel: stock(x, kernel), jnp.asarray(kernel))[1](g)[0]

    def compiled(named, *arrays):
        arrays = [jnp.asarray(a) for a in arrays]
        jitted = {name: jax.jit(function).lower(*arrays).compile() for name, function in named.items()}
        return {name: functools.partial(lambda f: f(*arrays).block_until_ready(), f) for name, f in jitted.items()}

    peers = torch_functions(x, kernel, g, shape)
    if stride > 1:
        folded = functools.partial(strided.convolve_folded, geometry=geometry)
        folded_input = lambda g, kernel: jax.vjp(lambda x: folded(x, kernel), jnp.asarray(x))[1](g)[0]
        folded_kernel = lambda x, g: jax.vjp(lambda kernel: folded(x, kernel), jnp.asarray(kernel))[1](g)[0]
        selected = {
            "forward": "strided",
            "input gradient": "dilated" if k % stride else "folded",
            "kernel gradient": "products" if shape.inputs >= forms.FEW_INPUTS else "folded",
        }
        ours = {name: getattr(strided, f"strided{name}") for name in ("", "_kernel_gradient")}
        ours = {name: functools.partial(function, geometry=geometry) for name, function in ours.items()}
        measures = {
            "forward": {"XLA's": stock, "strided": ours[""], "folded": folded},
            "input gradient": {"dilated": own_input, "folded": folded_input},
            "kernel gradient": {"XLA's": own_kernel, selected["kernel gradient"]: ours["_kernel_gradient"]}
            | {"folded": folded_kernel},
        }
    else:
        opposite = opposite_padding(padding, (k, k))

        def input_gradient(form):
            return lambda g, kernel: form(g, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), opposite)

        forward = {name: functools.partial(form, padding=padding) for name, form in forms.FORWARD_FORMS.items()}
        backward = {name: input_gradient(form) for name, form in forms.FORWARD_FORMS.items()}
        by_kernel = {name: functools.partial(f, padding=padding) for name, f in forms.KERNEL_GRADIENT_FORMS.items()}
        if k != 3 or geometry.outputs[0] % 2:
            for named in (forward, backward, by_kernel):
                named.pop("Winograd")
        selected = {
            "forward": forms.forward_form(x, kernel.shape, padding),
            "input gradient": forms.forward_form(g, (k, k, shape.outputs, shape.inputs), opposite),
            "kernel gradient": forms.kernel_gradient_form(x, g, padding),
        }
        backward[selected["input gradient"]] = functools.partial(unit_stride.input_gradient, padding=padding)
        measures = {
            "forward": {"XLA's": stock, **forward},
            "input gradient": {"XLA's": own_input, **backward},
            "kernel gradient": {"XLA's": own_kernel, **by_kernel},
        }
    arrays = {"forward": (x, kernel), "input gradient": (g, kernel), "kernel gradient": (x, g)}
    return {what: (selected[what], compiled(measures[what], *arrays[what]) | peers[what]) for what in measures}


def torch_functions(x: np.ndarray, kernel: np.ndarray, g: np.ndarray, shape: Shape) -> dict[str, dict[str, Callable]]:
    """PyTorch's functions by measure; empty if it is not installed."""
    try:
        import torch
    except ImportError:
        return {"forward": {}, "input gradient": {}, "kernel gradient": {}}
    torch.set_num_threads(1)
    border, stride = shape.padding[0][1], [shape.stride] * 2
    x, g = (torch.from_numpy(a).permute(0, 3, 1, 2).contiguous() for a in (x, g))
    kernel = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous()

    def backward(*wanted):
        return torch.ops.aten.convolution_backward(
            g, x, kernel, None, stride, [border] * 2, [1, 1], False, [0, 0], 1, [*wanted, False]
        )

    return {
        "forward": {"torch": lambda: torch.nn.functional.conv2d(x, kernel, stride=shape.stride, padding=border)},
        "input gradient": {"torch": lambda: backward(True, False)},
        "kernel gradient": {"torch": lambda: backward(False, True)},
    }


def measure(named: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of processor time, the median of the rounds."""
    for function in named.values():
        function()
    seconds = {name: [] for name in named}
    for _ in range(rounds):
        for name, function in named.items():
            began = time.process_time()
            function()
            seconds[name].append(time.process_time() - began)
    return {name: 1e3 * float(np.median(values)) for name, values in seconds.items()}


def main(config: Convolutions) -> dict[Shape, dict[str, tuple[str, dict[str, float]]]]:
    """By shape and measure, the form that the rule selects and each form's milliseconds; also prints them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    keep_freed_memory()
    results = {}
    for shape in SHAPES:
        results[shape] = {}
        for what, (selected, named) in functions(shape).items():
            times = measure(named, config.rounds)
            results[shape][what] = selected, times
            cells = (f"{name}{'*' * (name == selected)} {ms:.2f}" for name, ms in times.items())
            b, n, c, d, k, s = shape
            print(f"{b}x{n}x{n}, {c} to {d}, {k}x{k}, stride {s} | {what} | {' | '.join(cells)}", flush=True)
    return results


if __name__ == "__main__":
    from experiments.commands import parse

    main(parse(Convolutions, __doc__, "experiments.benchmarks.convolutions"))
