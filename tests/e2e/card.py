# SPDX-License-Identifier: MIT
"""One program at a time on the card model, through librdu: for the tests in Python."""
import ctypes

import numpy as np

LIB = ctypes.CDLL("build/host/librdu.so.1")
LIB.rdu_error_text.restype = ctypes.c_char_p


def check(code, obj):
    if code < 0:
        raise RuntimeError(LIB.rdu_error_text(obj).decode())


class Card:
    def __init__(self, chip="sn10"):
        self.dev = ctypes.c_void_p()
        check(LIB.rdu_open(f"model:{chip}".encode(), ctypes.byref(self.dev)), self.dev)

    def close(self):
        LIB.rdu_close(self.dev)

    def reset(self):
        check(LIB.rdu_device_reset(self.dev), self.dev)

    def load(self, path):
        return Program(self.dev, path)


class Program:
    """with card.load(path) as p: p.write("x", x); p.run("forward"); y = p.read("y", (4, 3))"""

    def __init__(self, dev, path):
        self.file, self.ctx, self.prog = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        try:
            check(LIB.rdu_file_open(path.encode(), ctypes.byref(self.file)), self.file)
            check(LIB.rdu_context_new(dev, None, ctypes.byref(self.ctx)), self.ctx)
            check(LIB.rdu_program_load(self.ctx, self.file, ctypes.byref(self.prog)), self.prog)
        except RuntimeError:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.prog:
            LIB.rdu_program_free(self.prog)
        if self.ctx:
            LIB.rdu_context_free(self.ctx)
        if self.file:
            LIB.rdu_file_close(self.file)

    def write(self, name, a):
        a = np.ascontiguousarray(a)
        check(LIB.rdu_program_write(self.prog, name.encode(), a.ctypes.data_as(ctypes.c_void_p),
                                    ctypes.c_size_t(a.nbytes)), self.prog)

    def restore(self, path):
        weights = ctypes.c_void_p()
        try:
            check(LIB.rdu_file_open(path.encode(), ctypes.byref(weights)), weights)
            check(LIB.rdu_program_restore(self.prog, weights), self.prog)
        finally:
            LIB.rdu_file_close(weights)

    def save(self, path):
        check(LIB.rdu_program_save(self.prog, path.encode()), self.prog)

    def run(self, entry):
        check(LIB.rdu_program_run(self.prog, entry.encode(), None), self.prog)

    def read(self, name, shape, dtype=np.float32):
        a = np.empty(shape, dtype)
        check(LIB.rdu_program_read(self.prog, name.encode(), a.ctypes.data_as(ctypes.c_void_p),
                                   ctypes.c_size_t(a.nbytes)), self.prog)
        return a
