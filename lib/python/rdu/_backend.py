# SPDX-License-Identifier: MIT
"""The card as a backend of onnx: for onnx.backend.test, and all else that knows such."""
import os
from typing import Any, List, Optional, Tuple

import onnx
from onnx.backend.base import Backend as _Base, BackendRep
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

from ._ffi import CompileError
from ._model import Model, compile as _compile


class Rep(BackendRep):
    """A model that is loaded. ``model`` is the :class:`rdu.Model`."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model

    def run(self, inputs: Any, **_: Any) -> Tuple[Any, ...]:
        """Results for inputs in the model's order."""
        if not isinstance(inputs, (list, tuple)):
            inputs = [inputs]
        results = self.model(*inputs)
        return results if isinstance(results, tuple) else (results,)


class Backend(_Base):
    """``onnx.backend.base.Backend`` on a card.

    onnx names a device "CPU" or "CUDA": "CPU" stands for the card that ``device`` names, or else
    the environment's ``RDU_DEVICE``, or else the first there is. Contractions are in fp32.
    """

    device: Optional[str] = None

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **_: Any) -> bool:
        """Is it for this device? Whether it compiles, prepare() tells."""
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> Rep:
        """Compile and load a model."""
        super().prepare(model, device)  # onnx checks the model
        if not cls.supports_device(device):
            raise ValueError(f"onnx's device '{device}' is no card")
        where: Any = cls.device or os.environ.get("RDU_DEVICE", "auto")
        try:
            return Rep(_compile(model, device=where, **{"precision": "fp32", **options}))
        except CompileError as error:
            # onnx's tests skip what is refused by this.
            raise BackendIsNotSupposedToImplementIt(str(error)) from error

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU",
                  **options: Any) -> Tuple[Any, ...]:
        """Compile, load and run once."""
        rep = cls.prepare(model, device, **options)
        try:
            return rep.run(inputs)
        finally:
            rep.model.close()

    @classmethod
    def run_node(cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU",
                 outputs_info: Any = None, **options: Any) -> Tuple[Any, ...]:
        """Run one node; outputs_info has a (type, shape) for each output."""
        super().run_node(node, inputs, device, outputs_info)
        if outputs_info is None:
            raise ValueError("outputs_info is needed: a (type, shape) for each output")
        names = [n for n in node.input if n]

        def info(name: str, dtype: Any, shape: Any) -> onnx.ValueInfoProto:
            kind = onnx.helper.np_dtype_to_tensor_dtype(dtype) if hasattr(
                onnx.helper, "np_dtype_to_tensor_dtype") else onnx.mapping.NP_TYPE_TO_TENSOR_TYPE[dtype]
            return onnx.helper.make_tensor_value_info(name, kind, list(shape))

        graph = onnx.helper.make_graph(
            [node], "node", [info(n, x.dtype, x.shape) for n, x in zip(names, inputs)],
            [info(n, d, s) for n, (d, s) in zip(node.output, outputs_info)])
        opset: List[Any] = [onnx.helper.make_opsetid("", min(17, onnx.defs.onnx_opset_version()))]
        return cls.run_model(onnx.helper.make_model(graph, opset_imports=opset), inputs, device,
                             **options)


__all__ = ["Backend", "Rep"]
