# SPDX-License-Identifier: MIT
"""The two C libraries, as rdu.h and rduc.h declare them, and their errors as exceptions."""
import ctypes
import os
from ctypes import (CFUNCTYPE, POINTER, Structure, byref, c_char, c_char_p, c_int, c_int64, c_size_t,
                    c_uint, c_uint32, c_uint64, c_void_p)
from typing import List, Optional

from . import _where

MAX_DIMS = 8
SYM_INPUT, SYM_OUTPUT, SYM_WEIGHT, SYM_STATE = 1, 2, 4, 8


class Error(RuntimeError):
    """What a library refused, or could not do; its text is the library's.

    ``errno`` is the positive error number (module :mod:`errno`), 0 if there is none.
    """

    def __init__(self, text: str, errno: int = 0):
        super().__init__(text)
        self.errno = errno


class CompileError(Error):
    """A model that is refused. ``reasons`` has one text for each reason."""

    def __init__(self, text: str, errno: int = 0, reasons: Optional[List[str]] = None):
        super().__init__(text, errno)
        self.reasons = reasons or [text]


class FallbackWarning(UserWarning):
    """A graph of torch.compile that runs on the CPU; the text says why."""


class Symbol(Structure):
    """A named tensor of a program: struct rdu_file_symbol."""
    _fields_ = [("name", c_char * 64), ("region", c_uint32), ("dtype", c_uint32),
                ("flags", c_uint32), ("ndim", c_uint32), ("offset", c_uint64),
                ("dims", c_int64 * MAX_DIMS), ("entries", c_uint64),
                ("table", c_uint32), ("block", c_uint32)]


class Shape(Structure):
    """The shape of a tensor of the model: struct rdu_shape."""
    _fields_ = [("name", c_char_p), ("ndim", c_uint32), ("zero", c_uint32), ("dims", c_int64 * MAX_DIMS)]


class Stats(Structure):
    """What a run cost; cycles are the card's, ``wall_ns`` is the host's: struct rdu_stats."""
    _fields_ = [(name, c_uint64) for name in
                ("start_cycle", "end_cycle", "exec_cycles", "pload_cycles", "aload_cycles",
                 "copy_cycles", "dram_bytes", "macs", "flops", "sections", "wall_ns", "kept",
                 "energy", "load_bytes")] + [("zero", c_uint64 * 2)]

    @property
    def cycles(self) -> int:
        """Modelled cycles from start to end."""
        return self.end_cycle - self.start_cycle

    def __repr__(self) -> str:
        values = [f"{name}={getattr(self, name)}" for name, _ in self._fields_[2:-1]]
        return f"Stats(cycles={self.cycles}, {', '.join(values)})"


class ContextOptions(Structure):
    _fields_ = [("size", c_size_t), ("tiles", c_uint32), ("queue_depth", c_uint32),
                ("watchdog_ms", c_uint64), ("watchdog_cycles", c_uint64),
                ("wait_for_tiles", c_uint32), ("zero", c_uint32)]


class DeviceInfo(Structure):
    """The beginning of struct rdu_device_info: the call is told how much there is of it."""
    _fields_ = [("chip", c_char * 17), ("serial", c_char * 17), ("node", c_char * 64),
                ("pci_address", c_char * 32), ("driver", c_char * 64), ("chip_hash", c_uint64)]


PROGRESS = CFUNCTYPE(None, c_void_p, c_char_p)
#: Outputs of the compiler, by their numbers in enum rduc_output.
OUTPUTS = ("program", "report", "report_json", "floor_plan", "graph", "summary", "parameters")

_RDU = {
    "rdu_error_text": (c_char_p, [c_void_p]),
    "rdu_version": (c_char_p, []),
    "rdu_open": (c_int, [c_char_p, POINTER(c_void_p)]),
    "rdu_close": (None, [c_void_p]),
    "rdu_device_get_info": (c_int, [c_void_p, POINTER(DeviceInfo), c_size_t]),
    "rdu_file_parse": (c_int, [c_char_p, c_size_t, POINTER(c_void_p)]),
    "rdu_file_close": (None, [c_void_p]),
    "rdu_file_num_tiles": (c_uint, [c_void_p]),
    "rdu_file_num_entries": (c_uint, [c_void_p]),
    "rdu_file_entry": (c_char_p, [c_void_p, c_uint]),
    "rdu_file_num_symbols": (c_uint, [c_void_p]),
    "rdu_file_get_symbol": (POINTER(Symbol), [c_void_p, c_uint]),
    "rdu_file_find_symbol": (c_int, [c_void_p, c_char_p]),
    "rdu_file_entry_for_shapes": (c_int, [c_void_p, c_char_p, POINTER(Shape), c_uint]),
    "rdu_file_entry_shape": (c_int, [c_void_p, c_uint, POINTER(Shape), c_uint, c_char_p, POINTER(Shape)]),
    "rdu_file_symbol_sizes": (c_int, [c_void_p, c_uint]),
    "rdu_context_new": (c_int, [c_void_p, POINTER(ContextOptions), POINTER(c_void_p)]),
    "rdu_context_free": (None, [c_void_p]),
    "rdu_program_load": (c_int, [c_void_p, c_void_p, POINTER(c_void_p)]),
    "rdu_program_free": (None, [c_void_p]),
    "rdu_program_bind": (c_int, [c_void_p, c_char_p, c_void_p, c_size_t]),
    "rdu_program_run": (c_int, [c_void_p, c_char_p, POINTER(Stats)]),
    "rdu_program_read": (c_int, [c_void_p, c_char_p, c_void_p, c_size_t]),
    "rdu_program_write": (c_int, [c_void_p, c_char_p, c_void_p, c_size_t]),
    "rdu_program_save": (c_int, [c_void_p, c_char_p]),
}
_RDUC = {
    "rduc_new": (c_int, [POINTER(c_void_p)]),
    "rduc_free": (None, [c_void_p]),
    "rduc_error_text": (c_char_p, [c_void_p]),
    "rduc_version": (c_char_p, []),
    "rduc_set": (c_int, [c_void_p, c_char_p, c_char_p]),
    "rduc_set_progress": (None, [c_void_p, PROGRESS, c_void_p]),
    "rduc_want": (c_int, [c_void_p, c_int]),
    "rduc_compile": (c_int, [c_void_p, c_char_p, c_size_t]),
    "rduc_compile_file": (c_int, [c_void_p, c_char_p]),
    "rduc_cancel": (None, [c_void_p]),
    "rduc_output": (c_void_p, [c_void_p, c_int, POINTER(c_size_t)]),
    "rduc_diagnostic": (c_char_p, [c_void_p, c_uint, POINTER(c_int)]),
}


def _load(name: str, calls: dict) -> ctypes.CDLL:
    path = os.path.join(_where.FOLDER, name)
    library = ctypes.CDLL(path if os.path.exists(path) else name)
    for call, (result, arguments) in calls.items():
        f = getattr(library, call)
        f.restype, f.argtypes = result, arguments
    return library


rdu = _load("librdu.so.1", _RDU)
rduc = _load("librduc.so.1", _RDUC)


def text(b: Optional[bytes]) -> str:
    """A C text; bytes that are no UTF-8 stay visible."""
    return (b or b"").decode("utf-8", "backslashreplace")


def check(ret: int, obj, what: str = "") -> int:
    """Raise what a call on an object of librdu ran into."""
    if ret < 0:
        said = text(rdu.rdu_error_text(obj)) or os.strerror(-ret)
        raise Error(f"{what}: {said}" if what else said, -ret)
    return ret


__all__ = ["CompileError", "ContextOptions", "DeviceInfo", "Error", "FallbackWarning", "OUTPUTS", "PROGRESS", "Shape", "Stats",
           "Symbol", "byref", "c_int", "c_size_t", "c_void_p", "check", "rdu", "rduc", "text"]
