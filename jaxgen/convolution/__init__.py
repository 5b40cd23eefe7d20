"""Convolutions whose gradients are fast everywhere, also inside `lax.scan` on a CPU.

XLA's CPU backend computes the gradient of a convolution's kernel by a naive loop, some forty times slower, when the
convolution stands inside a `scan` or `while`; strided and transposed convolutions have the same problem. So on a CPU
convolutions have a gradient of their own, through the same functions to any order and in forward mode:

- upsampling is a convolution to s^2 times the channels followed by `depth_to_space`;
- the gradient with respect to the input is the convolution of the cotangent with the flipped kernel;
- a convolution of stride s equals one of stride 1 on `space_to_depth(x, s)`, at the same arithmetic if s divides the
  kernel's size ("folded"); gradients take this form or those of the table;
- each of these, and the gradient with respect to the kernel, takes the form that was measured to be fastest: `forms`
  has the table.

XLA's own forward and input gradient are oneDNN's in JAX 0.10 and 0.11, except that JAX 0.10 hands convolutions without
padding to YNNPACK, which takes up to 30 times as long. They get one row of padding, whose output is cropped.

On an accelerator the stock convolution is right, and is taken.
"""

from jaxgen.convolution.blocks import depth_to_space, space_to_depth
from jaxgen.convolution.layers import Conv, TransposedConv, UpConv, conv_general_dilated
from jaxgen.convolution.strided import convolution

__all__ = [
    "Conv", "TransposedConv", "UpConv", "conv_general_dilated", "convolution", "depth_to_space", "space_to_depth",
]  # fmt: skip
__dir__ = __all__.copy  # tab completion
