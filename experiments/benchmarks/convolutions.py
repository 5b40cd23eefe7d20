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
    """A convolution of stride 1: images of `size` x `size`, "SAME" padding for odd kernels, "VALID" for even ones."""

    batch: int
    size: int
    inputs: int
    outputs: int
    kernel: int = 3


SHAPES = (
    # DCGAN's generator and the vector-quantized autoencoder
    Shape(64, 4, 256, 512), Shape(64, 8, 128, 256), Shape(64, 16, 64, 128), Shape(64, 8, 128, 128),
    Shape(64, 8, 64, 128), Shape(64, 8, 128, 32), Shape(64, 16, 64, 12), Shape(64, 32, 32, 3),
    # Glow's couplings
    Shape(16, 16, 6, 64), Shape(16, 8, 64, 24), Shape(16, 16, 64, 64),
    # kernels of 4x4 and stride 2, folded
    Shape(64, 17, 12, 64, 2), Shape(64, 9, 256, 128, 2), Shape(64, 5, 512, 256, 2),
)  # fmt: skip


@dataclass(frozen=True)
class Convolutions:
    rounds: int = 11


def functions(shape: Shape) -> dict[str, tuple[str, dict[str, Callable[[], Any]]]]:
    """By measure, the form that the rule selects, and a function for each form."""
    import jax
    import jax.numpy as jnp

    from jaxgen import convolution as forms

    k, rng = shape.kernel, np.random.default_rng(0)
    border = (k - 1) // 2
    padding = ((border, border), (border, border))
    size = shape.size + 2 * border - k + 1

    def normals(*shape):
        return rng.normal(size=shape).astype(np.float32)

    x, g = normals(shape.batch, shape.size, shape.size, shape.inputs), normals(shape.batch, size, size, shape.outputs)
    kernel = normals(k, k, shape.inputs, shape.outputs)
    opposite = forms._opposite(padding, (k, k))

    def stock(x, kernel):
        return forms._by_convolution(x, kernel, padding)

    def input_gradient(form):
        return lambda g, kernel: form(g, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), opposite)

    forward = {name: functools.partial(form, padding=padding) for name, form in forms.FORWARD_FORMS.items()}
    backward = {name: input_gradient(form) for name, form in forms.FORWARD_FORMS.items()}
    by_kernel = {name: functools.partial(form, padding=padding) for name, form in forms.KERNEL_GRADIENT_FORMS.items()}
    if k != 3 or size % 2:
        by_kernel.pop("Winograd")
    own_input = lambda g, kernel: jax.vjp(lambda x: stock(x, kernel), jnp.asarray(x))[1](g)[0]
    own_kernel = lambda x, g: jax.vjp(lambda kernel: stock(x, kernel), jnp.asarray(kernel))[1](g)[0]

    def compiled(named, *arrays):
        arrays = [jnp.asarray(a) for a in arrays]
        jitted = {name: jax.jit(function).lower(*arrays).compile() for name, function in named.items()}
        return {name: functools.partial(lambda f: f(*arrays).block_until_ready(), f) for name, f in jitted.items()}

    peers = torch_functions(x, kernel, g, border)
    transposed_shape = (k, k, shape.outputs, shape.inputs)
    return {
        "forward": (
            forms._forward_form(kernel.shape, padding),
            compiled(forward, x, kernel) | peers["forward"],
        ),
        "input gradient": (
            forms._forward_form(transposed_shape, opposite),
            compiled({"XLA's": own_input, **backward}, g, kernel) | peers["input gradient"],
        ),
        "kernel gradient": (
            forms._kernel_gradient_form(x, g, padding),
            compiled({"XLA's": own_kernel, **by_kernel}, x, g) | peers["kernel gradient"],
        ),
    }


def torch_functions(x: np.ndarray, kernel: np.ndarray, g: np.ndarray, border: int) -> dict[str, dict[str, Callable]]:
    """PyTorch's functions by measure; empty if it is not installed."""
    try:
        import torch
    except ImportError:
        return {"forward": {}, "input gradient": {}, "kernel gradient": {}}
    torch.set_num_threads(1)
    x, g = (torch.from_numpy(a).permute(0, 3, 1, 2).contiguous() for a in (x, g))
    kernel = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous()

    def backward(*wanted):
        return torch.ops.aten.convolution_backward(
            g, x, kernel, None, [1, 1], [border] * 2, [1, 1], False, [0, 0], 1, [*wanted, False]
        )

    return {
        "forward": {"torch": lambda: torch.nn.functional.conv2d(x, kernel, padding=border)},
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
            b, n, c, d, k = shape
            print(f"{b}x{n}x{n}, {c} to {d}, {k}x{k} | {what} | {' | '.join(cells)}", flush=True)
    return results


if __name__ == "__main__":
    from experiments.commands import parse

    main(parse(Convolutions, __doc__, "experiments.benchmarks.convolutions"))
