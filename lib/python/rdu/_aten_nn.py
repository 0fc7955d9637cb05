# SPDX-License-Identifier: MIT
"""ATen operators of networks as ONNX nodes: convolutions, pooling, normalization, and their gradients."""
import math
from typing import Any, List, Optional, Sequence

import numpy as np
import torch
from torch import fx

from ._aten import Converter, Unsupported, operator, reduce


def _wide(value: Sequence[int], rank: int) -> List[int]:
    """One number for each axis of a picture."""
    value = list(value) if isinstance(value, (list, tuple)) else [value]
    return value * rank if len(value) == 1 else value


# ---- convolutions ----------------------------------------------------------------------------

@operator("convolution")
def _convolution(c: Converter, _: fx.Node, x: fx.Node, w: fx.Node, bias: Optional[fx.Node], stride: Any, padding: Any,
                 dilation: Any, transposed: bool, output_padding: Any, groups: int) -> str:
    rank = len(c.shape(w)) - 2
    inputs = [c.name(x), c.name(w)] + ([c.name(bias)] if bias is not None else [])
    attributes = {"strides": _wide(stride, rank), "pads": _wide(padding, rank) * 2, "dilations": _wide(dilation, rank),
                  "group": groups}
    if len(c.shape(x)) != rank + 2:
        raise Unsupported("without a batch")
    if transposed:
        return c.op("ConvTranspose", *inputs, output_padding=_wide(output_padding, rank), **attributes)
    return c.op("Conv", *inputs, **attributes)


def _weight_gradient(c: Converter, x: str, x_shape: Sequence[int], grad: str, grad_shape: Sequence[int],
                     kernel: Sequence[int], stride: List[int], padding: List[int], dilation: List[int],
                     groups: int) -> str:
    """Of a convolution of x whose result has the gradient grad. It is a convolution itself: over the pictures of the
    batch as channels, with the gradient for weights, stride and dilation changing places."""
    batch, rank = x_shape[0], len(kernel)
    inner, outer = x_shape[1] // groups, grad_shape[1] // groups
    picture = list(range(3, 3 + rank))
    x = c.transpose(c.reshape(x, [batch, groups, inner, *x_shape[2:]]), [2, 1, 0] + picture)
    x = c.reshape(x, [inner, groups * batch, *x_shape[2:]])
    grad = c.transpose(c.reshape(grad, [batch, groups, outer, *grad_shape[2:]]), [1, 2, 0] + picture)
    grad = c.reshape(grad, [groups * outer, batch, *grad_shape[2:]])
    y = c.op("Conv", x, grad, strides=dilation, dilations=stride, pads=padding * 2, group=groups)
    for i, k in enumerate(kernel):  # what no window reached
        have = (x_shape[2 + i] + 2 * padding[i] - stride[i] * (grad_shape[2 + i] - 1) - 1) // dilation[i] + 1
        if have != k:
            y = c.slice(y, 2 + i, 0, k)
    return c.transpose(y, [1, 0] + list(range(2, 2 + rank)))


def _input_gradient(c: Converter, grad: str, grad_shape: Sequence[int], w: str, kernel: Sequence[int],
                    x_shape: Sequence[int], stride: List[int], padding: List[int], dilation: List[int],
                    groups: int) -> str:
    """Of a convolution with the weights w."""
    left = [x_shape[2 + i] - ((grad_shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (k - 1) + 1)
            for i, k in enumerate(kernel)]
    return c.op("ConvTranspose", grad, w, strides=stride, pads=padding * 2, dilations=dilation, group=groups,
                output_padding=left)


@operator("convolution_backward")
def _convolution_backward(c: Converter, _: fx.Node, grad: fx.Node, x: fx.Node, w: fx.Node, __: Any, stride: Any,
                          padding: Any, dilation: Any, transposed: bool, ___: Any, groups: int,
                          mask: Sequence[bool]) -> List[str]:
    kernel = c.shape(w)[2:]
    rank = len(kernel)
    stride, padding, dilation = (_wide(v, rank) for v in (stride, padding, dilation))
    results = ["", "", ""]
    g, gs, xs = c.name(grad), c.shape(grad), c.shape(x)
    if mask[0] and transposed:
        results[0] = c.op("Conv", g, c.name(w), strides=stride, pads=padding * 2, dilations=dilation, group=groups)
    elif mask[0]:
        results[0] = _input_gradient(c, g, gs, c.name(w), kernel, xs, stride, padding, dilation, groups)
    if mask[1] and transposed:
        results[1] = _weight_gradient(c, g, gs, c.name(x), xs, kernel, stride, padding, dilation, groups)
    elif mask[1]:
        results[1] = _weight_gradient(c, c.name(x), xs, g, gs, kernel, stride, padding, dilation, groups)
    if mask[2]:
        results[2] = reduce(c, "ReduceSum", g, [0] + list(range(2, 2 + rank)))
    return results


# ---- pooling ---------------------------------------------------------------------------------

def _windows(c: Converter, n: fx.Node, x: fx.Node, kernel: Any, stride: Any, padding: Any, dilation: Any) -> str:
    """Where in its picture [H * W] each maximum of a window lies: [N, C, OH, OW], int64."""
    shape, out = c.shape(x), list(c.value(n)[0].shape[2:])
    k, s, p, d = (_wide(v, 2) for v in (kernel, stride or kernel, padding, dilation))
    high, wide = shape[2:]
    need = [max((o - 1) * s[i] + d[i] * (k[i] - 1) + 1, shape[2 + i] + p[i]) for i, o in enumerate(out)]
    lowest = c.const(-math.inf, c.dtype(x))
    pads = [0, 0, p[0], p[1], 0, 0, need[0] - p[0] - high, need[1] - p[1] - wide]
    padded = c.op("Pad", c.name(x), c.const(pads), lowest) if any(pads) else c.name(x)
    y, v = (np.arange(out[i])[:, None] * s[i] + np.arange(k[i])[None] * d[i] for i in (0, 1))
    rows, columns = np.broadcast_arrays(y[:, None, :, None], v[None, :, None, :])
    total = need[0] * need[1]
    lead = shape[:2] if len(shape) == 4 else []
    at = c.const((rows * need[1] + columns).reshape(-1, k[0] * k[1]).astype(np.int64))
    best = c.op("ArgMax", c.op("Gather", c.reshape(padded, lead + [total]), at, axis=2), axis=3, keepdims=0)
    # From the place in the window to the one in the picture.
    real = ((rows - p[0]) * wide + columns - p[1]).reshape(-1).astype(np.int64)
    first = (np.arange(out[0] * out[1]) * k[0] * k[1]).astype(np.int64)
    where = c.op("Gather", c.const(real), c.op("Add", best, c.const(first)), axis=0)
    return c.reshape(where, lead + out)


@operator("max_pool2d_with_indices")
def _max_pool(c: Converter, n: fx.Node, x: fx.Node, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1,
              ceil_mode: bool = False) -> List[str]:
    if len(c.shape(x)) != 4:
        raise Unsupported("without a batch")
    y = c.op("MaxPool", c.name(x), kernel_shape=_wide(kernel, 2), strides=_wide(stride or kernel, 2),
             pads=_wide(padding, 2) * 2, dilations=_wide(dilation, 2), ceil_mode=int(ceil_mode))
    used = any(u.args[1] == 1 for u in n.users)
    return [y, _windows(c, n, x, kernel, stride, padding, dilation) if used else ""]


@operator("max_pool2d_with_indices_backward")
def _max_pool_backward(c: Converter, n: fx.Node, grad: fx.Node, x: fx.Node, *args: Any) -> str:
    shape, index = c.shape(x), args[-1]
    lead, pixels = shape[:2], shape[2] * shape[3]
    y = c.op("ScatterElements", c.zeros(lead + [pixels], c.dtype(n)), c.reshape(c.name(index), lead + [-1]),
             c.reshape(c.name(grad), lead + [-1]), axis=2, reduction="add")
    return c.reshape(y, shape)


def _pool_form(c: Converter, x: fx.Node, kernel: Any, stride: Any, padding: Any, ceil_mode: bool,
               divisor: Optional[int]) -> List[List[int]]:
    if len(c.shape(x)) != 4:
        raise Unsupported("without a batch")
    if ceil_mode or divisor is not None:
        raise Unsupported("with ceil_mode" if ceil_mode else "with divisor_override")
    return [_wide(kernel, 2), _wide(stride or kernel, 2), _wide(padding, 2)]


@operator("avg_pool2d")
def _avg_pool(c: Converter, _: fx.Node, x: fx.Node, kernel: Any, stride: Any = (), padding: Any = 0,
              ceil_mode: bool = False, include_pad: bool = True, divisor: Optional[int] = None) -> str:
    k, s, p = _pool_form(c, x, kernel, stride, padding, ceil_mode, divisor)
    return c.op("AveragePool", c.name(x), kernel_shape=k, strides=s, pads=p * 2, count_include_pad=int(include_pad))


def _spread_out(c: Converter, grad: fx.Node, shape: List[int], k: List[int], s: List[int], p: List[int]) -> str:
    """Each number of grad to its window, in equal parts."""
    out = c.shape(grad)
    pictures = shape[0] * shape[1]
    part = c.full([1, 1] + k, 1.0 / (k[0] * k[1]), c.dtype(grad))
    y = _input_gradient(c, c.reshape(c.name(grad), [pictures, 1] + out[2:]), [pictures, 1] + out[2:], part, k,
                        [pictures, 1] + shape[2:], s, p, [1, 1], 1)
    return c.reshape(y, shape)


@operator("avg_pool2d_backward")
def _avg_pool_backward(c: Converter, _: fx.Node, grad: fx.Node, x: fx.Node, kernel: Any, stride: Any, padding: Any,
                       ceil_mode: bool, include_pad: bool, divisor: Optional[int]) -> str:
    k, s, p = _pool_form(c, x, kernel, stride, padding, ceil_mode, divisor)
    if any(p) and not include_pad:
        raise Unsupported("with count_include_pad=False")
    return _spread_out(c, grad, c.shape(x), k, s, p)


def _adaptive_kernel(big: List[int], small: List[int]) -> List[int]:
    if any(b % s for b, s in zip(big, small)):
        raise Unsupported(f"{small} windows of {big}: they differ in size")
    return [b // s for b, s in zip(big, small)]


@operator("_adaptive_avg_pool2d")
def _adaptive(c: Converter, n: fx.Node, x: fx.Node, *_: Any) -> str:
    k = _adaptive_kernel(c.shape(x)[-2:], c.shape(n)[-2:])
    if len(c.shape(x)) != 4:
        raise Unsupported("without a batch")
    return c.op("AveragePool", c.name(x), kernel_shape=k, strides=k)


@operator("_adaptive_avg_pool2d_backward")
def _adaptive_backward(c: Converter, _: fx.Node, grad: fx.Node, x: fx.Node) -> str:
    k = _adaptive_kernel(c.shape(x)[-2:], c.shape(grad)[-2:])
    if len(c.shape(x)) != 4:
        raise Unsupported("without a batch")
    return _spread_out(c, grad, c.shape(x), k, k, [0, 0])


# ---- normalization ---------------------------------------------------------------------------

@operator("native_layer_norm")
def _layer_norm(c: Converter, _: fx.Node, x: fx.Node, shape: Sequence[int], weight: Optional[fx.Node],
                bias: Optional[fx.Node], epsilon: float) -> List[str]:
    scale = c.name(weight) if weight is not None else c.full(shape, 1, c.dtype(x))
    inputs = [c.name(x), scale] + ([c.name(bias)] if bias is not None else [])
    return c.writer.nodes("LayerNormalization", inputs, 3, axis=-len(shape), epsilon=float(epsilon))
