# SPDX-License-Identifier: MIT
"""Models that answer."""
from typing import Any, Callable, Dict, List, Optional, Sequence

from . import _compiler, _ffi, _tensors
from ._card import Context, Device, Program, Where
from ._ffi import Stats


class Model:
    """A compiled model on a card, which is loaded once. Call it like a function.

    Inputs are given by position, in the model's order, or by name. Results are NumPy arrays, or
    tensors of PyTorch if one of the inputs is: one, or a tuple if the model has several. NumPy
    has no bfloat16: such results are float32, with the same values.

    ``program`` (a :class:`Program`) has the tensors, ``notes`` what the compiler had to say,
    ``reports`` what was asked for by ``want``, and ``stats`` (a :class:`Stats`) what the last
    call cost on the card.
    """

    def __init__(self, compiled: _compiler.Compiled, device: Where = "auto",
                 input_names: Optional[Sequence[str]] = None,
                 output_names: Optional[Sequence[str]] = None):
        self.notes: List[str] = compiled.notes
        self.reports: Dict[str, str] = compiled.outputs
        self.stats: Optional[Stats] = None
        self.program = Program(compiled.program, device)
        self.input_names: List[str] = list(
            input_names or [t.name for t in self.program.of("forward", _ffi.SYM_INPUT)])
        results = [t.name for t in self.program.of("forward", _ffi.SYM_OUTPUT)]
        names = list(output_names or results)
        self.output_names: List[str] = [r if n in names[:i] else n for i, (n, r) in enumerate(zip(names, results))]
        #: The program's name of each: an output that is an input, or a weight, or is listed twice, has
        #: another one there.
        self._outputs: Dict[str, str] = dict(zip(self.output_names, results))

    def _name(self, args: Sequence[Any], named: Dict[str, Any]) -> Dict[str, Any]:
        if len(args) > len(self.input_names):
            raise TypeError(f"the model has {len(self.input_names)} inputs "
                            f"({', '.join(self.input_names)}), not {len(args)}")
        inputs = dict(zip(self.input_names, args))
        for name, x in named.items():
            if name not in self.input_names:
                raise TypeError(f"there is no input '{name}', there are "
                                f"{', '.join(self.input_names)}")
            if name in inputs:
                raise TypeError(f"input '{name}' is given twice")
            inputs[name] = x
        missing = [n for n in self.input_names if n not in inputs]
        if missing:
            raise TypeError(f"input '{missing[0]}' is not given")
        return inputs

    def run(self, inputs: Dict[str, Any]) -> Dict[str, Any]:
        """By names: inputs, and results."""
        torch = any(_tensors.is_torch(x) for x in inputs.values())
        inputs = self._name((), inputs)
        stats = Stats()
        got = self.program.run("forward", {n: x for n, x in inputs.items() if self._symbol(n)},
                               list(self._outputs.values()), stats)
        self.stats = stats
        results = {}
        for n, name in self._outputs.items():
            a, code = got[name], self.program.tensor(name).code
            if torch:
                results[n] = _tensors.as_torch(a, code)
            else:
                results[n] = _tensors.bf16_to_float32(a) if code == _tensors.BF16 else a
        return results

    def _symbol(self, name: str) -> Optional[str]:
        """The name that the program has for it; None: an input that nothing reads."""
        try:
            return self.program.tensor(name).name
        except _ffi.Error:
            if not self.program._program:
                raise
            return None

    def __call__(self, *args: Any, **named: Any) -> Any:
        results = tuple(self.run(self._name(args, named)).values())
        return results[0] if len(results) == 1 else results

    def close(self) -> None:
        """Take the program off the card."""
        self.program.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def compile(model: Any, example_inputs: Any = None, device: Where = "auto", *,  # pylint: disable=redefined-builtin
            want: Sequence[str] = (), progress: Optional[Callable[[str], Any]] = None,
            dynamic_axes: Optional[Dict[str, Dict[int, str]]] = None, **options: Any) -> Model:
    """Compile a model and load it on a card.

    model
        the path of an ONNX file, its bytes, an ``onnx.ModelProto``, or a ``torch.nn.Module``
    example_inputs
        for a ``torch.nn.Module``: a tensor, or a tuple of its inputs; the program is for their
        types and, but for what ``dynamic_axes`` leaves open, for their shapes
    dynamic_axes
        for a ``torch.nn.Module``: names of dimensions that ``dim`` gives sizes to, as
        ``torch.onnx.export`` takes them: ``{"input0": {0: "batch"}}``
    device
        ``"auto"``, a PCI address, a node, ``"model:sn10"``, a :class:`Device`, or a :class:`Context` on it
    want
        names of reports: ``"report"``, ``"report_json"``, ``"floor_plan"`` (SVG), ``"graph"``,
        ``"summary"``. They are in ``reports`` of the result
    progress
        called with a few words for each step of the compiler; if it raises, that ends the compile
    options
        those of ``rduc``, with ``_`` for ``-``: ``optimize=3``, ``precision="fp32"``, ``tiles=2``,
        ``shape={"x": (1, 3, 224, 224)}``, ``batch=8``, ``memory=10**9``. A dimension in
        ``shape``, or in ``dim={"batch": "1..8"}``, may have several sizes: a text as ``rduc`` takes
        it (``"16..512:16"``), or a list. The model then takes inputs of any of these shapes.
        ``value={"sr": 16000}``: the elements of inputs that are known now, which it then takes no more;
        ``value={"count": "0..100"}``: the range of a size that is said by each run

    Raises :class:`CompileError` with all reasons if the model is refused, :class:`Error` if there
    is no card, or no room on it.
    """
    own = not isinstance(device, (Device, Context))
    card = Device(device) if own else device
    try:
        names = None
        if _compiler.is_module(model):
            if example_inputs is None:
                raise TypeError("a torch.nn.Module needs example_inputs: a tensor, or a tuple of them")
            if not isinstance(example_inputs, (tuple, list)):
                example_inputs = (example_inputs,)
            options.setdefault("name", type(model).__name__)
            names = [f"input{i}" for i in range(len(example_inputs))]
            model = _compiler.export(model, example_inputs, dynamic_axes=dynamic_axes)
        elif dynamic_axes is not None:
            raise TypeError("dynamic_axes are for a torch.nn.Module: an ONNX model has names of its own")
        elif example_inputs is not None:
            raise TypeError("example_inputs are for a torch.nn.Module: an ONNX model has shapes, or "
                            "takes them from shape={...}")
        elif hasattr(model, "graph") and hasattr(model.graph, "initializer"):
            given = {t.name for t in model.graph.initializer} - set(options.get("shape") or {})
            given |= {n for n, v in dict(options.get("value") or {}).items() if ".." not in str(v)}
            names = [i.name for i in model.graph.input if i.name not in given]
        compiled = _compiler.compile_onnx(_compiler.onnx_bytes(model), want, progress,
                                          **{"chip": card.chip, **options})
        outputs = [o.name for o in model.graph.output] if hasattr(model, "graph") else None
        return Model(compiled, card, names, outputs)
    finally:
        if own:
            card.close()


__all__ = ["Model", "compile"]
