# SPDX-License-Identifier: MIT
"""ONNX models written node by node, as protobuf bytes: the package onnx need not be there."""
import struct
from typing import Any, Dict, List, Sequence, Tuple, Union

import numpy as np

#: The version of ONNX's default domain that is written, and the file format's.
OPSET, IR_VERSION = 20, 9

#: TensorProto.DataType, by the names of PyTorch's and NumPy's types.
DATA_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
              "bool": 9, "float16": 10, "bfloat16": 16}

_INT, _FLOAT, _STRING, _INTS = 2, 1, 3, 7  # AttributeProto.type
Attribute = Union[int, float, str, Sequence[int]]


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # negative numbers take ten bytes
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: Union[bytes, str]) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, str):
        body, kind = _bytes(4, value), _STRING
    elif isinstance(value, float):
        body, kind = _varint(2 << 3 | 5) + struct.pack("<f", value), _FLOAT
    elif isinstance(value, int):
        body, kind = _number(3, value), _INT
    else:
        body, kind = b"".join(_number(8, int(v)) for v in value), _INTS
    return _bytes(1, name) + body + _number(20, kind)


def _tensor(name: str, dtype: str, shape: Sequence[int], raw: bytes) -> bytes:
    """A TensorProto."""
    return (b"".join(_number(1, d) for d in shape) + _number(2, DATA_TYPES[dtype]) + _bytes(8, name) +
            _bytes(9, raw))


def _value_info(name: str, dtype: str, shape: Sequence[int]) -> bytes:
    dims = b"".join(_bytes(1, _number(1, d)) for d in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, DATA_TYPES[dtype]) + _bytes(2, dims)))


class Writer:
    """A graph that grows: nodes in the order in which they are added.

    Names are made up here, ``t0``, ``t1`` and so on, but for those of inputs and weights.
    """

    def __init__(self) -> None:
        self._nodes: List[bytes] = []
        self._initializers: List[bytes] = []
        self._inputs: List[bytes] = []
        self._outputs: List[bytes] = []
        self._constants: Dict[Tuple[str, Tuple[int, ...], bytes], str] = {}
        self._count = 0

    def _fresh(self) -> str:
        self._count += 1
        return f"t{self._count - 1}"

    def input(self, name: str, dtype: str, shape: Sequence[int]) -> str:
        self._inputs.append(_value_info(name, dtype, shape))
        return name

    def weight(self, name: str, array: np.ndarray, dtype: str) -> str:
        """A named initializer; of bfloat16, the bits."""
        self._initializers.append(_tensor(name, dtype, array.shape, array.tobytes()))
        return name

    def constant(self, array: Any, dtype: str = "") -> str:
        """The name of a constant tensor; equal ones are one. Of bfloat16, the bits."""
        array = np.asarray(array)
        dtype = dtype or array.dtype.name
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(self._fresh(), array, dtype)
        return self._constants[key]

    def nodes(self, op: str, inputs: Sequence[str], results: int, **attributes: Attribute) -> List[str]:
        """Add a node; the names of its results. An input "" is left out."""
        names = [self._fresh() for _ in range(results)]
        self._nodes.append(b"".join(_bytes(1, i) for i in inputs) + b"".join(_bytes(2, o) for o in names) +
                           _bytes(4, op) + b"".join(_bytes(5, _attribute(k, v)) for k, v in attributes.items()))
        return names

    def node(self, op: str, *inputs: str, **attributes: Attribute) -> str:
        """Add a node with one result, and return that's name."""
        return self.nodes(op, inputs, 1, **attributes)[0]

    def output(self, value: str, dtype: str, shape: Sequence[int]) -> str:
        """Make a value a result of the graph; the name it has as that."""
        name = self.node("Identity", value)
        self._outputs.append(_value_info(name, dtype, shape))
        return name

    def model(self, name: str) -> bytes:
        """The ModelProto."""
        graph = (b"".join(_bytes(1, n) for n in self._nodes) + _bytes(2, name) +
                 b"".join(_bytes(5, i) for i in self._initializers) +
                 b"".join(_bytes(11, i) for i in self._inputs) + b"".join(_bytes(12, o) for o in self._outputs))
        return _number(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _number(2, OPSET))


__all__ = ["DATA_TYPES", "Writer"]
