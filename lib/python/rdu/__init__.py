# SPDX-License-Identifier: MIT
"""Run and train models on a reconfigurable dataflow card, or on its model in this process.

    import rdu

    net = rdu.compile("net.onnx", device="model:sn10")    # compiled, and loaded on the card
    y = net(x)                                            # NumPy in, NumPy out

    net = rdu.compile(module, torch_tensor, device="model:sn10")
    y = net(torch_tensor)                                 # PyTorch in, PyTorch out

    rdu.train(module, torch.nn.CrossEntropyLoss(), optimizer, loader, device="model:sn10")

    net = torch.compile(module, backend="rdu", options={"device": "model:sn10"})     # PyTorch 2

compile() takes ONNX files and modules of PyTorch, train() trains the latter; Backend is what
onnx.backend.test wants, torch_backend what torch.compile calls. Device shares a card between models,
Context some of its tiles; Program is what is loaded there.
What the libraries refuse is an Error with their text; a model that is refused is a CompileError
with all reasons.

NumPy is needed, PyTorch and onnx only for what is theirs.
"""
from typing import Any

from ._card import Context, Device, Program, Tensor
from ._ffi import CompileError, Error, FallbackWarning, Stats
from ._ffi import rdu as _librdu, text as _text
from ._model import Model, compile  # pylint: disable=redefined-builtin
from ._train import Trainer, train

__version__ = _text(_librdu.rdu_version())
__all__ = ["Backend", "CompileError", "Context", "Device", "Error", "FallbackWarning", "Model", "Program", "Stats",
           "Tensor", "Trainer", "compile", "torch_backend", "train"]


def __getattr__(name: str) -> Any:
    if name == "Backend":  # which is one of onnx's classes
        from ._backend import Backend
        return Backend
    if name == "torch_backend":  # which takes PyTorch
        from ._dynamo import backend
        return backend
    raise AttributeError(f"module rdu has no attribute {name}")
