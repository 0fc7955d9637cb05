# SPDX-License-Identifier: MIT
"""The compiler, and models of PyTorch as ONNX files."""
import contextlib
import errno
import importlib
import importlib.util
import inspect
import io
import operator
import os
import sys
import threading
import warnings
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple, \
    Union

import numpy as np

from . import _ffi, _in_place, _symbolic
from ._ffi import CompileError, Error, byref, c_int, c_size_t, c_void_p, rduc, text


class Compiled(NamedTuple):
    """What the compiler gave: the program file's bytes, texts by name, and notes."""
    program: bytes
    outputs: Dict[str, str]
    notes: List[str]


def _sizes(sizes: Any) -> str:
    """A dimension's size, or several, as rduc_set() wants them."""
    if isinstance(sizes, str):
        return sizes
    if isinstance(sizes, (list, tuple, range)):
        return f"[{','.join(str(operator.index(s)) for s in sizes)}]"
    return str(operator.index(sizes))


def _options(options: Dict[str, Any]) -> Iterable[Tuple[str, str]]:
    """As rduc_set() wants them: names with dashes, lists one by one, or with commas."""
    for name, value in options.items():
        name = name.replace("_", "-")
        if value is None:
            continue
        if name == "shape":
            for tensor, dims in dict(value).items():
                yield name, f"{tensor}={','.join(_sizes(d) for d in dims)}"
        elif name == "value":
            for tensor, numbers in dict(value).items():
                flat = np.asarray(numbers).reshape(-1).tolist()
                yield name, f"{tensor}={','.join(str(int(x) if isinstance(x, bool) else x) for x in flat)}"
        elif name == "dim":
            for dim, sizes in dict(value).items():
                yield name, f"{dim}={_sizes(sizes)}"
        elif isinstance(value, bool):
            yield name, str(int(value))
        elif isinstance(value, (list, tuple)):
            yield name, ",".join(value)
        else:
            yield name, str(value)


class _Compiler:
    """An object of librduc."""

    def __init__(self) -> None:
        self.handle = c_void_p()
        if rduc.rduc_new(byref(self.handle)):
            raise MemoryError("no memory for a compiler")

    def __enter__(self) -> "_Compiler":
        return self

    def __exit__(self, *_: Any) -> None:
        rduc.rduc_free(self.handle)

    def check(self, ret: int) -> None:
        if ret:
            raise Error(text(rduc.rduc_error_text(self.handle)), -ret)

    def output(self, number: int) -> Optional[bytes]:
        size = c_size_t()
        p = rduc.rduc_output(self.handle, number, byref(size))
        return _ffi.ctypes.string_at(p, size.value) if p else None

    def diagnostics(self) -> Tuple[List[str], ...]:
        """Notes, reasons against the model, and the report's remarks."""
        said: Tuple[List[str], ...] = ([], [], [])
        severity = c_int()
        for i in range(1 << 30):
            one = rduc.rduc_diagnostic(self.handle, i, byref(severity))
            if one is None:
                break
            said[severity.value].append(text(one))
        return said


def compile_onnx(model: Union[bytes, str], want: Sequence[str] = (),
                 progress: Optional[Callable[[str], Any]] = None, **options: Any) -> Compiled:
    """Compile an ONNX model, given by its bytes or its file's path."""
    raised: List[BaseException] = []
    with _Compiler() as c:

        # Python looks at signals here, too: Ctrl-C ends a compile.
        @_ffi.PROGRESS
        def step(_: Any, what: bytes) -> None:
            try:
                if progress:
                    progress(text(what))
            except BaseException as error:  # pylint: disable=broad-except
                raised.append(error)
                rduc.rduc_cancel(c.handle)

        for name, value in _options(options):
            c.check(rduc.rduc_set(c.handle, name.encode(), value.encode()))
        for name in want:
            if name not in _ffi.OUTPUTS:
                raise Error(f"there is no output '{name}', there are {', '.join(_ffi.OUTPUTS)}",
                            errno.EINVAL)
            c.check(rduc.rduc_want(c.handle, _ffi.OUTPUTS.index(name)))
        rduc.rduc_set_progress(c.handle, step, None)
        if isinstance(model, bytes):
            ret = rduc.rduc_compile(c.handle, model, len(model))
        else:
            ret = rduc.rduc_compile_file(c.handle, os.fsencode(model))
        if raised:
            raise raised[0]
        notes, reasons, remarks = c.diagnostics()
        if ret == -errno.EINVAL:
            raise CompileError(text(rduc.rduc_error_text(c.handle)), -ret, reasons)
        if ret == -errno.EIO and not isinstance(model, bytes):
            raise Error(f"{model}: {text(rduc.rduc_error_text(c.handle))}", -ret)
        c.check(ret)
        outputs = {name: text(c.output(i)) for i, name in enumerate(_ffi.OUTPUTS)
                   if name in want and name != "program"}
        return Compiled(c.output(0) or b"", outputs, notes + remarks)


# ---- models ------------------------------------------------------------------------------


def is_module(model: Any) -> bool:
    """Is it a torch.nn.Module?"""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def onnx_bytes(model: Any) -> Union[bytes, str]:
    """A model as compile_onnx() takes it; of an onnx.ModelProto the bytes."""
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model)
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)  # type: ignore[return-value]
    if hasattr(model, "SerializeToString"):
        return model.SerializeToString()
    raise TypeError(f"a model is an ONNX file's path or bytes, an onnx.ModelProto or a "
                    f"torch.nn.Module, not {type(model).__name__}")


def _fields(data: memoryview) -> Iterable[Tuple[int, Any]]:
    """Fields of a protobuf message: number, and bytes or integer."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            yield key >> 3, data[at:at + size]
            at += size


def weight_names(onnx: bytes) -> List[str]:
    """The names of an ONNX model's initializers; the package onnx need not be there."""
    names = []
    for number, graph in _fields(memoryview(onnx)):
        if number == 7:  # ModelProto.graph
            for part, tensor in _fields(graph):
                if part == 5:  # GraphProto.initializer
                    names += [bytes(v).decode() for f, v in _fields(tensor) if f == 8]  # its name
    return names


def kept_statistics(onnx: bytes) -> Set[str]:
    """What BatchNormalization in training mode takes for mean and variance, in an ONNX model's graph."""
    names: Set[str] = set()
    for number, graph in _fields(memoryview(onnx)):
        if number != 7:  # ModelProto.graph
            continue
        for part, data in _fields(graph):
            node = list(_fields(data)) if part == 1 else []  # GraphProto.node
            if (4, b"BatchNormalization") in node and \
                    any(f == 5 and {(1, b"training_mode"), (3, 1)} <= set(_fields(v)) for f, v in node):
                names.update(bytes(v).decode() for v in [v for f, v in node if f == 1][3:])
    return names


def _opsets() -> List[Optional[int]]:
    """Those to be tried: the newest that torch.onnx.export() writes (its default is older, and has less), and,
    where its LayerNormalization is none, the one before that; None: its default."""
    from torch.onnx import _constants
    known = ("ONNX_TORCHSCRIPT_EXPORTER_MAX_OPSET", "ONNX_MAX_OPSET")
    newest = next((getattr(_constants, name) for name in known if hasattr(_constants, name)), None)
    return [17, 16] if newest == 17 else [newest]


def _is_there(path: str) -> bool:
    try:
        importlib.import_module(path)
    except ImportError:
        return False
    return True


def _pad_circular(g: Any, x: Any, pad: Any) -> Any:
    """F.pad(mode="circular"), instead of PyTorch's: 1 leaves out the last of each row, 2 all where it cuts one
    end off and not the other."""
    from torch.onnx import symbolic_helper, symbolic_opset9
    pads = symbolic_opset9._convert_padding_node(pad)
    last = 2**63 - 1

    def part(x: Any, axis: int, start: int, end: int) -> Any:
        return symbolic_helper._slice_helper(g, x, axes=[axis], starts=[start], ends=[end])
    for axis, (before, after) in enumerate(zip(pads[-2::-2], pads[-1::-2]), 2):
        x = part(x, axis, max(0, -before), after if after < 0 else last)  # what is cut off is not repeated
        parts = [part(x, axis, -before, last)] * (before > 0) + [x] + [part(x, axis, 0, after)] * (after > 0)
        x = g.op("Concat", *parts, axis_i=axis)
    return x


@contextlib.contextmanager
def _roi_align_mended() -> Iterator[None]:
    """torchvision 0.14 has no roi_align for opset 16, where ONNX's RoiAlign moved by half a pixel: which of both it
    is must be said."""
    name, since = "torchvision::roi_align", 16
    if not _is_there("torch.onnx._internal.registration"):
        yield
        return
    from torch.onnx import symbolic_helper
    registry = importlib.import_module("torch.onnx._internal.registration").registry
    group = registry.get_function_group(name)
    before = group.get(since - 1) if group else None
    if before is None or before is not group.get(since):
        yield
        return

    def roi_align(g: Any, *args: Any) -> Any:
        y = before(g, *args)
        aligned = symbolic_helper._maybe_get_const(args[-1], "i")
        y.node().s_("coordinate_transformation_mode", "half_pixel" if aligned else "output_half_pixel")
        return y
    registry.register(name, since, roi_align, custom=True)
    try:
        yield
    finally:
        registry.unregister(name, since)


@contextlib.contextmanager
def _exporter_mended() -> Iterator[None]:
    import torch
    from torch.onnx import symbolic_opset9
    mended: List[Tuple[Any, str, Any]] = [(symbolic_opset9, "_pad_circular", _pad_circular)]
    if int(torch.__version__.split(".")[0]) > 1 and not importlib.util.find_spec("onnx"):
        # It wants the package onnx to add functions of onnxscript, of which there are none.
        for path in ("torch.onnx._internal.torchscript_exporter.onnx_proto_utils",
                     "torch.onnx._internal.onnx_proto_utils"):
            if _is_there(path):  # in a PyTorch that has neither the exporter says itself what it lacks
                mended.append((importlib.import_module(path), "_add_onnxscript_fn", lambda onnx, _functions: onnx))
                break
    was = [getattr(module, name) for module, name, _ in mended]
    try:
        for module, name, instead in mended:
            setattr(module, name, instead)
        yield
    finally:
        for (module, name, _), before in zip(mended, was):
            setattr(module, name, before)


@contextlib.contextmanager
def _only_doubts() -> Iterator[None]:
    """Of the exporter's warnings those that what it writes may not be what the module computes: a branch, or a
    number, that depends on data is that of the example. Those of PyTorch's own code are about shapes; of a tensor
    made of Python's numbers, these are what counts."""
    import torch
    own = os.path.dirname(torch.__file__)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    for w in {(str(w.message), w.filename, w.lineno): w for w in said}.values():
        traced = issubclass(w.category, torch.jit.TracerWarning) and "registered as constants" not in str(w.message)
        if (traced and not w.filename.startswith(own)) or "the card's gradients" in str(w.message):
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)


@contextlib.contextmanager
def unchanged(model: Any) -> Iterator[None]:
    """However often the module runs, its buffers and PyTorch's random numbers are what they were."""
    import torch
    was = [(m, name, b, b.clone()) for m in model.modules() for name, b in m._buffers.items() if b is not None]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            for m, name, b, value in was:
                if not torch.equal(b, value):
                    b.data.copy_(value)
                m._buffers[name] = b


@contextlib.contextmanager
def _as_exported(model: Any, training: bool) -> Iterator[None]:
    """The modes in which the exporter writes what each module does, and nothing else."""
    from torch import nn
    modes = {m: (m.training, getattr(m, "dropout", None))
             for m in [*model.modules(), getattr(model, "_of_model", model)]}
    try:
        for m in modes:
            m.training = training and m.training
            # Those that drop nothing are to leave nothing in the graph.
            if isinstance(m, nn.modules.dropout._DropoutNd) and not m.p:
                m.training = False
            # What PyTorch fuses of attention for inference has no ONNX.
            if isinstance(m, nn.MultiheadAttention) and not m.training:
                m.training, m.dropout = True, 0.0
            if isinstance(m, nn.TransformerEncoderLayer):
                m.training = True
            if isinstance(m, nn.Softplus) and m.threshold < 15:
                raise CompileError(f"torch.onnx.export leaves out that {m} is the identity from its threshold on")
        # The exporter makes one of parameters that are equal, unless this flag is set: the model keeps its own.
        model.training = training or model.training
        yield
    finally:
        for m, (mode, dropout) in modes.items():
            m.training = mode
            if isinstance(m, nn.MultiheadAttention):
                m.dropout = dropout


@contextlib.contextmanager
def _no_grad_told(training: bool) -> Iterator[None]:
    """Warns of a module that stops gradients in a way of which the exporter sees nothing."""
    import torch
    ways = [torch.no_grad, torch.inference_mode] if training else []
    was = [(way, way.__enter__) for way in ways]
    own, seen = os.path.dirname(torch.__file__), set()

    def telling(way: Any, enter: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def entered(self: Any) -> Any:
            frame = sys._getframe(1)
            while frame.f_back and os.path.basename(frame.f_code.co_filename) in ("grad_mode.py", "_contextlib.py"):
                frame = frame.f_back
            if not frame.f_code.co_filename.startswith(own):
                seen.add((f"torch.{way.__name__}() while training: the card's gradients go through what is computed "
                          f"there; .detach() stops them", frame.f_code.co_filename, frame.f_lineno))
            return enter(self)
        return entered
    for way, enter in was:
        way.__enter__ = telling(way, enter)
    try:
        yield
    finally:
        for way, enter in was:
            way.__enter__ = enter
    for text_, file, line in sorted(seen):
        warnings.warn_explicit(text_, UserWarning, file, line)


@contextlib.contextmanager
def _nothing_twice() -> Iterator[None]:
    """torch.utils.checkpoint computes what it is given, of which the exporter sees a call it cannot write."""
    from torch.utils.checkpoint import CheckpointFunction
    was = CheckpointFunction.__dict__.get("apply")
    CheckpointFunction.apply = staticmethod(lambda function, preserve, *args: function(*args))
    try:
        yield
    finally:
        if was is None:
            del CheckpointFunction.apply
        else:
            CheckpointFunction.apply = was


def wrapped(model: Any, forward: Callable[..., Any]) -> Any:
    """A module of the model's parameters, by their names there, that computes something else."""
    import torch

    class Wrapped(torch.nn.Module):  # pylint: disable=abstract-method
        def __init__(self) -> None:
            super().__init__()
            self._parameters, self._buffers, self._modules = model._parameters, model._buffers, model._modules
            self.training = model.training
            self.__dict__["_of_model"] = model  # not a module of its own

        def forward(self, *args: Any) -> Any:
            return forward(*args)

    Wrapped.__name__ = type(model).__name__
    return Wrapped()


def _default_arguments(model: Any, inputs: Sequence[Any]) -> bool:
    """Has forward() arguments that are not given? Of a number or a bool the exporter of PyTorch 2 makes a tensor."""
    return any(p.default is not None and p.default is not inspect.Parameter.empty
               for p in list(inspect.signature(model.forward).parameters.values())[len(inputs):])


#: torch.onnx.export is for one thread at a time, and so is what is mended of it.
_exporting = threading.RLock()


def export(model: Any, example_inputs: Sequence[Any], training: bool = False,
           dynamic_axes: Optional[Dict[str, Dict[int, str]]] = None) -> bytes:
    """A torch.nn.Module as an ONNX file's bytes, with inputs "input0", ...; its weights have the
    names of ``state_dict()``.

    training: parameters keep their names and their tie, and nothing is folded into them.
    """
    import torch
    if _default_arguments(model, example_inputs):
        model = wrapped(model, model)
    arguments: Dict[str, Any] = {
        "input_names": [f"input{i}" for i in range(len(example_inputs))],
        "do_constant_folding": not training,
        "dynamic_axes": dynamic_axes,
        "training": torch.onnx.TrainingMode.PRESERVE,
    }
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        arguments["dynamo"] = False
    with _exporting, _only_doubts(), torch.no_grad(), _no_grad_told(training), _nothing_twice(), unchanged(model), \
            _as_exported(model, training), _exporter_mended(), _roi_align_mended(), _in_place.checked():
        failed = ""  # not the exception: what it keeps of PyTorch 1's graph breaks the next export
        for opset in _opsets():
            buffer = io.BytesIO()
            try:
                with _symbolic.known(training, opset):
                    torch.onnx.export(model, tuple(example_inputs), buffer, opset_version=opset, **arguments)
                return buffer.getvalue()
            except Exception as error:  # pylint: disable=broad-except
                failed = failed or str(error)
        raise CompileError(f"torch.onnx.export: {failed}")
