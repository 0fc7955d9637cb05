# SPDX-License-Identifier: MIT
"""What torch.onnx.export makes of tensors that are changed in place: of the one that is named, and of the one that it
is a part of by indices. Another view of the same elements, made before, keeps the old ones there: that is refused."""
import contextlib
import sys
from typing import Any, Dict, Iterator, List, Tuple

_INDICES = ("aten::select", "aten::slice")
_WRITES = ("aten::copy_", "aten::fill_", "aten::zero_")
_PARTS = ("aten::chunk", "aten::split", "aten::split_with_sizes", "aten::tensor_split", "aten::unbind",
          "prim::ListUnpack")
_VIEWS = _INDICES + _PARTS + tuple("aten::" + n for n in (
    "alias", "detach", "diagonal", "expand", "expand_as", "mT", "movedim", "narrow", "numpy_T", "permute", "squeeze",
    "swapaxes", "t", "transpose", "unflatten", "unfold", "unsqueeze", "view", "view_as"))
_SOMETIMES = ("aten::contiguous", "aten::flatten", "aten::reshape", "aten::to")


def _is_view(node: Any) -> bool:
    kind, x = node.kind(), node.inputsAt(0) if node.inputsSize() else None
    if kind not in _SOMETIMES:
        return kind in _VIEWS
    given, made = x.type(), node.output().type()
    if not (x.isCompleteTensor() and node.output().isCompleteTensor()):
        return False
    if kind in ("aten::contiguous", "aten::to"):  # nothing, if it is so already
        return bool(given.strides() == made.strides() and given.scalarType() == made.scalarType())
    dense, size = [], 1
    for n in reversed(given.sizes()):
        dense.insert(0, size)
        size *= n
    return given.strides() == dense


class _Value:  # pylint: disable=too-few-public-methods
    """Where a tensor's elements are: those of `root`, and which of them."""

    def __init__(self, root: int, path: Tuple[Any, ...], own: int, top: int, made: int) -> None:
        self.root, self.path, self.made = root, path, made
        self.own, self.top = own, top  # the exporter changes these: it, and what it is a part of by indices


def _apart(a: Tuple[Any, ...], b: Tuple[Any, ...]) -> bool:
    """Have two parts of a tensor nothing in common?"""
    one, other = next(((x, y) for x, y in zip(a, b) if x != y), (None, None))
    if one is None or other is None or one[0] != other[0]:
        return False
    if one[0] == "prim::ListUnpack":
        return True
    if one[0] == "aten::select":
        return one[1] == other[1] and None not in (one[2], other[2]) and (one[2] < 0) == (other[2] < 0)
    if one[0] != "aten::slice" or one[1] != other[1] or None in one + other or min(one[2:4] + other[2:4]) < 0:
        return False
    return bool(one[3] <= other[2] or other[3] <= one[2])


def _number(value: Any) -> Any:
    return value.toIValue() if value.node().kind() == "prim::Constant" else None


def check(graph: Any) -> None:
    """Of a traced module."""
    values: Dict[int, _Value] = {}
    changed: Dict[int, List[Tuple[int, _Value, Any]]] = {}  # of a root: when, what, and by which node

    def of(value: Any) -> _Value:
        v = value.unique()
        return values.setdefault(v, _Value(v, (), v, v, -1))

    def stale(v: _Value, when: int) -> Any:
        """The node that has changed it, of which the exporter does not know."""
        return next((node for since, part, node in changed.get(v.root, ())
                     if v.made < since < when and v.own not in (part.own, part.top) and
                     not _apart(v.path, part.path)), None)

    def used(value: Any, when: int) -> None:
        node = stale(values[value.unique()], when) if value.unique() in values else None
        if node:
            where = node.sourceRange().strip().split("\n")[0]
            raise NotImplementedError(
                f"{node.kind()} changes a part of a tensor in place ({where}) of which another view is read later: "
                f"that one would keep what it had. Assign it instead: x[...] = y, or x = y")

    for when, node in enumerate(graph.nodes()):
        kind = node.kind()
        if kind not in ("aten::size", "aten::dim"):
            for value in list(node.inputs())[kind in _INDICES + _WRITES:]:
                used(value, when)
        if not node.inputsSize():
            continue
        first = node.inputsAt(0)
        if kind.startswith("aten::") and kind.endswith("_") and not kind.endswith("__") and \
                str(first.type().kind()) == "TensorType":
            x = of(first)
            part = _Value(x.root, x.path, x.own, x.own if kind == "aten::index_put_" else x.top, when)
            changed.setdefault(x.root, []).append((when, part, node))
            for out in node.outputs():
                values[out.unique()] = part
        elif kind in _VIEWS or (kind in _SOMETIMES and _is_view(node)):
            x = of(first)
            numbers = tuple(_number(v) for v in list(node.inputs())[1:])
            for k, out in enumerate(node.outputs()):
                step = (kind, k) if kind == "prim::ListUnpack" else (kind, *numbers)
                whole = kind == "aten::slice" and numbers[1] == 0 and (numbers[2] or 0) >= 2 ** 62 and numbers[3] == 1
                same = kind in ("aten::contiguous", "aten::to")
                own = x.own if same else out.unique()
                old = kind in _INDICES and stale(x, when)  # and so it is itself
                values[out.unique()] = _Value(x.root, x.path if whole or same else x.path + (step,), own,
                                              x.top if kind in _INDICES or same else own, x.made if old else when)
    for value in graph.outputs():
        used(value, sys.maxsize)
        for part in value.node().inputs() if value.node().kind() in ("prim::TupleConstruct", "prim::ListConstruct") \
                else ():
            used(part, sys.maxsize)


@contextlib.contextmanager
def checked() -> Iterator[None]:
    """torch.onnx.export looks at what it has traced."""
    name = "_trace_and_get_graph_from_model"
    modules = [m for n, m in list(sys.modules.items()) if n.startswith("torch.onnx") and hasattr(m, name)]
    was = [getattr(m, name) for m in modules]

    def traced(*args: Any, **named: Any) -> Any:
        made = was[0](*args, **named)
        check(made[0])
        return made
    for m in modules:
        setattr(m, name, traced)
    try:
        yield
    finally:
        for m, before in zip(modules, was):
            setattr(m, name, before)


__all__ = ["checked"]
