# SPDX-License-Identifier: MIT
"""Cards, and programs on them."""
import errno
import os
import threading
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from . import _ffi, _tensors
from ._ffi import Error, Stats, byref, c_void_p, check, rdu, text


class Tensor:
    """What a program says of one of its tensors: ``name``, ``shape``, ``dtype`` (a name)."""

    def __init__(self, symbol: _ffi.Symbol):
        self.name = text(symbol.name)
        self.shape: Tuple[int, ...] = tuple(symbol.dims[:symbol.ndim])
        self.code = symbol.dtype
        self.dtype = _tensors.dtype_name(symbol.dtype)
        self.flags = symbol.flags
        self.entries = symbol.entries
        #: Of an output that data say the size of: the name of the tensor with its sizes, and of which dimensions.
        self.sizes: Optional[str] = None
        self.sized: Tuple[int, ...] = ()

    def __repr__(self) -> str:
        shape = ", ".join(f"0..{n}" if d in self.sized else str(n) for d, n in enumerate(self.shape))
        return f"{self.name}: {self.dtype}[{shape}]"

    def empty(self) -> np.ndarray:
        """Room for its elements; of bfloat16, their bits."""
        return np.empty(self.shape, _tensors.DTYPES[self.code])

    def take(self, x: Any, shape: Optional[Tuple[int, ...]] = None) -> np.ndarray:
        """The elements of x, if it is such a tensor; an exception that says why not, else.

        shape: the one that x has, where that is of fewer rows: the last ones are repeated then.
        """
        try:
            a, dtype = _tensors.as_array(x)
        except (TypeError, BufferError, RuntimeError) as error:
            raise TypeError(f"{self.name}: {error}") from None
        if dtype != self.dtype:
            raise TypeError(f"{self.name} is {dtype}, the program takes {self.dtype}")
        if a.shape != (shape or self.shape):
            raise ValueError(f"{self.name} has shape {list(a.shape)}, the program takes "
                             f"{list(shape or self.shape)}")
        if a.shape != self.shape:
            a = np.pad(a, [(0, m - n) for n, m in zip(a.shape, self.shape)], mode="edge")
        return a


#: How many times this process has come out of a fork(); what is older is the parent's.
_FORKS = 0


def _forked() -> None:
    global _FORKS  # pylint: disable=global-statement
    _FORKS += 1


os.register_at_fork(after_in_child=_forked)


class _Shared:
    """What is open as long as it is wanted, or something is on it."""

    _handle: Optional[c_void_p] = None

    def __init__(self, what: str):
        self._what = what
        self._users, self._forks = 0, _FORKS
        self._wanted = True
        self._lock = threading.RLock()

    def _free(self) -> None:
        raise NotImplementedError

    def _enter(self) -> c_void_p:
        if self._forks != _FORKS:
            raise Error(f"{self._what} came into this process by fork(): open it anew", errno.ECHILD)
        with self._lock:
            if not self._handle or not self._wanted:
                raise Error(f"{self._what} has been closed")
            self._users += 1
            return self._handle

    def _fresh_lock(self) -> None:
        """In a child of fork(), whoever held the lock is not there to let it go."""
        if self._forks != _FORKS:
            self._lock, self._forks = threading.RLock(), -1

    def _leave(self) -> None:
        self._fresh_lock()
        with self._lock:
            self._users -= 1
            self._close_if_last()

    def _close_if_last(self) -> None:
        if self._handle and not self._wanted and not self._users:
            self._free()
            self._handle = None

    def close(self) -> None:
        """Nothing new comes onto it; it is let go when the last of what is on it is."""
        self._fresh_lock()
        with self._lock:
            self._wanted = False
            self._close_if_last()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()


class Device(_Shared):
    """A card, or the model of one in this process.

    ``where`` is what ``rdu --device`` takes: ``"auto"`` (the first card of this machine), a PCI
    address, a device node, or ``"model:sn10"`` and its like, which need no card and no driver.
    Programs of one Device share the card. It is closed when it and all that is on it are gone, or
    by :meth:`close`.
    """

    def __init__(self, where: str = "auto"):
        if not isinstance(where, str):
            raise TypeError(f"a device is named by a str, not by {type(where).__name__}")
        super().__init__(f"device {where}")
        self.where = where
        handle, info = c_void_p(), _ffi.DeviceInfo()
        ret = rdu.rdu_open(where.encode(), byref(handle))
        try:
            check(ret, handle, f"device {where}")
        except Error as error:
            rdu.rdu_close(handle)
            if where in ("", "auto"):
                error.args = (f"{error.args[0]} (device=\"model:sn10\" needs no card)",)
            raise
        self._handle = handle
        check(rdu.rdu_device_get_info(handle, byref(info), _ffi.ctypes.sizeof(info)), handle)
        self.chip_name = text(info.chip)
        #: What the compiler is told: a name, or the path of a description.
        self.chip = where[len("model:"):].split(",")[0] if where.startswith("model:") else self.chip_name

    def _free(self) -> None:
        rdu.rdu_close(self._handle)

    def __repr__(self) -> str:
        return f"<rdu.Device {self.where}>"


class Context(_Shared):
    """Tiles of a card, for programs that take turns on them.

    A program that is loaded on a :class:`Device` gets tiles of its own, and the card has but a few:
    more programs than that share a Context. They run one after another. If one of them stops with a
    fault, all of the Context are lost (``dead``), and have to be loaded on a new one.
    """

    def __init__(self, device: Device, tiles: int = 1):
        super().__init__(f"a context on device {device.where}")
        self.device: Device = device
        self.chip = device.chip
        self.dead = False
        handle = device._enter()
        try:
            options = _ffi.ContextOptions(size=_ffi.ctypes.sizeof(_ffi.ContextOptions), tiles=tiles)
            context = c_void_p()
            try:
                check(rdu.rdu_context_new(handle, byref(options), byref(context)), context)
            except Error:
                rdu.rdu_context_free(context)
                raise
            self._handle = context
        except BaseException:
            device._leave()
            raise

    def _free(self) -> None:
        rdu.rdu_context_free(self._handle)
        self.device._leave()


#: Where a program can be: a card's name, a card, or some of its tiles.
Where = Union[str, Device, Context]


class Program:
    """A program file on a card: its weights and state stay there until :meth:`close`.

    Calls from several threads come one after another.
    """

    def __init__(self, program: bytes, device: Where = "auto"):
        self._file = self._program = None
        self._context: Optional[Context] = None
        self._lock, self._forks = threading.RLock(), _FORKS
        try:
            self._load(bytes(program), device)
        except BaseException:
            self.close()
            raise

    def _load(self, program: bytes, where: Where) -> None:
        self._file = c_void_p()
        check(rdu.rdu_file_parse(program, len(program), byref(self._file)), self._file)
        symbols = [Tensor(rdu.rdu_file_get_symbol(self._file, i).contents)
                   for i in range(rdu.rdu_file_num_symbols(self._file))]
        for i, t in enumerate(symbols):
            at = rdu.rdu_file_symbol_sizes(self._file, i)
            if at >= 0:
                bits = rdu.rdu_file_get_symbol(self._file, i).contents.block
                t.sizes, t.sized = symbols[at].name, tuple(d for d in range(len(t.shape)) if bits >> d & 1)
        self.tensors: Dict[str, Tensor] = {t.name: t for t in symbols}
        self._symbols = symbols
        self.entries: List[str] = [text(rdu.rdu_file_entry(self._file, i))
                                   for i in range(rdu.rdu_file_num_entries(self._file))]
        device = where if isinstance(where, (Device, Context)) else Device(where)
        try:
            context = device if isinstance(device, Context) else Context(
                device, rdu.rdu_file_num_tiles(self._file))
            try:
                handle = context._enter()
                self._context = context
            finally:
                if context is not where:
                    context.close()  # when this program is gone
        finally:
            if device is not where:
                device.close()
        self._program = c_void_p()
        check(rdu.rdu_program_load(handle, self._file, byref(self._program)), self._program)

    def of(self, entry: str, flag: int) -> List[Tensor]:
        """Tensors of an entry point, in the model's order: those that it uses; of forward, those that nothing
        uses, too (an input of no operator, a result without elements). Sizes of outputs are none of the model's."""
        bit = 1 << self.entries.index(entry)
        scopes = tuple(e + "/" for e in self.entries)
        sizes = {t.sizes for t in self._symbols}
        return [t for t in self._symbols if t.flags & flag and t.name not in sizes and
                (t.entries & bit or entry == "forward" and not t.entries and not t.name.startswith(scopes))]

    def tensor(self, name: str) -> Tensor:
        """By its name in the model."""
        if name in self.tensors:
            return self.tensors[name]
        if not self._file:
            raise Error("the program has been closed")
        return self._symbols[check(rdu.rdu_file_find_symbol(self._file, name.encode()), self._file)]

    def _mine(self) -> Any:
        """The lock, if the program is this process's."""
        if self._forks != _FORKS:
            raise Error("the program came into this process by fork(): load it anew", errno.ECHILD)
        return self._lock

    def _open(self) -> c_void_p:
        if not self._program:
            raise Error("the program has been closed")
        return self._program

    def _for_shapes(self, entry: str, inputs: Dict[str, Any], outputs: Sequence[str]
                    ) -> Tuple[str, Dict[str, Tuple[Tensor, Tuple[int, ...]]]]:
        """Of the entry points that are of the same graph, the one that takes inputs of these shapes:
        its name; what each tensor is there, and the shape that counts of it."""
        if not any(e.startswith(entry.split("[")[0] + "[") for e in self.entries):
            return entry, {n: (self.tensor(n), self.tensor(n).shape) for n in [*inputs, *outputs]}
        shapes = (_ffi.Shape * len(inputs))()
        for s, (name, x) in zip(shapes, inputs.items()):
            dims = np.shape(x)
            s.name, s.ndim = name.encode(), len(dims)
            s.dims[:min(len(dims), _ffi.MAX_DIMS)] = dims[:_ffi.MAX_DIMS]
        with self._mine():
            self._open()
            number = rdu.rdu_file_entry_for_shapes(self._file, entry.encode(), shapes, len(shapes))
            if number == -errno.EINVAL:
                raise ValueError(text(rdu.rdu_error_text(self._file)))
            check(number, self._file)
            found = {}
            for name in [*inputs, *outputs]:
                s = _ffi.Shape()
                at = check(rdu.rdu_file_entry_shape(self._file, number, shapes, len(shapes), name.encode(),
                                                    byref(s)), self._file)
                found[name] = self._symbols[at], tuple(s.dims[:s.ndim])
        return self.entries[number], found

    def run(self, entry: str, inputs: Dict[str, Any], outputs: Sequence[str],
            stats: Optional[Stats] = None) -> Dict[str, np.ndarray]:
        """Run an entry point once, or the one of the same graph that takes inputs of these shapes. Of
        bfloat16 tensors the bits are returned; of outputs that data say the size of, what the run has made."""
        entry, found = self._for_shapes(entry, inputs, outputs)
        taken = {found[n][0].name: found[n][0].take(x, found[n][1]) for n, x in inputs.items()}
        results = {n: found[n][0].empty() for n in outputs}
        with self._mine():
            p = self._open()
            sizes = {t.sizes: self.tensor(t.sizes).empty() for t, _ in found.values() if t.sizes}
            bound = list(taken.items()) + [(found[n][0].name, a) for n, a in results.items()]
            sizes.update((name, a) for name, a in bound if name in sizes)
            bound += [(name, a) for name, a in sizes.items() if name not in dict(bound)]
            try:
                for name, a in bound:
                    check(rdu.rdu_program_bind(p, name.encode(), a.ctypes.data, a.nbytes), p)
                check(rdu.rdu_program_run(p, entry.encode(), byref(stats) if stats else None), p)
            except Error as error:
                if self._context and error.errno in (errno.EFAULT, errno.ETIMEDOUT, errno.ENODEV):
                    self._context.dead = True
                raise
            finally:
                for name, _ in bound:
                    rdu.rdu_program_bind(p, name.encode(), None, 0)
        for n, a in results.items():
            shape = list(found[n][1])
            for d, size in zip(found[n][0].sized, sizes.get(found[n][0].sizes, ())):
                shape[d] = int(size)
            if a.shape != tuple(shape):
                results[n] = np.ascontiguousarray(a[tuple(slice(size) for size in shape)])
        return results

    def read(self, name: str) -> np.ndarray:
        """A tensor's elements: of a weight, a state, an output as the last run has left it; of bfloat16, the
        bits."""
        t = self.tensor(name)
        a, shape = t.empty(), list(t.shape)
        with self._mine():
            p = self._open()
            check(rdu.rdu_program_read(p, name.encode(), a.ctypes.data, a.nbytes), p)
            for d, size in zip(t.sized, self.read(t.sizes) if t.sizes else ()):
                shape[d] = int(size)
        return a if tuple(shape) == t.shape else np.ascontiguousarray(a[tuple(slice(size) for size in shape)])

    def write(self, name: str, x: Any) -> None:
        """Give a weight or a state other elements, of its type and shape."""
        a = self.tensor(name).take(x)
        with self._mine():
            p = self._open()
            check(rdu.rdu_program_write(p, name.encode(), a.ctypes.data, a.nbytes), p)

    def save(self, path: str) -> None:
        """Write a program file with the weights and state of now."""
        with self._mine():
            p = self._open()
            check(rdu.rdu_program_save(p, str(path).encode()), p)

    def close(self) -> None:
        """Let the card go. May be called twice."""
        if self._forks != _FORKS:  # whoever held the lock is not there to let it go
            self._lock = threading.RLock()
        with self._lock:
            rdu.rdu_program_free(self._program)
            rdu.rdu_file_close(self._file)
            self._file = self._program = None
            if self._context:
                self._context._leave()
            self._context = None

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_lock", None):
            self.close()
