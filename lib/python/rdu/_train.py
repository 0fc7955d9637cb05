# SPDX-License-Identifier: MIT
"""Training: the step is on the card, what it starts with and ends with is PyTorch's."""
import contextlib
import fnmatch
import threading
import warnings
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from . import _compiler, _ffi, _tensors
from ._card import Context, Device, Program, Where
from ._ffi import Error, Stats


def _refuse(what: str, name: str, value: Any) -> None:
    raise Error(f"{what}: {name}={value!r} is not what the card computes")


class _Loss(NamedTuple):
    """A loss: the compiler's name for it, and what PyTorch's has that the card's has not."""
    name: str
    ignored: Optional[int] = None  # the label that takes no part
    classes_second: bool = False  # the classes are dimension 1 of the result, not the last one
    call: Any = None  # "graph": computes the loss of the model's result and a target

    @property
    def takes_target(self) -> bool:
        return self.name != "graph" or self.call is not None

    @property
    def target(self) -> Optional[str]:
        """The input that has the target; None: the model has it itself."""
        return {"softmax_cross_entropy": "labels", "graph": None}.get(self.name, "target")


#: The card's losses; PyTorch's function and module, and what a module may have besides its defaults.
_LOSSES = {"softmax_cross_entropy": ("cross_entropy", "CrossEntropyLoss", {"label_smoothing": 0.0}),
           "mse": ("mse_loss", "MSELoss", {}),
           "binary_cross_entropy": ("binary_cross_entropy", "BCELoss", {}),
           "binary_cross_entropy_with_logits": ("binary_cross_entropy_with_logits", "BCEWithLogitsLoss",
                                                {"pos_weight": None}),
           "graph": (None, None, {})}


def _loss(loss: Any) -> _Loss:
    """The card's loss for one of PyTorch's, or for a name; any other function is compiled like the model."""
    import torch
    if getattr(loss, "reduction", "mean") == "none":
        _refuse(type(loss).__name__, "reduction", "none")
    for name, (function, module, plain) in _LOSSES.items():
        entropy = name == "softmax_cross_entropy"
        if isinstance(loss, str) and loss == name:
            return _Loss(name, -100 if entropy else None)
        if function and loss is getattr(torch.nn.functional, function):
            return _Loss(name, -100 if entropy else None, entropy)
        if module and type(loss) is getattr(torch.nn, module):  # of another class, forward() may differ
            has = {"weight": None, "reduction": "mean", **plain}
            if all(getattr(loss, a, v) is v or getattr(loss, a, v) == v for a, v in has.items()) and \
                    not (entropy and loss.ignore_index >= 0):
                return _Loss(name, loss.ignore_index if entropy else None, entropy)
    if callable(loss):
        return _Loss("graph", call=loss)
    raise TypeError("a loss is a function of the model's result and a target, such as torch.nn.L1Loss(), or one of " +
                    ", ".join(f'"{n}"' for n in _LOSSES) + f"; not {loss!r}")


def _with_loss(model: Any, loss: Any) -> Any:
    """A module of the model's parameters whose result is the loss: of the model's result for all inputs but the
    last, and that."""
    return _compiler.wrapped(model, lambda *args: loss(model(*args[:-1]), args[-1]))


def _patterns(value: Any) -> List[str]:
    """Patterns of names: in one text with commas, or a list."""
    if value is None:
        return []
    return [v for v in value.split(",") if v] if isinstance(value, str) else list(value)


def _chosen(names: List[str], options: Dict[str, Any]) -> List[str]:
    """Those names that train_only and freeze leave; both are taken out of the options."""
    only, never = _patterns(options.pop("train_only", None)), _patterns(options.pop("freeze", None))
    for what, patterns in (("train_only", only), ("freeze", never)):
        for p in patterns:
            if not fnmatch.filter(names, p):
                raise Error(f"{what}: '{p}' is the name of no parameter of the optimizer that requires a gradient")
    return [n for n in names if (not only or any(fnmatch.fnmatchcase(n, p) for p in only)) and
            not any(fnmatch.fnmatchcase(n, p) for p in never)]


#: Of each optimizer: what its groups may not ask for, and the state of a weight, there and here.
_SGD_STATE = {"momentum_buffer": "velocity"}
_ADAM_STATE = {"exp_avg": "m", "exp_avg_sq": "v"}


def _optimizer_options(optimizer: Any) -> Tuple[Dict[str, Any], Dict[str, str]]:
    """Options of the compiler for an optimizer of PyTorch; its state's names."""
    import torch
    kind = type(optimizer)
    names = {torch.optim.SGD: "sgd", torch.optim.Adam: "adam", torch.optim.AdamW: "adamw"}
    if kind not in names:
        raise TypeError(f"the card has the optimizers SGD, Adam and AdamW of torch.optim, not "
                        f"{kind.__name__}")
    groups = optimizer.param_groups
    shared = [k for k in groups[0] if k not in ("params", "lr", "initial_lr", "foreach", "fused", "weight_decay",
                                                "capturable", "differentiable", "param_names")]
    for group in groups[1:]:
        for name in shared + ["lr"]:
            if group[name] != groups[0][name]:
                raise Error(f"{kind.__name__}: its groups of parameters differ in {name}, the card "
                            f"has one for all")
    decays = {g["weight_decay"] for g in groups} - {0}
    if len(decays) > 1:
        raise Error(f"{kind.__name__}: its groups of parameters decay by {sorted(decays)}, the card has one for all that "
                    f"decay")
    group = {**groups[0], "weight_decay": decays.pop() if decays else 0}
    for name in ("dampening", "nesterov", "amsgrad", "maximize"):
        if group.get(name):
            _refuse(kind.__name__, name, group[name])
    options: Dict[str, Any] = {"optimizer": names[kind], "weight_decay": group["weight_decay"]}
    if kind is not torch.optim.SGD:
        options.update(beta1=group["betas"][0], beta2=group["betas"][1], epsilon=group["eps"])
        return options, _ADAM_STATE
    if group["momentum"]:
        options.update(optimizer="momentum", momentum=group["momentum"])
        return options, _SGD_STATE
    return options, {}


#: Where PyTorch (2, the last ones) keeps functions that change gradients, or what an optimizer does with them.
_HOOKS = ("_backward_hooks", "_backward_pre_hooks", "_post_accumulate_grad_hooks", "_optimizer_step_pre_hooks",
          "_optimizer_step_post_hooks")


def _check_hooks(what: str, holder: Any, prefix: str = "") -> None:
    if any(getattr(holder, prefix + hooks, None) for hooks in _HOOKS):
        raise Error(f"{what} has a hook for its backward pass or step: on the card it would not be called")


def _check_all_hooks(model: Any, loss: Any, optimizer: Any) -> None:
    import torch
    for name, p in model.named_parameters():
        _check_hooks(f"parameter '{name}'", p)
    for name, m in model.named_modules():
        _check_hooks(f"module '{name}' ({type(m).__name__})", m)
    for m in loss.modules() if isinstance(loss, torch.nn.Module) else ():
        _check_hooks(f"the loss ({type(m).__name__})", m)
    _check_hooks("torch.nn.Module, for all modules,", torch.nn.modules.module, "_global")
    kind = type(optimizer).__name__
    _check_hooks(f"the optimizer ({kind})", optimizer)
    step = vars(optimizer).get("step")
    if step and not getattr(step, "_with_counter", False) and not getattr(step, "_wrapped_by_lr_sched", False):
        raise Error(f"the optimizer ({kind}) has a step() that is not {kind}'s: on the card it would not be called")


def _check_backward(result: Any) -> None:
    """Warns of functions that say themselves what their gradients are: of them no more than forward() is exported."""
    import torch
    result = result[0] if isinstance(result, (tuple, list)) else result
    nodes, seen = [getattr(result, "grad_fn", None)], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [before for before, _ in node.next_functions]
        own = getattr(node, "_forward_cls", None)  # a torch.autograd.Function's
        if own and isinstance(node, torch.autograd.function.BackwardCFunction) and \
                not own.__module__.startswith("torch."):
            warnings.warn(f"{own.__qualname__}.backward() is not run on the card: gradients are those of what its "
                          f"forward() computes; .detach() stops some of them")


def _check_weights(kind: str, m: Any) -> None:
    """Weights that are made of parameters in a way that the card has not."""
    own = [m, *m._forward_pre_hooks.values()]  # spectral_norm() is a hook, or a parametrization; its class is not public
    if m.training and any(type(o).__name__ in ("SpectralNorm", "_SpectralNorm") for o in own):
        raise Error(f"{kind} has spectral_norm in training mode, which changes its vectors in each forward pass, which "
                    f"on the card it does not: say so with .eval() on it, and PyTorch does the same")
    if type(m).__name__ == "_Orthogonal":
        raise Error(f"{kind} makes a matrix orthogonal: torch.onnx.export has nothing for that")


def _check_modules(model: Any) -> None:
    """What would train otherwise than it does in PyTorch."""
    import torch
    for name, m in model.named_modules():
        kind = f"module '{name}' ({type(m).__name__})"
        _check_weights(kind, m)
        if not isinstance(m, torch.nn.modules.batchnorm._NormBase) or not m.training or m.running_mean is None:
            continue
        if isinstance(m, torch.nn.modules.batchnorm._BatchNorm) and m.momentum is None:
            raise Error(f"{kind} has no momentum: the card has no mean of all batches so far")
        if isinstance(m, torch.nn.modules.instancenorm._InstanceNorm):
            raise Error(f"{kind} is in training mode and keeps statistics, which on the card it does not: say so "
                        f"with .eval() on it, and PyTorch does the same")


class _Node:
    """A node of autograd's graph, which takes no hook."""

    def __init__(self, node: Any) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        if name in ("register_hook", "register_prehook"):
            return self._refused
        return getattr(self._node, name)

    @property
    def next_functions(self) -> Any:
        return tuple((n and _Node(n), i) for n, i in self._node.next_functions)

    def _refused(self, hook: Any) -> None:
        raise Error(f"forward() gives a node of autograd's graph, {self._node.name()}, a hook, "
                    f"{getattr(hook, '__qualname__', hook)}: on the card it would not be called")


@contextlib.contextmanager
def _no_hooks() -> Iterator[None]:
    """forward() gives no tensor a hook, nor the node of autograd's graph that made it."""
    import torch
    given, made_by, here = torch.Tensor.register_hook, torch.Tensor.grad_fn, threading.get_ident()

    def refused(self: Any, hook: Any) -> Any:
        if threading.get_ident() != here:
            return given(self, hook)
        raise Error(f"forward() gives a tensor a hook, {getattr(hook, '__qualname__', hook)}: on the card it would not "
                    f"be called")

    def grad_fn(self: Any) -> Any:
        node = made_by.__get__(self)
        return _Node(node) if node is not None and threading.get_ident() == here else node
    torch.Tensor.register_hook = refused
    torch.Tensor.grad_fn = property(grad_fn)
    try:
        yield
    finally:
        torch.Tensor.register_hook = given
        del torch.Tensor.grad_fn  # and it is its base's again


class Trainer:
    """A model whose training step is on a card. Weights and the optimizer's state stay there
    from step to step; :meth:`sync` brings both to PyTorch, bit by bit.

    Only the optimizer's parameters that require a gradient are trained. Parameters that are tied
    are one on the card, too. The learning rate is the optimizer's of the moment, so that schedulers
    work; all else of it is as it was when the Trainer was made, and a change is an :class:`Error`. A
    batch of another shape is compiled for when it comes.

    ``stats`` (a :class:`Stats`) is what the last step or evaluation cost on the card.
    """

    def __init__(self, model: Any, loss: Any, optimizer: Any, device: Where = "auto",
                 *, progress: Optional[Callable[[str], Any]] = None, **options: Any):
        if not _compiler.is_module(model):
            raise TypeError(f"a torch.nn.Module can be trained, not {type(model).__name__}")
        self._loss, self._given_loss = _loss(loss), loss
        self._optimizer_options, self._states = _optimizer_options(optimizer)
        self.model, self.optimizer = model, optimizer
        self._progress, self._options = progress, dict(options)
        #: Batches of a step, and those of the step that is not done yet.
        self._batches, self._pending = int(options.get("accumulate", 1)), 0
        self._programs: Dict[Any, Program] = {}
        self._current: Optional[Program] = None
        self.notes: List[str] = []
        self.stats: Optional[Stats] = None
        wanted = {id(p) for g in optimizer.param_groups for p in g["params"] if p.requires_grad}
        #: Each parameter once: tied ones have the first one's name.
        self._parameters = dict(model.named_parameters())
        self._trained = [n for n, p in self._parameters.items() if id(p) in wanted]
        if len(self._trained) < len(wanted):
            raise Error("the optimizer has parameters that the model has not")
        self._no_decay = self._undecayed()
        self._trained = _chosen(self._trained, self._options)
        if not self._trained:
            raise Error("the optimizer has no parameter of the model that requires a gradient")
        for name in self._trained:
            if any(c in name for c in ",*?[\\"):
                raise Error(f"parameter '{name}': its name cannot be told to the compiler")
        self._device = device if isinstance(device, (Device, Context)) else Device(device)
        self._own = not isinstance(device, (Device, Context))
        self._settings = self._settings_now()
        #: The state of a weight has this name on the card; once it is there, it counts.
        self._steps = 0
        #: Of a program, the buffers that a batch changes: a count of batches by so much, statistics (0) on the card.
        self._changing: Dict[Program, Dict[str, int]] = {}
        #: The same of all batches since sync().
        self._changed: Dict[str, int] = {}

    def _settings_now(self) -> Dict[str, Any]:
        """What of the optimizer a program is compiled with."""
        groups = self.optimizer.param_groups
        return {**_optimizer_options(self.optimizer)[0],
                "the parameters that require a gradient": {id(p) for g in groups for p in g["params"] if p.requires_grad},
                "the parameters that decay": {id(p) for g in groups for p in g["params"] if g["weight_decay"]}}

    def _check_step(self) -> None:
        """Would the optimizer's step be the one that was compiled?"""
        _check_all_hooks(self.model, self._given_loss, self.optimizer)
        now = self._settings_now()
        other = next((name for name, was in self._settings.items() if now.get(name) != was), None)
        if other:
            change = "are others now" if isinstance(now[other], set) else f"is {now[other]} now, not {self._settings[other]}"
            raise Error(f"{type(self.optimizer).__name__}: {other} {change}: on the card only the learning rate changes "
                        f"from step to step (a scheduler can be told cycle_momentum=False)")

    def _undecayed(self) -> List[str]:
        """Parameters that do not decay while others do: of groups without decay, and by name."""
        groups = self.optimizer.param_groups
        idle = {id(p) for g in groups for p in g["params"] if not g["weight_decay"]}
        some = any(g["weight_decay"] for g in groups)
        patterns = _patterns(self._options.pop("no_decay", None))
        for p in patterns:
            if not fnmatch.filter(self._parameters, p):
                raise Error(f"no_decay: '{p}' is the name of no parameter")
        return [n for n in self._trained if some and id(self._parameters[n]) in idle or
                any(fnmatch.fnmatchcase(n, p) for p in patterns)]

    # ---- programs ---------------------------------------------------------------------

    def _compile(self, inputs: Sequence[Any]) -> Program:
        _check_modules(self.model)
        module = _with_loss(self.model, self._loss.call) if self._loss.call else \
            _compiler.wrapped(self.model, self.model)
        onnx = _compiler.export(module, inputs, training=True)
        trained = self._reached(module, inputs, _compiler.weight_names(onnx))
        changing = self._changes(module, inputs, _compiler.kept_statistics(onnx))
        compiled = _compiler.compile_onnx(
            onnx, ("parameters",), self._progress,
            **{"chip": self._device.chip, "name": type(self.model).__name__, "train": True,
               "loss": self._loss.name, "unbiased_variance": True, "train_only": trained, **self._optimizer_options,
               "no_decay": [n for n in self._no_decay if n in trained] or None, **self._options})
        self.notes = compiled.notes
        self._check_idle(module, inputs, compiled.outputs["parameters"])
        program = Program(compiled.program, self._device)
        self._changing[program] = changing
        try:
            self._check_result(program)
        except Error:
            program.close()
            raise
        return program

    def _changes(self, module: Any, inputs: Sequence[Any], kept: Set[str]) -> Dict[str, int]:
        """The buffers that forward() changes, by how much if they count batches; the card keeps statistics only.
        As PyTorch runs it for that, it is seen as well how gradients would go back there."""
        import torch
        was = {name: b.clone() for name, b in self.model.named_buffers()}
        changing = {name: 0 for name in was if name in kept}
        with _compiler._exporting, torch.enable_grad(), _compiler.unchanged(module):
            with _no_hooks():
                result = module(*inputs)
            _check_backward(result)
            for name, b in self.model.named_buffers():
                if name in kept or name not in was or b.shape != was[name].shape or torch.equal(b, was[name]):
                    continue  # of another shape it is no more than what forward() remembers
                if name.rpartition(".")[2] != "num_batches_tracked":
                    raise Error(f"forward() changes buffer '{name}': on the card only the statistics of BatchNorm "
                                f"change")
                changing[name] = int(b - was[name])
        return changing

    def _check_result(self, program: Program) -> None:
        """Would the loss mean the same in PyTorch?"""
        results = program.of("forward", _ffi.SYM_OUTPUT)
        if len(results) != 1:
            raise Error(f"a model with one result can be trained, this one has {len(results)}: give a loss that "
                        f"makes one number of them")

    def _with_gradient(self, module: Any, inputs: Sequence[Any], names: Sequence[str]) -> List[str]:
        """Those that PyTorch has a gradient of."""
        import torch
        if not names:
            return []
        with torch.enable_grad(), _compiler.unchanged(module):
            y = module(*inputs)
            y = y[0] if isinstance(y, (tuple, list)) else y
            grads = torch.autograd.grad(y.sum(), [self._parameters[n] for n in names], allow_unused=True)
        return [n for n, g in zip(names, grads) if g is not None]

    def _check_idle(self, module: Any, inputs: Sequence[Any], parameters: str) -> None:
        """What no gradient reaches stays as it is on the card. In PyTorch it decays, and goes on by the momentum of
        before, if the gradient is there and all zeros."""
        lines = [line.split(None, 1)[1] for line in parameters.splitlines() if line.endswith(": no gradient reaches it")]
        idle = {line.rpartition(" [")[0] for line in lines}
        decays = {id(p) for g in self.optimizer.param_groups if g["weight_decay"] for p in g["params"]}
        decay = {n for n in self._trained if n not in self._no_decay and id(self._parameters[n]) in decays}
        moves = {n for n in self._trained if any(
            bool(s.any()) for s in map(self.optimizer.state.get(self._parameters[n], {}).get, self._states) if s is not None)}
        zeros = self._with_gradient(module, inputs, [n for n in self._trained if n in idle & (decay | moves)])
        if zeros:
            only = "only decay" if zeros[0] in decay else "go on by the optimizer's state alone"
            raise Error(f"parameter '{zeros[0]}': its gradient is always 0, and it would {only}: on the card it does "
                        f"not; freeze it{', or name it in no_decay' if zeros[0] not in moves else ''}")

    def _reached(self, module: Any, inputs: Sequence[Any], there: Sequence[str]) -> List[str]:
        """Those to be trained that the exported model has; the others must be without a gradient
        in PyTorch as well."""
        gone = [n for n in self._trained if n not in there]
        lost = self._with_gradient(module, inputs, gone)
        if lost:
            raise Error(f"parameter '{lost[0]}': torch.onnx.export gave it another name, or made "
                        f"another tensor of it: it cannot be trained on the card")
        if len(gone) == len(self._trained):
            raise Error("the model's result depends on no parameter of the optimizer")
        return [n for n in self._trained if n in there]

    def _has(self, program: Program, name: str) -> bool:
        try:
            program.tensor(name)
            return True
        except Error:
            return False

    def _upload(self, program: Program, names: Iterable[str]) -> None:
        """What PyTorch has of these, to the card: weights, buffers, the optimizer's state."""
        import torch
        wanted = set(names)
        for name, t in [*self._parameters.items(), *self.model.named_buffers()]:
            if name in wanted and program.tensor(name).flags & _ffi.SYM_WEIGHT:
                program.write(name, t)
        for name in self._trained:
            state = self.optimizer.state.get(self._parameters[name], {})
            for there, here in self._states.items():
                if f"{name}.{here}" in wanted and state.get(there) is not None:
                    program.write(f"{name}.{here}", state[there])
            if "step" in state and "step" in wanted:
                t = program.tensor("step")
                program.write("step", np.full(t.shape, float(state["step"])).astype(
                    _tensors.DTYPES[t.code]))
        if "random_runs" in wanted:  # what Dropout drops is up to torch.manual_seed()
            program.write("random_runs", torch.randint(2**32, (1,)).numpy().astype(np.uint32))

    def _move(self, program: Program) -> None:
        """The next step is one of another program, which need not have all that this one has, nor the reverse."""
        def kept(p: Program) -> Set[str]:
            return {t.name for t in p.tensors.values() if t.flags & (_ffi.SYM_WEIGHT | _ffi.SYM_STATE)}
        assert self._current is not None
        here, there = kept(self._current), kept(program)
        if here - there:
            self.sync()
        for name in here & there:
            program.write(name, _raw(self._current, name))
        self._upload(program, there - here)
        self._current = program

    def _program(self, entry: str, inputs: Sequence[Any]) -> Program:
        shapes = tuple((tuple(x.shape), x.dtype) for x in inputs)
        key = (shapes, tuple(m.training for m in self.model.modules()))
        if entry == "evaluate":  # is in no mode
            key = next((k for k in self._programs if k[0] == shapes), key)
        if key not in self._programs:
            self._programs[key] = self._compile(inputs)
            if self._current is None:
                self._current = self._programs[key]
                self._upload(self._current, self._current.tensors)
        program = self._programs[key]
        if program is not self._current:
            self._move(program)
        return program

    # ---- steps ------------------------------------------------------------------------

    def _check_labels(self, labels: Any, classes: int) -> None:
        wrong = (labels < 0) | (labels >= classes)
        if self._loss.ignored is not None:
            wrong &= labels != self._loss.ignored
        if bool(wrong.any()):
            raise ValueError(f"label {int(labels[wrong][0])} is none of {classes} classes")

    def _given(self, entry: str, inputs: Tuple[Any, ...], target: Any) -> Tuple[Program, Dict[str, Any]]:
        """The program for a batch, and what an entry point of it takes."""
        import torch
        if (target is not None) != self._loss.takes_target:
            raise TypeError(f"loss {self._loss.name} " + ("takes a target" if self._loss.takes_target else
                                                          "takes no target: the model computes it of its inputs"))
        if not all(isinstance(x, torch.Tensor) for x in inputs + ((target,) if target is not None else ())):
            raise TypeError("a batch is of tensors of PyTorch")
        if self._loss.classes_second and target.dim() != 1:  # of planes, or probabilities
            self._loss = _Loss("graph", call=self._given_loss)
        empty = [x for x in inputs if not x.numel()]
        if empty:
            raise ValueError(f"an input has shape {list(empty[0].shape)}: there is nothing to train with")
        if self._loss.call:
            inputs, target = inputs + (target,), None
        name = self._loss.target
        program = self._program(entry, inputs)
        takes = {t.name for t in program.of(entry, _ffi.SYM_INPUT)}
        given = {f"input{i}": x for i, x in enumerate(inputs) if f"input{i}" in takes}
        if "lr" in takes:
            lr = self.optimizer.param_groups[0]["lr"]
            given["lr"] = np.full(program.tensor("lr").shape, float(lr), np.float32)
        if name == "labels":
            logits = program.of("forward", _ffi.SYM_OUTPUT)[0]
            if target.dim() > 1 and target.dim() + 1 != len(logits.shape):
                raise ValueError(f"the target has shape {list(target.shape)}, for logits of "
                                 f"{list(logits.shape)}")
            self._check_labels(target, logits.shape[-1])
        if name == "target" and target.dtype != torch.float32 and \
                str(target.dtype) == f"torch.{_tensors.dtype_name(program.of('forward', _ffi.SYM_OUTPUT)[0].code)}":
            target = target.float()  # of the model's own type; the loss is in float32
        if name:
            given[name] = target
        return program, given

    def parts(self, batch: Any) -> Tuple[Tuple[Any, ...], Any]:
        """Inputs and target of what a loader gives."""
        if not self._loss.takes_target:
            return tuple(batch) if isinstance(batch, (tuple, list)) else (batch,), None
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise TypeError("the loader gives (input, target), or (input, ..., target)")
        return tuple(batch[:-1]), batch[-1]

    def _run(self, entry: str, inputs: Tuple[Any, ...], target: Any) -> float:
        """Runs an entry point with a batch; returns the loss."""
        program, given = self._given(entry, inputs, target)
        stats = Stats()
        loss = program.run(entry, given, ["loss"], stats)["loss"]
        self.stats = stats
        return float(loss.reshape(-1)[0])

    def step(self, inputs: Any, target: Any = None) -> float:
        """Forward, loss, backward and update with a batch; returns the loss.

        With ``accumulate=N``, only each Nth call updates: by the mean of the gradients of N batches.
        """
        inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        self._check_step()
        last = self._pending + 1 == self._batches
        entry = "train_step" if last else "accumulate_step"
        loss = self._run(entry, inputs, target)
        self._pending = 0 if last else self._pending + 1
        self._steps += last
        for name, by in self._changing[self._current].items():
            self._changed[name] = self._changed.get(name, 0) + by
        return loss

    def evaluate(self, inputs: Any, target: Any = None) -> float:
        """The loss of a batch with the weights of now; nothing changes. BatchNorm and Dropout do as in ``eval()``; what
        forward() does by ``self.training`` is as in the steps, and so are random numbers of its own."""
        inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        return self._run("evaluate", inputs, target)

    def finish(self) -> None:
        """Raise an :class:`Error` if batches wait for others, to make a step of ``accumulate=N``."""
        if self._pending:
            raise Error(f"the last {self._pending} batches took part in no step: accumulate={self._batches} are one")

    def sync(self) -> None:
        """Give the model the card's weights and statistics, and the optimizer the card's state."""
        import torch
        program = self._current
        if program is None:
            return
        with torch.no_grad():
            buffers = dict(self.model.named_buffers())
            for name, by in self._changed.items():
                if by:
                    buffers[name] += by
                else:
                    buffers[name].copy_(_torch(program, name))
            self._changed.clear()
            if not self._steps:
                return
            for name in self._trained:
                p = self._parameters[name]
                if not self._has(program, name):
                    continue  # forward does not read it
                if any(not self._has(program, f"{name}.{here}") for here in self._states.values()):
                    continue  # no gradient reaches it: it stays as it is, and so would its state
                p.copy_(_torch(program, name))
                state = self.optimizer.state[p] if self._states else {}
                for there, here in self._states.items():
                    t = _torch(program, f"{name}.{here}")
                    state[there] = t.reshape(p.shape)
                if "exp_avg" in self._states:
                    count = float(program.read("step").reshape(-1)[0])
                    state["step"] = torch.tensor(count)

    def close(self) -> None:
        """Take the programs off the card; sync() first, what is there is lost."""
        for program in self._programs.values():
            program.close()
        self._programs, self._changing, self._current = {}, {}, None
        if self._own:
            self._device.close()

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _torch(program: Program, name: str) -> Any:
    return _tensors.as_torch(program.read(name), program.tensor(name).code)


def _raw(program: Program, name: str) -> Any:
    """A tensor as Program.write() takes it back."""
    a, code = program.read(name), program.tensor(name).code
    return _tensors.as_torch(a, code) if code == _tensors.BF16 else a


def train(model: Any, loss: Any, optimizer: Any, loader: Iterable[Any],
          device: Where = "auto", *, epochs: int = 1,
          scheduler: Any = None, report: Optional[Callable[[int, float], Any]] = None,
          progress: Optional[Callable[[str], Any]] = None, **options: Any) -> List[float]:
    """Train a module of PyTorch on a card; returns the loss of each step.

    model
        a ``torch.nn.Module``; in the end it has the trained weights, and so has its
        ``state_dict()``, with the statistics of BatchNorm. Modules do what their mode says: in ``eval()``,
        BatchNorm takes its statistics as they are, and Dropout drops nothing
    loss
        a function or a module that makes one number of the model's result and a target, as those of
        ``torch.nn``; or a name: ``"softmax_cross_entropy"``, whose classes are the result's last dimension,
        ``"mse"``, ``"binary_cross_entropy"``, ``"binary_cross_entropy_with_logits"``, and ``"graph"``:
        the model's result is the loss
    optimizer
        ``torch.optim.SGD``, ``Adam`` or ``AdamW`` over the parameters to train; its state goes to
        the card and comes back. Its groups may differ in that some of them do not decay
    loader
        gives batches: ``(input, target)``, or ``(input, ..., target)``; for ``"graph"``, the inputs
    scheduler
        ``scheduler.step()`` is called after each epoch
    report
        called with the number of steps done and the loss, after each; it may raise to end training
    options
        as of :func:`compile`, such as ``precision="fp32"`` and ``optimize=3``; ``clip_norm=1.0``, as
        ``torch.nn.utils.clip_grad_norm_``; ``accumulate=4``: a step is of the mean gradient of so many
        batches; ``train_only``, ``freeze``, ``no_decay``: patterns of parameters' names (fnmatch)

    If anything is raised, the model has the weights of the last step that was done.
    """
    losses: List[float] = []
    with Trainer(model, loss, optimizer, device, progress=progress, **options) as trainer:
        try:
            for _ in range(epochs):
                for batch in loader:
                    losses.append(trainer.step(*trainer.parts(batch)))
                    if report:
                        report(len(losses), losses[-1])
                if scheduler:
                    with warnings.catch_warnings():  # it misses the optimizer's step()
                        warnings.filterwarnings("ignore", "Detected call of")
                        scheduler.step()
            trainer.finish()
        finally:
            trainer.sync()
    return losses
