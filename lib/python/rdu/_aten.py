# SPDX-License-Identifier: MIT
"""Graphs of ATen operators (torch.fx, as torch.compile hands them on) as ONNX models.

One table, ``OPERATORS``: the name of an operator, and the function that writes its nodes. Such a
function gets the converter, the node, and the operator's arguments in the order of its schema,
defaults filled in. What is not in the table, or takes a form that has no nodes, is
:class:`Unsupported`, with the operator's name.
"""
import math
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import fx

from . import _tensors
from ._onnx import DATA_TYPES, Writer


class Unsupported(Exception):
    """An operator without nodes for it; the text names it and says why."""


def dtype_name(dtype: torch.dtype) -> str:
    """A type's name, as NumPy and ONNX have it."""
    return str(dtype).rpartition(".")[2]


def as_constant(x: torch.Tensor) -> Tuple[np.ndarray, str]:
    """A tensor's elements and their type's name; of bfloat16, the bits."""
    return _tensors.as_array(x.detach())


#: Of operators that give the same elements in another shape: the one that eager does is kept.
VIEWS = {"view", "_unsafe_view", "reshape", "permute", "transpose", "t", "expand", "slice", "select", "unsqueeze",
         "squeeze", "alias", "detach"}
_RANDOM = {"bernoulli", "native_dropout", "rand", "randn", "rand_like", "randn_like", "randint", "randint_like", "randperm",
           "multinomial", "normal", "uniform", "exponential"}


def operator_name(node: fx.Node) -> str:
    """``aten.add.Tensor`` and its like."""
    return str(node.target) if not callable(node.target) or hasattr(node.target, "_schema") else node.target.__name__


def base_name(node: fx.Node) -> str:
    """``add`` of ``aten.add.Tensor``."""
    packet = getattr(node.target, "overloadpacket", None)
    return packet.__name__ if packet is not None else getattr(node.target, "__name__", str(node.target))


class Converter:
    """The nodes of one graph, as they are written. ``meta`` of each fx.Node has its value's shape and type."""

    def __init__(self, graph_module: fx.GraphModule):
        self.graph_module = graph_module
        self.writer = Writer()
        #: The names of tensors, a list for a node with several.
        self.names: Dict[fx.Node, Union[str, List[str]]] = {}

    # ---- what a function of the table uses ----------------------------------------------

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node with one result: its name."""
        return self.writer.node(op, *inputs, **attributes)

    def const(self, value: Any, dtype: Optional[torch.dtype] = None) -> str:
        """A constant: a number, a list of int64, or an array."""
        if isinstance(value, (list, tuple)):
            return self.writer.constant(np.array(value, np.int64))
        if dtype is None:
            return self.writer.constant(value)
        a, name = as_constant(torch.tensor(value, dtype=dtype))
        return self.writer.constant(a, name)

    def value(self, x: fx.Node) -> Any:
        """The fake tensor, or the number, that a node has for a value."""
        return x.meta["val"]

    def shape(self, x: fx.Node) -> List[int]:
        return list(self.value(x).shape)

    def dtype(self, x: fx.Node) -> torch.dtype:
        return self.value(x).dtype

    def name(self, x: Any, dtype: Optional[torch.dtype] = None) -> str:
        """The name of a tensor, or of the constant for a number; cast, if a type is given."""
        if not isinstance(x, fx.Node):
            if dtype is None:
                raise Unsupported(f"a number ({x!r}) for a tensor")
            return self.const(x, dtype)
        name = self.names[x]
        assert isinstance(name, str), x
        return name if dtype in (None, self.dtype(x)) else self.cast(name, dtype)

    def cast(self, name: str, dtype: torch.dtype) -> str:
        """A value as another type."""
        return self.op("Cast", name, to=self.onnx_type(dtype))

    def onnx_type(self, dtype: torch.dtype) -> int:
        if dtype_name(dtype) not in DATA_TYPES:
            raise Unsupported(f"elements of type {dtype_name(dtype)}, which the card would compute in fewer bits"
                              if dtype in (torch.float64, torch.complex64, torch.complex128) else
                              f"elements of type {dtype_name(dtype)}")
        return DATA_TYPES[dtype_name(dtype)]

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        return self.op("Reshape", name, self.const(list(shape)), **({"allowzero": 1} if 0 in shape else {}))

    def transpose(self, name: str, perm: Sequence[int]) -> str:
        return name if list(perm) == list(range(len(perm))) else self.op("Transpose", name, perm=list(perm))

    def slice(self, name: str, axis: int, start: int, end: int, step: int = 1) -> str:
        return self.op("Slice", name, self.const([start]), self.const([end]), self.const([axis]), self.const([step]))

    def zeros(self, shape: Sequence[int], dtype: torch.dtype) -> str:
        return self.full(shape, 0, dtype)

    def full(self, shape: Sequence[int], value: Any, dtype: torch.dtype) -> str:
        self.onnx_type(dtype)
        return self.op("Expand", self.const(value, dtype), self.const(list(shape)))

    # ---- the graph ------------------------------------------------------------------------

    def add(self, node: fx.Node) -> None:
        """Write a node that calls an operator."""
        if not isinstance(node.meta.get("val"), (torch.Tensor, tuple, list)):
            return  # a number, known by now
        if base_name(node) == "getitem":
            self.names[node] = self.names[node.args[0]][node.args[1]]
            return
        name = operator_name(node)
        try:
            values = node.meta["val"] if isinstance(node.meta["val"], (tuple, list)) else [node.meta["val"]]
            for v in values:
                if isinstance(v, torch.Tensor):
                    self.onnx_type(v.dtype)
            convert = OPERATORS.get(name.partition(".")[2]) or OPERATORS.get(base_name(node))
            if convert is None:
                raise Unsupported("its random numbers are PyTorch's, not the card's" if base_name(node) in _RANDOM
                                  else "there are no ONNX nodes for it")
            self.names[node] = convert(self, node, *self._arguments(node))
        except Unsupported as error:
            raise Unsupported(f"{name}: {error}") from None

    def _arguments(self, node: fx.Node) -> List[Any]:
        """All arguments of an operator in order; nodes that are numbers are their numbers."""
        def resolve(x: Any) -> Any:
            return x.meta["val"] if isinstance(x, fx.Node) and not isinstance(
                x.meta["val"], (torch.Tensor, tuple, list)) else x
        args = list(node.args)
        for a in node.target._schema.arguments[len(args):]:
            args.append(node.kwargs.get(a.name, a.default_value))
        return [fx.node.map_aggregate(a, resolve) for a in args]


Convert = Callable[..., Union[str, List[str]]]
OPERATORS: Dict[str, Convert] = {}


def operator(*names: str) -> Callable[[Convert], Convert]:
    """Enter a function into the table."""
    def enter(f: Convert) -> Convert:
        OPERATORS.update((n, f) for n in names)
        return f
    return enter


def axis_of(dim: int, rank: int) -> int:
    return dim + max(rank, 1) if dim < 0 else dim


# ---- one element at a time --------------------------------------------------------------------

_UNARY = {"abs": "Abs", "acos": "Acos", "acosh": "Acosh", "asin": "Asin", "asinh": "Asinh", "atan": "Atan",
          "atanh": "Atanh", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "erf": "Erf", "exp": "Exp", "floor": "Floor",
          "log": "Log", "neg": "Neg", "reciprocal": "Reciprocal", "relu": "Relu", "round": "Round",
          "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt", "tan": "Tan",
          "tanh": "Tanh", "logical_not": "Not", "isnan": "IsNaN", "isinf": "IsInf"}
_BINARY = {"mul": "Mul", "maximum": "Max", "minimum": "Min", "logical_and": "And", "logical_or": "Or",
           "logical_xor": "Xor"}
_COMPARISON = {"eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}


def _unary(op: str) -> Convert:
    def convert(c: Converter, n: fx.Node, x: fx.Node, *rest: Any) -> str:
        if any(v is not None and v != 0 for v in rest):
            raise Unsupported(f"with {rest[0]!r}")
        if op in ("IsNaN", "IsInf"):
            if not c.dtype(x).is_floating_point:
                return c.full(c.shape(n), False, torch.bool)
            return c.op(op, c.name(x))
        if op in ("Ceil", "Floor", "Round") and not c.dtype(n).is_floating_point:
            return c.op("Identity", c.name(x))
        return c.op(op, c.name(x, c.dtype(n)))
    return convert


def _binary(op: str) -> Convert:
    def convert(c: Converter, n: fx.Node, a: Any, b: Any, *_: Any) -> str:
        return c.op(op, c.name(a, c.dtype(n)), c.name(b, c.dtype(n)))
    return convert


def _compared(c: Converter, a: Any, b: Any) -> Tuple[str, str]:
    values = [c.value(x) if isinstance(x, fx.Node) else x for x in (a, b)]
    dtype = torch.result_type(*values)
    return c.name(a, dtype), c.name(b, dtype)


def _comparison(op: str) -> Convert:
    return lambda c, n, a, b: c.op(op, *_compared(c, a, b))


for _table, _make in ((_UNARY, _unary), (_BINARY, _binary), (_COMPARISON, _comparison)):
    OPERATORS.update((k, _make(v)) for k, v in _table.items())


@operator("ne")
def _ne(c: Converter, _: fx.Node, a: Any, b: Any) -> str:
    return c.op("Not", c.op("Equal", *_compared(c, a, b)))


@operator("add", "sub", "rsub")
def _add(c: Converter, n: fx.Node, a: Any, b: Any, alpha: Any = 1) -> str:
    dtype = c.dtype(n)
    if base_name(n) == "rsub":
        a, b = b, a
        if alpha != 1:
            raise Unsupported(f"with alpha={alpha}")
    if dtype == torch.bool:
        return c.op("Or", c.name(a, dtype), c.name(b, dtype))
    y = c.name(b, dtype)
    if alpha != 1:
        y = c.op("Mul", y, c.const(alpha, dtype))
    return c.op("Add" if base_name(n) == "add" else "Sub", c.name(a, dtype), y)


@operator("div")
def _div(c: Converter, n: fx.Node, a: Any, b: Any, rounding_mode: Optional[str] = None) -> str:
    if rounding_mode is not None:
        raise Unsupported(f"rounding_mode={rounding_mode!r}: the card's quotients are off by up to 1.5 units in the last "
                          f"place, which may be on the other side of an integer")
    return c.op("Div", c.name(a, c.dtype(n)), c.name(b, c.dtype(n)))


@operator("remainder", "fmod")
def _remainder(c: Converter, n: fx.Node, a: Any, b: Any) -> str:
    if c.dtype(n).is_floating_point:
        raise Unsupported("of floating-point numbers")
    return c.op("Mod", c.name(a, c.dtype(n)), c.name(b, c.dtype(n)), fmod=int(base_name(n) == "fmod"))


@operator("pow")
def _pow(c: Converter, n: fx.Node, a: Any, b: Any) -> str:
    return c.op("Pow", c.name(a, c.dtype(n)), c.name(b, c.dtype(n)))


@operator("rsqrt")
def _rsqrt(c: Converter, n: fx.Node, x: fx.Node) -> str:
    return c.op("Reciprocal", c.op("Sqrt", c.name(x, c.dtype(n))))


@operator("exp2", "log2", "log10")
def _other_base(c: Converter, n: fx.Node, x: fx.Node) -> str:
    kind, dtype = base_name(n), c.dtype(n)
    y = c.name(x, dtype)
    if kind == "exp2":
        return c.op("Exp", c.op("Mul", y, c.const(math.log(2), dtype)))
    return c.op("Mul", c.op("Log", y), c.const(1 / math.log({"log2": 2, "log10": 10}[kind]), dtype))


@operator("log1p", "expm1")
def _near_zero(c: Converter, n: fx.Node, x: fx.Node) -> str:
    """By the quotient of the rounded 1 + x (or e^x) and its distance from 1: what rounding does to both cancels."""
    dtype = c.dtype(n)
    y, one = c.name(x, dtype), c.const(1, dtype)
    if base_name(n) == "log1p":
        u = c.op("Add", y, one)
        log, off = c.op("Log", u), c.op("Sub", u, one)
        near, far = c.op("Mul", log, c.op("Div", y, off)), log
    else:
        u = c.op("Exp", y)
        off = c.op("Sub", u, one)
        near, far = c.op("Mul", off, c.op("Div", y, c.op("Log", u))), off
    same = c.op("Equal", u, one)
    small = c.op("Less", c.op("Abs", y), c.const(0.5, dtype))
    return c.op("Where", same, y, c.op("Where", small, near, far))


@operator("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not")
def _bits(c: Converter, n: fx.Node, *xs: Any) -> str:
    kind = base_name(n)[len("bitwise_"):].capitalize()
    return c.op(kind if c.dtype(n) == torch.bool else "Bitwise" + kind, *(c.name(x, c.dtype(n)) for x in xs))


@operator("leaky_relu")
def _leaky_relu(c: Converter, _: fx.Node, x: fx.Node, slope: float) -> str:
    return c.op("LeakyRelu", c.name(x), alpha=float(slope))


@operator("elu")
def _elu(c: Converter, n: fx.Node, x: fx.Node, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> str:
    dtype = c.dtype(n)
    if scale == input_scale == 1:
        return c.op("Elu", c.name(x), alpha=float(alpha))
    below = c.op("Elu", c.op("Mul", c.name(x), c.const(input_scale, dtype)), alpha=float(alpha))
    y = c.op("Where", c.op("Less", c.name(x), c.const(0.0, dtype)), below, c.name(x))
    return c.op("Mul", y, c.const(scale, dtype))


@operator("gelu")
def _gelu(c: Converter, _: fx.Node, x: fx.Node, approximate: str) -> str:
    return c.op("Gelu", c.name(x), approximate=approximate)


@operator("hardtanh", "clamp", "clamp_min", "clamp_max")
def _clamp(c: Converter, n: fx.Node, x: fx.Node, *limits: Any) -> str:
    low, high = {"clamp_min": (limits[0], None), "clamp_max": (None, limits[0])}.get(
        base_name(n), (limits + (None,))[:2])
    y = c.name(x, c.dtype(n))
    if low is not None:
        y = c.op("Max", y, c.name(low, c.dtype(n)))
    return y if high is None else c.op("Min", y, c.name(high, c.dtype(n)))


@operator("where")
def _where(c: Converter, n: fx.Node, condition: fx.Node, a: Any, b: Any) -> str:
    return c.op("Where", c.name(condition, torch.bool), c.name(a, c.dtype(n)), c.name(b, c.dtype(n)))


@operator("masked_fill")
def _masked_fill(c: Converter, n: fx.Node, x: fx.Node, mask: fx.Node, value: Any) -> str:
    return c.op("Where", c.name(mask), c.name(value, c.dtype(n)), c.name(x))


@operator("clone", "alias", "detach", "contiguous", "lift_fresh_copy", "_to_copy", "convert_element_type", "to")
def _copy(c: Converter, n: fx.Node, x: fx.Node, *_: Any) -> str:
    if c.value(n).device.type != "cpu":
        raise Unsupported(f"a copy to {c.value(n).device}")
    return c.op("Identity", c.name(x)) if c.dtype(x) == c.dtype(n) else c.name(x, c.dtype(n))


@operator("copy")
def _copy_over(c: Converter, n: fx.Node, _: fx.Node, x: fx.Node, *__: Any) -> str:
    return c.op("Expand", c.name(x, c.dtype(n)), c.const(c.shape(n)))


# ---- constants -------------------------------------------------------------------------------

@operator("full", "full_like", "zeros", "ones", "zeros_like", "ones_like", "new_zeros", "new_ones", "new_full",
          "scalar_tensor", "empty", "empty_like", "new_empty", "new_empty_strided", "empty_strided", "empty_permuted", "fill")
def _filled(c: Converter, n: fx.Node, *args: Any) -> str:
    kind = base_name(n)
    value = {"full": 1, "full_like": 1, "fill": 1, "new_full": 2, "scalar_tensor": 0}
    number = args[value[kind]] if kind in value else int("ones" in kind)
    if isinstance(number, fx.Node):
        return c.op("Expand", c.name(number, c.dtype(n)), c.const(c.shape(n)))
    return c.full(c.shape(n), number, c.dtype(n))


@operator("arange", "iota")
def _arange(c: Converter, n: fx.Node, *_: Any) -> str:
    args = c._arguments(n)
    a, name = as_constant(n.target(*args[:len(n.args)], **{
        k: v for k, v in n.kwargs.items() if k not in ("device", "pin_memory", "layout")}))
    return c.op("Identity", c.writer.constant(a, name))


# ---- reductions ------------------------------------------------------------------------------

def _axes(c: Converter, x: fx.Node, dims: Any) -> List[int]:
    dims = [dims] if isinstance(dims, int) else dims
    rank = len(c.shape(x))
    return [axis_of(d, rank) for d in dims] if dims else list(range(rank))


def reduce(c: Converter, op: str, name: str, axes: Sequence[int], keepdim: bool = False) -> str:
    if not axes:  # of a single number
        return c.op("Identity", name)
    return c.op(op, name, c.const(list(axes)), keepdims=int(keepdim))


@operator("sum", "mean", "prod", "amax", "amin")
def _reduction(c: Converter, n: fx.Node, x: fx.Node, dims: Any = None, keepdim: Any = False, *_: Any) -> str:
    op = {"sum": "ReduceSum", "mean": "ReduceMean", "prod": "ReduceProd", "amax": "ReduceMax", "amin": "ReduceMin"}
    if isinstance(dims, torch.dtype):  # of sum(x, dtype)
        dims = None
    y = c.name(x, c.dtype(n))
    if not c.shape(x):
        return c.op("Identity", y)
    return reduce(c, op[base_name(n)], y, _axes(c, x, dims), keepdim is True)


@operator("linalg_vector_norm")
def _norm(c: Converter, n: fx.Node, x: fx.Node, order: Any = 2, dims: Any = None, keepdim: bool = False, *_: Any) -> str:
    ops = {1: "ReduceL1", 2: "ReduceL2", math.inf: "ReduceMax", -math.inf: "ReduceMin"}
    if order not in ops:
        raise Unsupported(f"of order {order}")
    y = c.name(x, c.dtype(n))
    if order in (math.inf, -math.inf) or not c.shape(x):
        y = c.op("Abs", y)
    return reduce(c, ops[order], y, _axes(c, x, dims), keepdim)


@operator("any", "all")
def _quantifier(c: Converter, n: fx.Node, x: fx.Node, dims: Any = None, keepdim: bool = False) -> str:
    y = c.cast(c.name(x, torch.bool), torch.int32)
    y = reduce(c, "ReduceMax" if base_name(n) == "any" else "ReduceMin", y, _axes(c, x, dims), keepdim)
    return c.cast(y, torch.bool)


def _spread(c: Converter, x: fx.Node, dims: Any, correction: Any, keepdim: bool) -> Tuple[str, str]:
    """Variance and mean."""
    axes = _axes(c, x, dims)
    terms = math.prod(c.shape(x)[a] for a in axes)
    correction = 1 if correction is None else correction
    if terms - correction <= 0:
        raise Unsupported(f"of {terms} elements with correction {correction}")
    mean = reduce(c, "ReduceMean", c.name(x), axes, True)
    off = c.op("Sub", c.name(x), mean)
    total = reduce(c, "ReduceSum", c.op("Mul", off, off), axes, keepdim)
    variance = c.op("Mul", total, c.const(1.0 / (terms - correction), c.dtype(x)))
    return variance, mean if keepdim else reduce(c, "ReduceMean", c.name(x), axes)


@operator("var.correction")
def _var(c: Converter, _: fx.Node, x: fx.Node, dims: Any, correction: Any, keepdim: bool) -> str:
    return _spread(c, x, dims, correction, keepdim)[0]


@operator("var_mean.correction")
def _var_mean(c: Converter, _: fx.Node, x: fx.Node, dims: Any, correction: Any, keepdim: bool) -> List[str]:
    return list(_spread(c, x, dims, correction, keepdim))


@operator("argmax", "argmin")
def _argmax(c: Converter, n: fx.Node, x: fx.Node, dim: Optional[int], keepdim: bool) -> str:
    y, op = c.name(x), "ArgMax" if base_name(n) == "argmax" else "ArgMin"
    if dim is None:
        y = c.op(op, c.reshape(y, [-1]), axis=0, keepdims=0)
        return c.reshape(y, c.shape(n))
    return c.op(op, y, axis=axis_of(dim, len(c.shape(x))), keepdims=int(keepdim))


@operator("max.dim", "min.dim")
def _max_dim(c: Converter, n: fx.Node, x: fx.Node, dim: int, keepdim: bool) -> List[str]:
    kind, axis = base_name(n).capitalize(), axis_of(dim, len(c.shape(x)))
    return [reduce(c, "Reduce" + kind, c.name(x), [axis], keepdim),
            c.op("Arg" + kind, c.name(x), axis=axis, keepdims=int(keepdim))]


@operator("max.default", "min.default")
def _max_all(c: Converter, n: fx.Node, x: fx.Node) -> str:
    return reduce(c, "Reduce" + base_name(n).capitalize(), c.name(x), list(range(len(c.shape(x)))))


@operator("cumsum")
def _cumsum(c: Converter, n: fx.Node, x: fx.Node, dim: int, *_: Any) -> str:
    if not c.shape(x):
        return c.name(x, c.dtype(n))
    return c.op("CumSum", c.name(x, c.dtype(n)), c.const(axis_of(dim, len(c.shape(x)))))


@operator("topk")
def _topk(c: Converter, _: fx.Node, x: fx.Node, k: int, dim: int, largest: bool, is_sorted: bool) -> List[str]:
    return c.writer.nodes("TopK", [c.name(x), c.const([k])], 2, axis=axis_of(dim, len(c.shape(x))),
                          largest=int(largest), sorted=int(is_sorted))


@operator("_softmax", "_log_softmax", "softmax", "log_softmax")
def _softmax(c: Converter, n: fx.Node, x: fx.Node, dim: int, *_: Any) -> str:
    op = "LogSoftmax" if "log" in base_name(n) else "Softmax"
    if not c.shape(x):
        return c.full([], 0 if "log" in base_name(n) else 1, c.dtype(n))
    return c.op(op, c.name(x, c.dtype(n)), axis=axis_of(dim, len(c.shape(x))))


# ---- contractions ----------------------------------------------------------------------------

@operator("mm", "bmm", "mv", "dot", "matmul")
def _matmul(c: Converter, _: fx.Node, a: fx.Node, b: fx.Node, *__: Any) -> str:
    return c.op("MatMul", c.name(a), c.name(b))


@operator("addmm")
def _addmm(c: Converter, n: fx.Node, bias: fx.Node, a: fx.Node, b: fx.Node, beta: Any = 1, alpha: Any = 1) -> str:
    if not c.dtype(n).is_floating_point:
        raise Unsupported(f"of {dtype_name(c.dtype(n))}")
    return c.op("Gemm", c.name(a), c.name(b), c.name(bias), alpha=float(alpha), beta=float(beta))


# ---- the same elements, elsewhere ------------------------------------------------------------

@operator("view", "_unsafe_view", "reshape", "_reshape_copy", "unsqueeze", "squeeze", "flatten")
def _view(c: Converter, n: fx.Node, x: fx.Node, *_: Any) -> str:
    return c.reshape(c.name(x), c.shape(n))


@operator("as_strided")
def _as_strided(c: Converter, n: fx.Node, x: fx.Node, size: Sequence[int], stride: Sequence[int], offset: int = 0) -> str:
    """Of all elements as they lie."""
    rows = [math.prod(size[i + 1:]) for i in range(len(size))]
    if offset or math.prod(size) != math.prod(c.shape(x)) or not c.value(x).is_contiguous() or \
            any(a != b for a, b, d in zip(stride, rows, size) if d != 1):
        raise Unsupported("of some elements, or in another order")
    return c.reshape(c.name(x), c.shape(n))


@operator("permute", "t", "transpose")
def _permute(c: Converter, n: fx.Node, x: fx.Node, *args: Any) -> str:
    rank = len(c.shape(x))
    perm = list(range(rank))
    if base_name(n) == "permute":
        perm = [axis_of(d, rank) for d in args[0]]
    elif rank > 1:
        a, b = (axis_of(d, rank) for d in (args or (0, 1)))
        perm[a], perm[b] = perm[b], perm[a]
    return c.op("Transpose", c.name(x), perm=perm) if rank else c.op("Identity", c.name(x))


@operator("expand")
def _expand(c: Converter, n: fx.Node, x: fx.Node, *_: Any) -> str:
    return c.op("Expand", c.name(x), c.const(c.shape(n)))


@operator("slice")
def _slice(c: Converter, _: fx.Node, x: fx.Node, dim: int = 0, start: Optional[int] = None, end: Optional[int] = None,
           step: int = 1) -> str:
    axis = axis_of(dim, len(c.shape(x)))
    size = c.shape(x)[axis]
    return c.slice(c.name(x), axis, 0 if start is None else start, size if end is None else min(end, size), step)


@operator("select")
def _select(c: Converter, n: fx.Node, x: fx.Node, dim: int, index: int) -> str:
    axis = axis_of(dim, len(c.shape(x)))
    index = axis_of(index, c.shape(x)[axis])
    return c.reshape(c.slice(c.name(x), axis, index, index + 1), c.shape(n))


@operator("cat", "concat")
def _cat(c: Converter, n: fx.Node, parts: Sequence[fx.Node], dim: int = 0) -> str:
    rank = len(c.shape(n))
    names = [c.name(p, c.dtype(n)) for p in parts if len(c.shape(p)) == rank]  # [0] goes with any rank
    return c.op("Concat", *names, axis=axis_of(dim, rank))


@operator("stack")
def _stack(c: Converter, n: fx.Node, parts: Sequence[fx.Node], dim: int = 0) -> str:
    axis = axis_of(dim, len(c.shape(n)))
    one = [1 if i == axis else d for i, d in enumerate(c.shape(n))]
    return c.op("Concat", *(c.reshape(c.name(p, c.dtype(n)), one) for p in parts), axis=axis)


@operator("split", "split_with_sizes", "unbind", "unsafe_split", "unsafe_split_with_sizes")
def _split(c: Converter, n: fx.Node, x: fx.Node, *args: Any) -> List[str]:
    unbind = base_name(n) == "unbind"
    axis = axis_of((args[0] if unbind else args[1]) if len(args) > (0 if unbind else 1) else 0, len(c.shape(x)))
    parts, at = [], 0
    for v in c.value(n):
        size = 1 if unbind else v.shape[axis]
        part = c.slice(c.name(x), axis, at, at + size)
        parts.append(c.reshape(part, v.shape) if unbind else part)
        at += size
    return parts


@operator("flip")
def _flip(c: Converter, _: fx.Node, x: fx.Node, dims: Sequence[int]) -> str:
    y = c.name(x)
    for d in dims:
        y = c.slice(y, axis_of(d, len(c.shape(x))), -1, -(1 << 31), -1)
    return c.op("Identity", y) if not dims else y


@operator("repeat")
def _repeat(c: Converter, _: fx.Node, x: fx.Node, times: Sequence[int]) -> str:
    wide = [1] * (len(times) - len(c.shape(x))) + c.shape(x)
    return c.op("Tile", c.reshape(c.name(x), wide), c.const(list(times)))


@operator("constant_pad_nd")
def _pad(c: Converter, n: fx.Node, x: fx.Node, pad: Sequence[int], value: Any = 0) -> str:
    rank = len(c.shape(x))
    before, after = [0] * rank, [0] * rank
    for i in range(len(pad) // 2):
        before[rank - 1 - i], after[rank - 1 - i] = pad[2 * i], pad[2 * i + 1]
    y = c.name(x)
    for axis in range(rank):  # less than nothing is cut off
        if min(before[axis], after[axis]) < 0:
            y = c.slice(y, axis, max(0, -before[axis]), c.shape(x)[axis] + min(0, after[axis]))
    pads = [max(0, p) for p in before + after]
    return c.op("Pad", y, c.const(pads), c.const(value, c.dtype(n)))


@operator("tril", "triu")
def _triangle(c: Converter, n: fx.Node, x: fx.Node, diagonal: int = 0) -> str:
    return c.op("Trilu", c.name(x), c.const(diagonal, torch.int64), upper=int(base_name(n) == "triu"))


@operator("slice_scatter", "select_scatter")
def _overwrite(c: Converter, n: fx.Node, x: fx.Node, part: fx.Node, dim: int = 0, start: Optional[int] = None,
               end: Optional[int] = None, step: int = 1) -> str:
    axis = axis_of(dim, len(c.shape(x)))
    size, y = c.shape(x)[axis], c.name(part, c.dtype(n))
    if base_name(n) == "select_scatter":
        start = axis_of(start or 0, size)
        end = start + 1
        y = c.reshape(y, [1 if i == axis else d for i, d in enumerate(c.shape(n))])
    if step != 1:
        raise Unsupported(f"with step {step}")
    start = min(max(0, axis_of(start or 0, size)), size)
    end = start + (1 if base_name(n) == "select_scatter" else c.shape(part)[axis])
    pieces = [c.slice(c.name(x), axis, 0, start)] if start else []
    pieces.append(y)
    pieces += [c.slice(c.name(x), axis, end, size)] if end < size else []
    return c.op("Concat", *pieces, axis=axis)


# ---- by index --------------------------------------------------------------------------------

@operator("embedding")
def _embedding(c: Converter, _: fx.Node, table: fx.Node, index: fx.Node, *__: Any) -> str:
    return c.op("Gather", c.name(table), c.name(index), axis=0)


@operator("embedding_dense_backward")
def _embedding_backward(c: Converter, n: fx.Node, grad: fx.Node, index: fx.Node, rows: int, padding: int,
                        by_frequency: bool) -> str:
    if by_frequency:
        raise Unsupported("scale_grad_by_freq")
    g = c.name(grad)
    if padding >= 0:
        keep = c.op("Equal", c.name(index), c.const(padding, c.dtype(index)))
        keep = c.reshape(keep, c.shape(index) + [1])
        g = c.op("Where", keep, c.const(0, c.dtype(grad)), g)
    at = c.reshape(c.name(index, torch.int64), [-1, 1])
    return c.op("ScatterND", c.zeros([rows] + c.shape(n)[1:], c.dtype(n)), at, c.reshape(g, [-1] + c.shape(n)[1:]),
                reduction="add")


@operator("index_select")
def _index_select(c: Converter, _: fx.Node, x: fx.Node, dim: int, index: fx.Node) -> str:
    return c.op("Gather", c.name(x), c.name(index), axis=axis_of(dim, len(c.shape(x))))


def _cut_to(c: Converter, x: fx.Node, index: fx.Node, axis: int) -> str:
    """x, no longer than the index but along the axis."""
    y = c.name(x)
    for i, (have, want) in enumerate(zip(c.shape(x), c.shape(index))):
        if i != axis and have != want:
            y = c.slice(y, i, 0, want)
    return y


@operator("gather")
def _gather(c: Converter, _: fx.Node, x: fx.Node, dim: int, index: fx.Node, *__: Any) -> str:
    if not c.shape(x):
        raise Unsupported("of a single number")
    axis = axis_of(dim, len(c.shape(x)))
    return c.op("GatherElements", _cut_to(c, x, index, axis), c.name(index), axis=axis)


@operator("scatter.src", "scatter.value", "scatter_add")
def _scatter(c: Converter, n: fx.Node, x: fx.Node, dim: int, index: fx.Node, source: Any) -> str:
    axis = axis_of(dim, len(c.shape(x)))
    if isinstance(source, fx.Node):
        updates = _cut_to(c, source, index, -1)
    else:
        updates = c.full(c.shape(index), source, c.dtype(n))
    return c.op("ScatterElements", c.name(x), c.name(index), updates, axis=axis,
                reduction="add" if base_name(n) == "scatter_add" else "none")


def _indexed(c: Converter, x: fx.Node, indices: Sequence[Optional[fx.Node]]) -> Tuple[List[int], str, List[int], List[int]]:
    """For x[indices]: the order of axes with those that are indexed in front; the indices as [..., k]; the shape of
    [...]; and the order of axes that brings x[indices] into that of [...] and the axes that are left."""
    rank = len(c.shape(x))
    axes = [i for i, v in enumerate(indices) if v is not None]
    nodes = [indices[i] for i in axes]
    if any(c.dtype(v) in (torch.bool, torch.uint8) for v in nodes):
        raise Unsupported("by a mask: the size of the result is not known before it runs")
    shape = list(torch.broadcast_shapes(*(c.shape(v) for v in nodes)))
    parts = [c.op("Expand", c.reshape(c.name(v, torch.int64), c.shape(v) + [1]), c.const(shape + [1])) for v in nodes]
    index = c.op("Concat", *parts, axis=-1) if len(parts) > 1 else parts[0]
    rest = [i for i in range(rank) if i not in axes]
    together = axes == list(range(axes[0], axes[0] + len(axes)))
    at, s = (axes[0] if together else 0), len(shape)
    # Of the result, [before][shape][after]: shape first.
    back = list(range(at, at + s)) + list(range(at)) + list(range(at + s, s + len(rest)))
    return axes + rest, index, shape, back


@operator("index", "_unsafe_index")
def _index(c: Converter, _: fx.Node, x: fx.Node, indices: Sequence[Optional[fx.Node]]) -> str:
    axes = [i for i, v in enumerate(indices) if v is not None]
    if len(axes) == 1 and c.dtype(indices[axes[0]]) in (torch.int64, torch.int32):
        return c.op("Gather", c.name(x), c.name(indices[axes[0]]), axis=axes[0])
    perm, index, _, back = _indexed(c, x, indices)
    y = c.op("GatherND", c.transpose(c.name(x), perm), index)
    return c.transpose(y, [back.index(i) for i in range(len(back))])


@operator("index_put", "_unsafe_index_put")
def _index_put(c: Converter, n: fx.Node, x: fx.Node, indices: Sequence[Optional[fx.Node]], values: fx.Node,
               accumulate: bool = False) -> str:
    perm, index, shape, back = _indexed(c, x, indices)
    rest = [c.shape(x)[i] for i in perm[len(perm) - (len(back) - len(shape)):]] if len(back) > len(shape) else []
    there = shape + rest  # of values, when the indices' axes are first
    whole = [there[back.index(i)] for i in range(len(back))]
    v = c.op("Expand", c.name(values, c.dtype(n)), c.const(whole))
    y = c.op("ScatterND", c.transpose(c.name(x), perm), index, c.transpose(v, back),
             reduction="add" if accumulate else "none")
    return c.transpose(y, [perm.index(i) for i in range(len(perm))])


from . import _aten_nn  # noqa: E402,F401  pylint: disable=wrong-import-position,unused-import

__all__ = ["Converter", "OPERATORS", "Unsupported", "VIEWS", "as_constant", "base_name", "dtype_name", "operator_name"]
