# SPDX-License-Identifier: MIT
"""torch.compile(module, backend="rdu"): the graphs of PyTorch 2 on a card."""
import copy
import os
import threading
import warnings
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch

from . import _compiler, _ffi, _tensors
from ._card import Context, Device, Program
from ._ffi import CompileError, Error, FallbackWarning


#: Options that are not the compiler's, and what they are if nothing is said.
_OWN = {"device": None, "fallback": True, "progress": None}

#: What graphs share: by the card's name (or the Device), the tiles, and the process.
_contexts: Dict[Any, Context] = {}
_lock = threading.Lock()


def _context(where: Any, tiles: int) -> Context:
    where = where or os.environ.get("RDU_DEVICE", "auto")
    with _lock:
        key = (where, tiles, os.getpid())
        if key not in _contexts or _contexts[key].dead:
            device = where if isinstance(where, Device) else Device(where)
            _contexts[key] = Context(device, tiles)
            if device is not where:
                device.close()  # when the context is gone
        return _contexts[key]


class _Weight(NamedTuple):
    """A parameter that stays on the card: the argument that it is, and the bits that are there."""
    argument: int
    name: str
    bits: np.ndarray


def _bits(a: np.ndarray) -> np.ndarray:
    return a.reshape(-1).view(np.uint8)


class _Loaded:
    """A graph for arguments of certain shapes, on the card."""

    def __init__(self, graph_module: Any, args: Sequence[Any], context: Context, options: Dict[str, Any],
                 progress: Optional[Callable[[str], Any]]):
        from ._aten import Converter, VIEWS, as_constant, base_name, dtype_name
        self.graph = graph_module.graph
        self.context = context
        c = Converter(graph_module)
        self._on_host: set = set()  # arguments, and views of them
        self._weights: List[_Weight] = []
        self._inputs: Dict[str, int] = {}
        self._numbers: Dict[Any, int] = {}
        result = None
        placeholders = 0
        for node in self.graph.nodes:
            value = node.meta.get("val")
            if node.op == "placeholder":
                self._numbers[node] = placeholders
                self._on_host.add(node)
                if isinstance(value, torch.Tensor):
                    c.names[node] = self._argument(c, placeholders, args[placeholders])
                placeholders += 1
            elif node.op == "get_attr":
                a, name = as_constant(getattr(graph_module, node.target))
                c.names[node] = c.writer.constant(a, name)
            elif node.op == "output":
                result = node.args[0]
            else:
                self._if_view(node, base_name(node) in VIEWS)
                c.add(node)
        self._result = list(result) if isinstance(result, (tuple, list)) else [result]
        self._outputs: Dict[Any, str] = {}
        for node in self._result:
            if isinstance(node, torch.fx.Node) and isinstance(node.meta["val"], torch.Tensor):
                if node not in self._on_host and node not in self._outputs:
                    v = node.meta["val"]
                    self._outputs[node] = c.writer.output(c.names[node], dtype_name(v.dtype), v.shape)
        self.program: Optional[Program] = None
        if self._outputs:
            compiled = _compiler.compile_onnx(c.writer.model("graph"), (), progress,
                                              **{"chip": context.chip, **options})
            self.program = Program(compiled.program, context)
            self._keep()

    def _argument(self, c: Any, number: int, x: Any) -> str:
        """A parameter of several fp32 numbers becomes a weight of the program, all else an input."""
        from ._aten import dtype_name
        name = f"input{number}"
        c.onnx_type(x.dtype)
        if isinstance(x, torch.nn.Parameter) and x.dtype == torch.float32 and x.numel() > 1:
            a, dtype = _tensors.as_array(x)
            self._weights.append(_Weight(number, name, np.array(a)))
            return c.writer.weight(name, a, dtype)
        self._inputs[name] = number
        return c.writer.input(name, dtype_name(x.dtype), x.shape)

    def _if_view(self, node: Any, is_view: bool) -> None:
        tensors = [a for a in node.all_input_nodes if isinstance(a.meta.get("val"), torch.Tensor)]
        if not isinstance(node.meta.get("val"), torch.Tensor) or is_view and all(a in self._on_host for a in tensors):
            self._on_host.add(node)

    def _keep(self) -> None:
        """Only what the program has: an argument that nothing reads is not there."""
        assert self.program
        used = {t.name for t in self.program.of("forward", _ffi.SYM_INPUT)}
        self._inputs = {n: i for n, i in self._inputs.items() if n in used}
        held = {t.name for t in self.program.tensors.values() if t.flags & _ffi.SYM_WEIGHT}
        self._weights = [w for w in self._weights if w.name in held]

    def __call__(self, args: Sequence[Any]) -> List[Any]:
        got: Dict[str, np.ndarray] = {}
        if self.program:
            with self.program._mine():
                for w in self._weights:
                    a, _ = _tensors.as_array(args[w.argument])
                    if not np.array_equal(_bits(a), _bits(w.bits)):
                        self.program.write(w.name, args[w.argument])
                        w.bits[...] = a
                got = self.program.run("forward", {n: args[i] for n, i in self._inputs.items()},
                                       list(self._outputs.values()))
        known: Dict[Any, Any] = {n: args[i] for n, i in self._numbers.items()}
        return [self._value(x, got, known) for x in self._result]

    def _value(self, x: Any, got: Dict[str, np.ndarray], known: Dict[Any, Any]) -> Any:
        if not isinstance(x, torch.fx.Node):
            return x
        if x in known:
            return known[x]
        meta = x.meta["val"]
        if not isinstance(meta, torch.Tensor):
            return meta
        if x in self._outputs:
            assert self.program
            name = self._outputs[x]
            y = _tensors.as_torch(got[name], self.program.tensor(name).code)
            if y.stride() != meta.stride() and y.numel():  # the graphs that read it may rely on that
                y = torch.empty_strided(meta.shape, meta.stride(), dtype=y.dtype).copy_(y)
        else:  # a view of an argument
            def value(a: Any) -> Any:
                return self._value(a, got, known)
            y = x.target(*torch.fx.node.map_arg(x.args, value), **torch.fx.node.map_arg(x.kwargs, value))
        known[x] = y
        return y


class _Shapes(torch.fx.Interpreter):
    """Gives each node, as ``meta["val"]``, what it is for arguments of certain shapes: a fake tensor, or a number."""

    @classmethod
    def infer(cls, module: Any, args: Sequence[Any]) -> None:
        from torch._subclasses import FakeTensorMode
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            cls(module).run(*(mode.from_tensor(x, static_shapes=True) if isinstance(x, torch.Tensor) else x
                              for x in args))

    def run_node(self, n: Any) -> Any:
        n.meta["val"] = super().run_node(n)
        return n.meta["val"]


class _Graph:
    """A graph of ATen operators, compiled when it is called, once for each shapes of its arguments."""

    def __init__(self, graph_module: Any, what: str, options: Dict[str, Any]):
        self._module, self._what = graph_module, what
        self._device, self._fallback, self._progress = (options.pop(n, d) for n, d in _OWN.items())
        self._options = options
        self._ready: Dict[Any, Any] = {}
        self._lock = threading.RLock()

    def _key(self, args: Sequence[Any]) -> Any:
        return tuple((tuple(x.shape), x.stride(), x.dtype, x.device.type, isinstance(x, torch.nn.Parameter))
                     if isinstance(x, torch.Tensor) else x for x in args)

    def _prepare(self, args: Sequence[Any]) -> Any:
        from ._aten import Unsupported
        context = _context(self._device, int(self._options.get("tiles", 1)))  # that there is no such card is no reason to go on
        try:
            for x in args:
                if isinstance(x, torch.Tensor) and x.device.type != "cpu":
                    raise Unsupported(f"a tensor on {x.device}")
            module = torch.fx.GraphModule(self._module, copy.deepcopy(self._module.graph))
            _Shapes.infer(module, args)
            return _Loaded(module, args, context, {"name": self._what, **self._options},
                           self._progress)
        except (Unsupported, CompileError, Error) as error:
            if not self._fallback:
                raise error if isinstance(error, Error) else CompileError(str(error)) from None
            reasons = error.reasons if isinstance(error, CompileError) else [str(error)]
            warnings.warn(f"rdu: a {self._what} graph runs on the CPU: {'; '.join(reasons)}", FallbackWarning,
                          stacklevel=2)
            return None

    def __call__(self, args: List[Any]) -> Any:
        """With the arguments in a list, which is emptied: they need not live longer than they are used."""
        taken = list(args)
        args.clear()
        key = self._key(taken)
        with self._lock:
            if key not in self._ready or self._ready[key] and self._ready[key].context.dead:
                self._ready[key] = self._prepare(taken)
            loaded = self._ready[key]
        return loaded(taken) if loaded else self._module(*taken)


def _decompositions() -> Dict[Any, Any]:
    from torch._decomp import core_aten_decompositions, get_decompositions
    aten = torch.ops.aten
    table = dict(core_aten_decompositions())
    table.update(get_decompositions([
        aten.native_batch_norm, aten._native_batch_norm_legit, aten._native_batch_norm_legit_functional,
        aten._native_batch_norm_legit_no_training, aten.native_batch_norm_backward, aten.native_group_norm,
        aten.native_group_norm_backward, aten.native_layer_norm_backward, aten.upsample_nearest2d,
        aten.upsample_bilinear2d, aten.baddbmm, aten.addcmul, aten.addcdiv, aten.softplus, aten.softplus_backward]))
    kept = (aten.embedding_dense_backward, aten.avg_pool2d_backward, aten.native_layer_norm, aten.tril, aten.triu)
    return {op: f for op, f in table.items() if getattr(op, "overloadpacket", op) not in kept}


def _plain_attention() -> Any:
    """Attention as matrix products and a softmax, not as one operator."""
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
        return sdpa_kernel(SDPBackend.MATH)
    except ImportError:  # before PyTorch 2.3
        return torch.backends.cuda.sdp_kernel(enable_flash=False, enable_math=True, enable_mem_efficient=False)


def backend(graph_module: Any, example_inputs: Sequence[Any], *, mode: Optional[str] = None,
            options: Optional[Dict[str, Any]] = None) -> Callable[..., Any]:
    """What ``torch.compile(module, backend="rdu", options={...})`` calls, for each graph it finds.

    options
        ``device``: as of :func:`rdu.compile`; if nothing is said, the environment's ``RDU_DEVICE``,
        or the first card there is. ``fallback=False``: a graph that is refused is an exception, not
        a warning. ``progress`` and all else: as of :func:`rdu.compile`. Contractions have the
        precision of ``torch.set_float32_matmul_precision()``: bf16 for ``"medium"``, else fp32

    The graphs of forward and backward run on the card; a graph with an operator that the card has not
    runs on the CPU, and a :class:`FallbackWarning` says why.
    """
    if not hasattr(torch, "compile"):
        raise Error(f"torch.compile is of PyTorch 2 and later, this is {torch.__version__}")
    if mode not in (None, "default"):
        raise Error(f"torch.compile(mode={mode!r}): backend \"rdu\" has no modes")
    # Now: when PyTorch has compiled the graph, its own flag has become "high".
    precision = "bf16" if torch.get_float32_matmul_precision() == "medium" else "fp32"
    options = {"precision": precision, **{k.replace("-", "_"): v for k, v in (options or {}).items()}}
    for name in ("constant_weights", "train"):
        if options.get(name):
            raise Error(f"torch.compile: option {name}: parameters are PyTorch's, and may change at any time")
    from torch._dynamo.backends.common import aot_autograd

    def compiler(what: str) -> Callable[..., Any]:
        def compile_graph(module: Any, _: Sequence[Any]) -> Any:
            graph = _Graph(module, what, dict(options))

            def run(args: List[Any]) -> Any:
                return graph(args)
            run._boxed_call = True  # type: ignore[attr-defined]  # takes its arguments in a list
            return run
        return compile_graph
    with _plain_attention():
        return aot_autograd(fw_compiler=compiler("forward"), bw_compiler=compiler("backward"),
                            inference_compiler=compiler("inference"),
                            decompositions=_decompositions())(graph_module, example_inputs)


__all__ = ["backend"]
