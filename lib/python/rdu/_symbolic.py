# SPDX-License-Identifier: MIT
"""What torch.onnx.export lacks of PyTorch's losses and other operators, and what it gets wrong."""
import contextlib
import math
import sys
import warnings
from typing import Any, Callable, Dict, Iterator, List, Optional

#: PyTorch's numbers of a reduction
_MEAN, _SUM = 1, 2


def _number(g: Any, value: float) -> Any:
    import torch
    return g.op("Constant", value_t=torch.tensor(value, dtype=torch.float32))


def _reduced(g: Any, x: Any, reduction: int) -> Any:
    op = {_MEAN: "ReduceMean", _SUM: "ReduceSum"}.get(reduction)
    return g.op(op, x, keepdims_i=0) if op else x


def _integer(value: Any) -> Any:
    import torch
    return torch.tensor(value, dtype=torch.int64)


def _integers(g: Any, *values: int) -> Any:
    return g.op("Constant", value_t=_integer(list(values)))


def _sum_of_classes(g: Any, x: Any) -> Any:
    return g.op("ReduceSum", x, _integers(g, 1), keepdims_i=0)


def _norm(g: Any, x: Any, p: float, axes: Optional[List[int]] = None) -> Any:
    """Over some axes, or all, which are no dimensions of the result."""
    if not 0 < p < math.inf:
        raise NotImplementedError(f"a distance of order {p}")
    def unless_0(of: Callable[[Any], Any], x: Any) -> Any:  # there it is 0, and so is its gradient
        zero = g.op("Equal", x, _number(g, 0.0))
        return g.op("Where", zero, _number(g, 0.0), of(g.op("Where", zero, _number(g, 1.0), x)))

    def power(x: Any) -> Any:
        return g.op("Pow", x, _number(g, p))
    size = g.op("Abs", x)
    powers = g.op("Mul", x, x) if p == 2 else unless_0(power, size) if p < 1 else power(size)
    sums = g.op("ReduceSum", powers, *([_integers(g, *axes)] if axes else []), keepdims_i=0)
    return unless_0(lambda x: g.op("Sqrt", x) if p == 2 else g.op("Pow", x, _number(g, 1 / p)), sums)


def _registered(name: str) -> Any:
    """An operator in torch.onnx.export's table, which knows whose each of its functions is."""
    table = next((m.registry for n, m in list(sys.modules.items())
                  if n.startswith("torch.onnx.") and n.endswith(".registration") and hasattr(m, "registry")), None)
    return table.get_function_group(f"aten::{name}")  # type: ignore[union-attr]


def _is_users(name: str, opset: int) -> bool:
    """Has someone else registered how an operator is exported?"""
    group = _registered(name)
    return group is not None and group._functions.overridden(opset)


def _exporters_own(name: str, opset: Optional[int]) -> Callable[..., Any]:
    """What torch.onnx.export itself makes of an operator, in an opset (None: its default)."""
    from torch.onnx import symbolic_helper
    return _registered(name).get(opset or symbolic_helper.GLOBALS.export_onnx_opset_version)


def _losses() -> Dict[str, Callable[..., Any]]:
    from torch.onnx import symbolic_helper
    args = symbolic_helper.parse_args

    @args("v", "v", "i")
    def mse_loss(g: Any, x: Any, target: Any, reduction: int) -> Any:
        off = g.op("Sub", x, target)
        return _reduced(g, g.op("Mul", off, off), reduction)

    @args("v", "v", "i")
    def l1_loss(g: Any, x: Any, target: Any, reduction: int) -> Any:
        return _reduced(g, g.op("Abs", g.op("Sub", x, target)), reduction)

    def bent(g: Any, x: Any, target: Any, at: float, scale: float) -> Any:
        """scale * off^2 / 2 up to `at`, and a straight line from there."""
        off = g.op("Abs", g.op("Sub", x, target))
        near = g.op("Mul", g.op("Mul", off, off), _number(g, scale / 2))
        far = g.op("Mul", g.op("Sub", off, _number(g, at / 2)), _number(g, scale * at))
        return g.op("Where", g.op("Less", off, _number(g, at)), near, far)

    @args("v", "v", "i", "f")
    def smooth_l1_loss(g: Any, x: Any, target: Any, reduction: int, beta: float) -> Any:
        return _reduced(g, bent(g, x, target, beta, 1 / beta), reduction) if beta else l1_loss(g, x, target, reduction)

    @args("v", "v", "i", "f")
    def huber_loss(g: Any, x: Any, target: Any, reduction: int, delta: float) -> Any:
        return _reduced(g, bent(g, x, target, delta, 1.0), reduction)

    @args("v", "v", "i")
    def soft_margin_loss(g: Any, x: Any, target: Any, reduction: int) -> Any:
        return _reduced(g, g.op("Softplus", g.op("Neg", g.op("Mul", x, target))), reduction)

    @args("v", "v", "f", "i")
    def hinge_embedding_loss(g: Any, x: Any, target: Any, margin: float, reduction: int) -> Any:
        zero, one = _number(g, 0.0), _number(g, 1.0)
        apart = g.op("Where", g.op("Equal", target, one), zero, g.op("Relu", g.op("Sub", _number(g, margin), x)))
        near = g.op("Where", g.op("Equal", target, _number(g, -1.0)), zero, x)
        return _reduced(g, g.op("Add", apart, near), reduction)

    @args("v", "v", "b", "b", "f", "i")
    def poisson_nll_loss(g: Any, x: Any, target: Any, log_input: bool, full: bool, eps: float, reduction: int) -> Any:
        if full:
            raise NotImplementedError("poisson_nll_loss with full=True")
        log = x if log_input else g.op("Log", g.op("Add", x, _number(g, eps)))
        return _reduced(g, g.op("Sub", g.op("Exp", x) if log_input else x, g.op("Mul", target, log)), reduction)

    @args("v", "v", "v", "f", "i")
    def margin_ranking_loss(g: Any, x: Any, y: Any, target: Any, margin: float, reduction: int) -> Any:
        off = g.op("Mul", target, g.op("Sub", y, x))
        return _reduced(g, g.op("Relu", g.op("Add", off, _number(g, margin))), reduction)

    @args("v", "v", "v", "f", "f", "f", "b", "i")
    def triplet_margin_loss(g: Any, x: Any, near: Any, far: Any, margin: float, p: float, eps: float, swap: bool,
                            reduction: int) -> Any:
        def distance(a: Any, b: Any) -> Any:  # F.pairwise_distance()
            return _norm(g, g.op("Add", g.op("Sub", a, b), _number(g, eps)), p, [-1])
        apart = g.op("Min", distance(x, far), distance(near, far)) if swap else distance(x, far)
        off = g.op("Add", g.op("Sub", distance(x, near), apart), _number(g, margin))
        return _reduced(g, g.op("Relu", off), reduction)

    @args("v", "v", "v", "i")
    def binary_cross_entropy(g: Any, x: Any, target: Any, weight: Any, reduction: int) -> Any:
        one, least = _number(g, 1.0), _number(g, -100.0)
        yes = g.op("Mul", target, g.op("Max", g.op("Log", x), least))
        no = g.op("Mul", g.op("Sub", one, target), g.op("Max", g.op("Log", g.op("Sub", one, x)), least))
        loss = g.op("Neg", g.op("Add", yes, no))
        return _reduced(g, loss if weight.node().mustBeNone() else g.op("Mul", loss, weight), reduction)

    @args("v", "v", "v", "i", "i", "f")
    def cross_entropy_loss(g: Any, x: Any, target: Any, weight: Any, reduction: int, ignored: int,
                           smoothing: float) -> Any:
        shares = target.type().scalarType() in ("Float", "Double", "Half", "BFloat16")
        weights = [] if weight.node().mustBeNone() else [weight]
        if not smoothing and not shares:
            return g.op("SoftmaxCrossEntropyLoss", x, target, *weights, ignore_index_i=ignored,
                        reduction_s={_MEAN: "mean", _SUM: "sum"}.get(reduction, "none"))
        if weights:
            raise NotImplementedError("cross_entropy with label_smoothing or probabilities, and with weights")
        classes = symbolic_helper._get_tensor_dim_size(x, 1)
        log = g.op("LogSoftmax", x, axis_i=1)
        if shares:
            target = g.op("Add", g.op("Mul", target, _number(g, 1 - smoothing)), _number(g, smoothing / classes))
            return _reduced(g, g.op("Neg", _sum_of_classes(g, g.op("Mul", target, log))), reduction)
        own = g.op("NegativeLogLikelihoodLoss", log, target, reduction_s="none", ignore_index_i=ignored)
        counts = g.op("Not", g.op("Equal", target, g.op("Constant", value_t=_integer(ignored))))
        every = g.op("Where", counts, g.op("Neg", _sum_of_classes(g, log)), _number(g, 0.0))
        loss = g.op("Add", g.op("Mul", own, _number(g, 1 - smoothing)),
                    g.op("Mul", every, _number(g, smoothing / classes)))
        if reduction != _MEAN:
            return _reduced(g, loss, reduction)
        return g.op("Div", _reduced(g, loss, _SUM), _reduced(g, g.op("Cast", counts, to_i=1), _SUM))

    return {"mse_loss": mse_loss, "l1_loss": l1_loss, "smooth_l1_loss": smooth_l1_loss, "huber_loss": huber_loss,
            "soft_margin_loss": soft_margin_loss, "hinge_embedding_loss": hinge_embedding_loss,
            "poisson_nll_loss": poisson_nll_loss, "binary_cross_entropy": binary_cross_entropy,
            "cross_entropy_loss": cross_entropy_loss, "margin_ranking_loss": margin_ranking_loss,
            "triplet_margin_loss": triplet_margin_loss}


def _operators(opset: Optional[int]) -> Dict[str, Callable[..., Any]]:
    import torch
    from torch.onnx import symbolic_helper, symbolic_opset9, symbolic_opset11
    args = symbolic_helper.parse_args

    def index(g: Any, x: Any, indices: Any) -> Any:
        """Several tensors that index together: PyTorch's own takes -1 for another row's last element."""
        parts = symbolic_helper._unpack_list(indices) if symbolic_helper._is_packed_list(indices) else [indices]
        axes = [k for k, i in enumerate(parts) if not symbolic_helper._is_none(i)]
        if len(axes) < 2:
            return symbolic_opset11.index(g, x, indices)
        given = [parts[k] for k in axes]
        if any(symbolic_helper._is_bool(i) or i.type().scalarType() == "Byte" for i in given):
            raise NotImplementedError("a mask among several indices: mask.nonzero() makes indices of it")
        rank, width = symbolic_helper._get_tensor_rank(x), [symbolic_helper._get_tensor_rank(i) for i in given]
        if rank is None or None in width:
            raise NotImplementedError("several indices of a tensor of unknown rank")
        given = [g.op("Cast", i, to_i=7) for i in given]
        zeros = g.op("Mul", given[0], _integers(g, 0))
        for i in given[1:]:
            zeros = g.op("Add", zeros, g.op("Mul", i, _integers(g, 0)))
        rows = g.op("Concat", *[g.op("Unsqueeze", g.op("Add", i, zeros), _integers(g, -1)) for i in given], axis_i=-1)
        rest = [d for d in range(rank) if d not in axes]
        y = g.op("GatherND", g.op("Transpose", x, perm_i=axes + rest), rows)
        n, first = max(width), axes[0]
        if axes != list(range(first, axes[-1] + 1)):
            return y
        order = [*range(n, n + first), *range(n), *range(n + first, n + len(rest))]
        return g.op("Transpose", y, perm_i=order)

    def expanded(g: Any, x: Any, *sizes: int) -> Any:
        return g.op("Expand", x, _integers(g, *sizes))

    def index_put(g: Any, x: Any, indices: Any, values: Any, accumulate: Any = False) -> Any:
        """PyTorch's own adds one of the values that go to one place."""
        parts = symbolic_helper._unpack_list(indices) if symbolic_helper._is_packed_list(indices) else [indices]
        sizes = symbolic_helper._get_tensor_sizes(x)
        if not symbolic_helper._maybe_get_const(accumulate, "b") or \
                any(symbolic_helper._is_bool(i) or i.type().scalarType() == "Byte" for i in parts):
            return symbolic_opset11.index_put(g, x, indices, values, accumulate)
        places = [symbolic_helper._get_tensor_sizes(i) for i in parts]
        if any(None in (s or [None]) for s in [sizes, *places]):
            raise NotImplementedError("index_put(accumulate=True) of unknown shapes")
        shape = list(torch.broadcast_shapes(*places))
        rows = g.op("Concat", *[g.op("Unsqueeze", expanded(g, g.op("Cast", i, to_i=7), *shape), _integers(g, -1))
                                for i in parts], axis_i=-1)
        return g.op("ScatterND", x, rows, expanded(g, values, *shape, *sizes[len(parts):]), reduction_s="add")

    def index_add(g: Any, x: Any, dim: Any, index: Any, values: Any, alpha: Any = None) -> Any:
        sizes, axis = symbolic_helper._get_tensor_sizes(values), symbolic_helper._maybe_get_const(dim, "i")
        by = 1 if alpha is None else symbolic_helper._maybe_get_const(alpha, "f")
        if not sizes or None in sizes or not isinstance(by, (int, float)):
            raise NotImplementedError("index_add of an unknown shape, or by an unknown number")
        axis += len(sizes) * (axis < 0)
        index = g.op("Reshape", index, _integers(g, *[sizes[axis] if k == axis else 1 for k in range(len(sizes))]))
        values = values if by == 1 else g.op("Mul", values, g.op("CastLike", _number(g, by), values))
        return g.op("ScatterElements", x, expanded(g, index, *sizes), values, axis_i=axis, reduction_s="add")

    def pool(name: str) -> Callable[..., Any]:
        """PyTorch's own takes no input without a batch, with ceil_mode counts windows that start behind the input (as
        ONNX's shape inference does), and leaves out divisor_override in PyTorch 2."""
        own, spatial, largest = _exporters_own(name, opset), int(name[-2]), name.startswith("max")

        def made(g: Any, x: Any, kernel: Any, stride: Any, padding: Any, *rest: Any) -> Any:
            sizes = symbolic_helper._get_tensor_sizes(x)
            batched = not sizes or len(sizes) == spatial + 2
            ceil = symbolic_helper._maybe_get_const(rest[1 if largest else 0], "b")
            divisor = None if largest or len(rest) < 3 or symbolic_helper._is_none(rest[2]) else \
                symbolic_helper._maybe_get_const(rest[2], "i")
            if batched and not ceil and divisor is None:
                return own(g, x, kernel, stride, padding, *rest)
            if not sizes or None in sizes[-spatial:]:
                raise NotImplementedError(f"{name} with ceil_mode or divisor_override, of an unknown size")
            windows = (kernel, stride, padding, rest[0]) if largest else (kernel, stride, padding)
            kernel, stride, padding, *dilation = (list(v) * (spatial if len(v) == 1 else 1) for v in (
                symbolic_helper._maybe_get_const(w, "is") for w in windows))
            dilation = dilation[0] if largest else [1] * spatial
            stride = stride or kernel
            end = []  # as far as the last window goes
            for n, k, s, p, d in zip(sizes[-spatial:], kernel, stride, padding, dilation):
                span = d * (k - 1) + 1
                last = (n + 2 * p - span + (s - 1 if ceil else 0)) // s
                last -= bool(ceil and last * s >= n + p)
                end.append(max(last * s + span - n - p, 0))
            y = x if batched else g.op("Unsqueeze", x, _integers(g, 0))
            if largest:
                y = g.op("MaxPool", y, kernel_shape_i=kernel, strides_i=stride, dilations_i=dilation,
                         pads_i=padding + end)
            elif divisor is not None:
                y = g.op("AveragePool", y, kernel_shape_i=kernel, strides_i=stride, pads_i=padding + end,
                         count_include_pad_i=1)
                y = g.op("Mul", y, _number(g, math.prod(kernel) / divisor))
            else:
                if symbolic_helper._maybe_get_const(rest[1], "b"):  # the padding counts, but nothing behind it
                    y = g.op("Pad", y, _integers(g, *([0, 0] + padding) * 2))
                    end, padding = [max(e - p, 0) for e, p in zip(end, padding)], [0] * spatial
                y = g.op("AveragePool", y, kernel_shape_i=kernel, strides_i=stride, pads_i=padding + end)
            return y if batched else g.op("Squeeze", y, _integers(g, 0))
        return made

    def upsample(name: str, ndim: int, mode: str) -> Callable[..., Any]:
        """By a scale, corners aligned: PyTorch's places are by the sizes, which are whole numbers."""
        other = symbolic_helper._interpolate_helper(name, ndim, mode)

        def resize(g: Any, x: Any, size: Any, align: Any, *scales: Any) -> Any:
            sizes = symbolic_helper._get_tensor_sizes(x)
            aligned = symbolic_helper._maybe_get_const(align, "i")
            if not aligned or not symbolic_helper._is_none(size) or not sizes or None in sizes:
                return other(g, x, size, align, *scales)
            by = symbolic_helper._maybe_get_const(scales[0], "fs")
            out = sizes[:2] + [math.floor(n * f) for n, f in zip(sizes[2:], by)]
            none = symbolic_helper._optional_input_placeholder_tensor(g)
            return g.op("Resize", x, none, none, _integers(g, *out), mode_s=mode, cubic_coeff_a_f=-0.75,
                        coordinate_transformation_mode_s="align_corners")
        return resize

    @args("v", "v", "v", "is", "s", "is", "i")
    def _convolution_mode(g: Any, x: Any, weight: Any, bias: Any, stride: List[int], padding: str,
                          dilation: List[int], groups: int) -> Any:
        kernel = symbolic_helper._get_tensor_sizes(weight)[2:]
        beyond = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel)]
        return g.op("Conv", x, weight, *([] if symbolic_helper._is_none(bias) else [bias]), kernel_shape_i=kernel,
                    strides_i=stride, dilations_i=dilation, group_i=groups,
                    pads_i=[p // 2 for p in beyond] + [p - p // 2 for p in beyond])

    @args("v", "i")
    def channel_shuffle(g: Any, x: Any, groups: int) -> Any:
        n, c, *rest = symbolic_helper._get_tensor_sizes(x)
        y = g.op("Reshape", x, _integers(g, n, groups, c // groups, *rest))
        y = g.op("Transpose", y, perm_i=[0, 2, 1, *range(3, 3 + len(rest))])
        return g.op("Reshape", y, _integers(g, n, c, *rest))

    @args("v", "is", "v", "f")
    def rms_norm(g: Any, x: Any, shape: List[int], weight: Any, eps: Optional[float]) -> Any:
        squares = g.op("ReduceSum", g.op("Mul", x, x), _integers(g, *range(-len(shape), 0)))
        eps = torch.finfo(torch.float32).eps if eps is None else eps
        mean = g.op("Div", squares, _number(g, math.prod(shape)))
        y = g.op("Div", x, g.op("Sqrt", g.op("Add", mean, _number(g, eps))))
        return y if symbolic_helper._is_none(weight) else g.op("Mul", y, weight)

    @args("v", "f", "f")
    def threshold(g: Any, x: Any, at: float, value: float) -> Any:
        return g.op("Where", g.op("LessOrEqual", x, _number(g, at)), _number(g, value), x)

    others_group_norm = _exporters_own("group_norm", opset)

    def group_norm(g: Any, x: Any, groups: Any, weight: Any, bias: Any, eps: Any, cudnn: Any) -> Any:
        """PyTorch's own wants more than two dimensions."""
        sizes = symbolic_helper._get_tensor_sizes(x)
        if not sizes or len(sizes) != 2 or None in sizes:
            return others_group_norm(g, x, groups, weight, bias, eps, cudnn)
        n, parts = sizes[0], symbolic_helper._maybe_get_const(groups, "i")
        y = g.op("Reshape", x, _integers(g, n, parts, sizes[1] // parts))
        y = g.op("Sub", y, g.op("ReduceMean", y, axes_i=[2]))
        y = g.op("Div", y, g.op("Sqrt", g.op("Add", g.op("ReduceMean", g.op("Mul", y, y), axes_i=[2]),
                                             _number(g, symbolic_helper._maybe_get_const(eps, "f")))))
        y = g.op("Reshape", y, _integers(g, *sizes))
        y = y if symbolic_helper._is_none(weight) else g.op("Mul", y, weight)
        return y if symbolic_helper._is_none(bias) else g.op("Add", y, bias)

    def mT(g: Any, x: Any) -> Any:  # pylint: disable=invalid-name
        rank = symbolic_helper._get_tensor_rank(x)
        if rank is None:
            raise NotImplementedError("mT of an unknown rank")
        return g.op("Transpose", x, perm_i=[*range(rank - 2), rank - 1, rank - 2])

    @args("v", "v", "f")
    def dist(g: Any, x: Any, y: Any, p: float) -> Any:
        return _norm(g, g.op("Sub", x, y), p)

    @args("v", "v", "f", "f", "b")
    def pairwise_distance(g: Any, x: Any, y: Any, p: float, eps: float, keepdim: bool) -> Any:
        """PyTorch's own is NaN for an odd p, and leaves out eps."""
        z = _norm(g, g.op("Add", g.op("Sub", x, y), _number(g, eps)), p, [-1])
        return g.op("Unsqueeze", z, _integers(g, -1)) if keepdim else z

    @args("v", "v", "f", "none")
    def cdist(g: Any, x: Any, y: Any, p: float, _mode: Any) -> Any:
        return _norm(g, g.op("Sub", g.op("Unsqueeze", x, _integers(g, -2)), g.op("Unsqueeze", y, _integers(g, -3))), p,
                     [-1])

    def as_result(g: Any, x: Any) -> Any:
        """x in the type of the operator's result."""
        type_of = g.original_node.output().type()
        to = {"Float": 1, "Byte": 2, "Char": 3, "Short": 5, "Int": 6, "Long": 7, "Half": 10, "Double": 11,
              "BFloat16": 16}.get(type_of.scalarType())
        if symbolic_helper._is_none(x) or not to or x.type().scalarType() == type_of.scalarType():
            return x
        return g.op("Cast", x, to_i=to).setType(x.type().with_dtype(type_of.dtype()))

    def promoted(name: str, *inputs: int, num: Optional[int] = None) -> Callable[..., Any]:
        """PyTorch's own computes in the type of one of the inputs. num: if it has so many arguments."""
        own = _exporters_own(name, opset)
        return lambda g, *of, **named: own(g, *[as_result(g, x) if k in inputs and num in (None, len(of)) else x
                                                for k, x in enumerate(of)], **named)

    owns = {n: _exporters_own(n, opset) for n in ("__rshift_", "_unique2")}

    def __rshift_(g: Any, x: Any, by: Any) -> Any:
        """PyTorch's own divides, to 0."""
        if x.type().scalarType() == "Byte":
            return owns["__rshift_"](g, x, by)
        by = g.op("CastLike", g.op("Pow", _number(g, 2.0), g.op("Cast", by, to_i=1)), x)
        return g.op("CastLike", symbolic_opset9._floor_divide(g, x, by.setType(x.type())), x)

    def _unique2(g: Any, x: Any, *rest: Any) -> Any:
        """PyTorch's own has no dimensions but one for what gives x back."""
        y, places, counts = owns["_unique2"](g, x, *rest)
        return y, g.op("Reshape", places, g.op("Shape", x)), counts

    def trunc(g: Any, x: Any) -> Any:
        return g.op("Mul", g.op("Sign", x), g.op("Floor", g.op("Abs", x)))

    def logaddexp(g: Any, x: Any, y: Any) -> Any:
        return g.op("Add", g.op("Max", x, y), g.op("Softplus", g.op("Neg", g.op("Abs", g.op("Sub", x, y)))))

    return {"index": index, "index_put": index_put, "index_add": index_add,
            "floor_divide": symbolic_opset9._floor_divide,  # PyTorch's own cuts off
            "_convolution_mode": _convolution_mode,
            "channel_shuffle": channel_shuffle, "rms_norm": rms_norm, "threshold": threshold,
            "group_norm": group_norm, "mT": mT, "dist": dist,
            **{n: pool(n) for n in ("avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d",
                                    "max_pool3d")},
            **{n: promoted(n, 0) for n in ("clamp", "clamp_min", "clamp_max", "cumsum", "logsumexp")},
            **{n: promoted(n, 0, 1, num=2) for n in ("maximum", "minimum", "max", "min")},
            "where": promoted("where", 1, 2, num=3), "__rshift_": __rshift_, "_unique2": _unique2,
            "pairwise_distance": pairwise_distance, "cdist": cdist,
            "upsample_linear1d": upsample("upsample_linear1d", 3, "linear"),
            "upsample_bilinear2d": upsample("upsample_bilinear2d", 4, "linear"),
            "upsample_trilinear3d": upsample("upsample_trilinear3d", 5, "linear"),
            "upsample_bicubic2d": upsample("upsample_bicubic2d", 4, "cubic"),
            "trunc": trunc, "frac": lambda g, x: g.op("Sub", x, trunc(g, x)), "logaddexp": logaddexp,
            "cosh": lambda g, x: g.op("Cosh", x), "sinh": lambda g, x: g.op("Sinh", x)}


def _gradients() -> Dict[str, Callable[..., Any]]:
    """Where PyTorch stops gradients, of which its exporter leaves nothing."""
    from torch.onnx import symbolic_helper
    args = symbolic_helper.parse_args

    def stopped(g: Any, x: Any) -> Any:
        return g.op("rdu::StopGradient", x).setType(x.type())

    def detach(g: Any, x: Any) -> Any:
        # x + (y - x).detach() is known to the compiler as it is.
        less, uses = g.original_node.inputsAt(0), g.original_node.output().uses()
        if less.node().kind() == "aten::sub" and uses and all(
                u.user.kind() == "aten::add" and less.node().inputsAt(1) in (u.user.inputsAt(0), u.user.inputsAt(1))
                for u in uses):
            return x
        return stopped(g, x)

    @args("v", "v", "i", "b", "b")
    def embedding(g: Any, weight: Any, index: Any, padding: int, scales: bool, _sparse: bool) -> Any:
        if scales:
            raise NotImplementedError("an Embedding with scale_grad_by_freq that is trained")
        y = g.op("Gather", weight, index)
        if padding < 0:
            return y
        off = g.op("Unsqueeze", g.op("Equal", index, g.op("Constant", value_t=_integer(padding))), _integers(g, -1))
        return g.op("Where", off, stopped(g, y.setType(g.original_node.output().type())), y)

    return {"detach": detach, "embedding": embedding}


def _modes() -> Dict[str, Callable[..., Any]]:
    """What modules in training mode do."""
    import torch
    from torch.onnx import symbolic_helper
    args = symbolic_helper.parse_args

    def dropout_of(features: bool, alpha: bool) -> Callable[..., Any]:
        """Of whole channels; so that SELU's mean and variance stay."""
        @args("v", "f", "b")
        def dropout(g: Any, x: Any, p: float, train: bool) -> Any:
            if not train or not p:
                return x
            sizes = symbolic_helper._get_tensor_sizes(x)
            ones = torch.ones(*(n if k < 2 or not features else 1 for k, n in enumerate(sizes)))
            drop, kept = g.op("Dropout", g.op("Constant", value_t=ones), _number(g, p),
                           g.op("Constant", value_t=torch.tensor(True)), outputs=2)
            if not alpha:
                return g.op("Mul", x, drop)
            least = -1.7580993408473766  # of SELU
            a = ((least * least * p + 1) * (1 - p)) ** -0.5
            y = g.op("Add", g.op("Mul", g.op("Where", kept, x, _number(g, least)), _number(g, a)),
                     _number(g, -least * a * p))
            return g.op("Where", g.op("Equal", drop, _number(g, 1.0)), x, y)  # 1 if nothing is dropped
        return dropout

    return {"feature_dropout": dropout_of(True, False),
            "alpha_dropout": dropout_of(False, True), "feature_alpha_dropout": dropout_of(True, True)}


def _embedding_bag(original: Callable[..., Any]) -> Callable[..., Any]:
    """F.embedding_bag of operators that export; its own is exported as a loop over the bags."""
    import torch
    F = torch.nn.functional

    def embedding_bag(input: Any, weight: Any, offsets: Any = None,  # pylint: disable=redefined-builtin
                      max_norm: Any = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
                      mode: str = "mean", sparse: bool = False, per_sample_weights: Any = None,
                      include_last_offset: bool = False, padding_idx: Any = None) -> Any:
        if max_norm is not None or scale_grad_by_freq:
            return original(input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
                            per_sample_weights, include_last_offset, padding_idx)
        rows = F.embedding(input, weight)  # [bags, length, width], or [numbers, width]
        counts = torch.ones_like(input, dtype=torch.bool)
        if padding_idx is not None:
            counts = input != (padding_idx + weight.shape[0] if padding_idx < 0 else padding_idx)
        if input.dim() == 1:
            at, first = torch.arange(input.shape[0]), offsets[:-1] if include_last_offset else offsets
            end = offsets[1:] if include_last_offset else torch.cat([offsets[1:], offsets.new_tensor([input.shape[0]])])
            counts = counts & (at >= first[:, None]) & (at < end[:, None])  # [bags, numbers]
        if mode == "max":
            y = torch.where(counts[..., None], rows, torch.full_like(rows, -math.inf)).amax(1)
            return torch.where(counts.any(1, True), y, torch.zeros_like(y))
        shares = counts.to(weight.dtype)
        if mode == "mean":
            shares = shares / shares.sum(1, True).clamp(min=1)
        if per_sample_weights is not None:
            shares = shares * per_sample_weights
        return shares @ rows if input.dim() == 1 else (shares[..., None] * rows).sum(1)
    return embedding_bag


def _layer_by_layer(original: Callable[..., Any]) -> Callable[..., Any]:
    """torch._VF.lstm and the like: with dropout between layers, which the exporter has not, each layer for itself."""
    import torch

    def layers(input: Any, *rest: Any) -> Any:  # pylint: disable=redefined-builtin
        if len(rest) != 8 or isinstance(rest[1], torch.Tensor) or not (rest[4] and rest[5] and rest[3] > 1):
            return original(input, *rest)  # of packed sequences, or nothing is dropped
        first, weights, biases, num, ratio, train, both, batch_first = rest
        directions, per, last = 1 + both, len(weights) // num, []
        for k in range(num):
            at = slice(k * directions, (k + 1) * directions)
            state = first[at] if isinstance(first, torch.Tensor) else tuple(s[at] for s in first)
            input, *states = original(torch.nn.functional.dropout(input, ratio) if k else input, state,
                                      weights[k * per:(k + 1) * per], biases, 1, 0.0, train, both, batch_first)
            last.append(states)
        return (input, *(torch.cat(s) for s in zip(*last)))
    return layers


def _no_renorm(_original: Callable[..., Any]) -> Callable[..., Any]:
    """What an Embedding with max_norm does to its rows, of which the exporter leaves nothing."""
    def renorm(*_args: Any) -> Any:
        raise NotImplementedError("an Embedding with max_norm, which changes its weight when it is read")
    return renorm


@contextlib.contextmanager
def known(training: bool, opset: Optional[int]) -> Iterator[None]:
    """torch.onnx.export, to an opset (None: its default), knows these operators of PyTorch, too, but for those that the
    user registered; if a model is trained, also where gradients stop."""
    import torch
    from torch import onnx
    first = 13  # and later ones
    try:
        functions = {f"aten::{n}": f for n, f in
                     {**_losses(), **_operators(opset), **({**_gradients(), **_modes()} if training else {})}.items()
                     if not _is_users(n, first)}
    except (ImportError, AttributeError) as error:  # of a PyTorch that is newer than this
        functions = {}
        warnings.warn(f"torch.onnx.export is not told of what it lacks ({error}): gradients pass detach(), and x[i, j] "
                      f"with numbers below 0 is wrong")
    for name, function in functions.items():
        onnx.register_custom_op_symbolic(name, function, first)
    others = {(torch.nn.functional, "embedding_bag"): _embedding_bag, (torch, "embedding_renorm_"): _no_renorm,
              **({(torch._VF, n): _layer_by_layer for n in ("lstm", "gru", "rnn_tanh", "rnn_relu")}
                 if training else {})}
    was = {(where, n): getattr(where, n) for where, n in others}
    for (where, n), made in others.items():
        setattr(where, n, made(was[where, n]))
    try:
        yield
    finally:
        for (where, n), function in was.items():
            setattr(where, n, function)
        for name in functions:
            onnx.unregister_custom_op_symbolic(name, first)


__all__ = ["known"]
