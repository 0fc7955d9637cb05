# SPDX-License-Identifier: MIT
"""Tensors of other packages as NumPy arrays, without copies where that can be."""
import sys
from typing import Any, Tuple

import numpy as np

#: Types that NumPy has none of: their bits, of int4 and int2 the integers.
_SMALL = {17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz",
          21: "uint4", 22: "int4", 23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2"}
#: What the package ml_dtypes calls them.
_ML_DTYPES = {"float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "uint4", "int4",
              "float4_e2m1fn", "float8_e8m0fnu", "uint2", "int2"}
#: enum rdu_dtype by its names there; bfloat16 has no type in NumPy: its bits.
BF16 = 16
DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32,
          7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
          BF16: np.uint16}
DTYPES.update((k, np.int8 if name.startswith("int") else np.uint8) for k, name in _SMALL.items())
_CPU = (1, 3)  # kDLCPU, kDLCUDAHost: memory that this process can read


def is_torch(x: Any) -> bool:
    """Is it a tensor of PyTorch? Which need not be there."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def dtype_name(dtype: int) -> str:
    return "bfloat16" if dtype == BF16 else _SMALL.get(dtype) or np.dtype(DTYPES[dtype]).name


def _of_torch(x: Any) -> Tuple[np.ndarray, str]:
    torch = sys.modules["torch"]
    if x.device.type != "cpu":
        raise TypeError(f"the tensor is on {x.device}, not on the CPU: .cpu() copies it")
    if x.layout != torch.strided:
        raise TypeError(f"the tensor is {x.layout}, not strided: .to_dense() makes it so")
    x = x.detach().resolve_conj().resolve_neg()
    if x.dtype == torch.bfloat16:
        return x.contiguous().view(torch.int16).numpy().view(np.uint16), "bfloat16"
    a = x.numpy()
    return a, a.dtype.name


def as_array(x: Any) -> Tuple[np.ndarray, str]:
    """A tensor's elements, contiguous and in this machine's byte order, and their type's name.

    Takes arrays of NumPy, tensors of PyTorch, all else on the CPU that has ``__dlpack__``, and
    what ``numpy.asarray`` takes (numbers, lists). Only copied where elements do not lie row by row.
    """
    if is_torch(x):
        a, name = _of_torch(x)
    elif isinstance(x, np.ndarray) or not hasattr(x, "__dlpack__"):
        a = np.asarray(x)
        name = a.dtype.name
    else:
        if hasattr(x, "__dlpack_device__") and x.__dlpack_device__()[0] not in _CPU:
            raise TypeError("the tensor is not in memory that the CPU reads")
        a = np.from_dlpack(x)
        name = a.dtype.name
    if name == "bfloat16" and a.dtype.itemsize == 2:  # package ml_dtypes
        a = a.view(np.uint16)
    elif name in _ML_DTYPES:
        a = a.view(np.int8 if name.startswith("int") else np.uint8)
        name = name.replace("_", "").replace("e2m1fn", "e2m1").replace("e8m0fnu", "e8m0")
    elif a.dtype.kind not in "biuf":
        raise TypeError(f"elements of type {a.dtype} are no numbers that a card knows")
    if not a.dtype.isnative:
        a = a.astype(a.dtype.newbyteorder("="))
    return np.ascontiguousarray(a).reshape(a.shape), name


def bf16_to_float32(bits: np.ndarray) -> np.ndarray:
    """The same numbers: every bfloat16 is a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def as_torch(a: np.ndarray, dtype: int) -> Any:
    """A tensor of PyTorch on the array's memory."""
    torch = sys.modules["torch"]
    if dtype == BF16:
        return torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(a)
