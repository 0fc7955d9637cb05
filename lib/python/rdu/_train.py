# SPDX-License-Identifier: MIT
"""Training: the step is on the card, what it starts with and ends with is PyTorch's."""
import warnings
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from . import _compiler, _ffi, _tensors
from ._card import Context, Device, Program, Where
from ._ffi import Error


def _refuse(what: str, name: str, value: Any) -> None:
    raise Error(f"{what}: {name}={value!r} is not what the card computes")


def _loss_name(loss: Any) -> Tuple[str, Optional[int]]:
    """The compiler's name of a loss, and the label that takes no part in it."""
    import torch
    functional = torch.nn.functional
    if loss in ("softmax_cross_entropy", functional.cross_entropy):
        return "softmax_cross_entropy", -100
    if loss in ("mse", functional.mse_loss):
        return "mse", None
    if isinstance(loss, torch.nn.CrossEntropyLoss):
        for name, plain in (("weight", None), ("label_smoothing", 0.0), ("reduction", "mean")):
            if getattr(loss, name) != plain:
                _refuse("CrossEntropyLoss", name, getattr(loss, name))
        if loss.ignore_index >= 0:
            _refuse("CrossEntropyLoss", "ignore_index", loss.ignore_index)
        return "softmax_cross_entropy", loss.ignore_index
    if isinstance(loss, torch.nn.MSELoss):
        if loss.reduction != "mean":
            _refuse("MSELoss", "reduction", loss.reduction)
        return "mse", None
    raise TypeError(f"the card has the losses torch.nn.CrossEntropyLoss (\"softmax_cross_entropy\") "
                    f"and torch.nn.MSELoss (\"mse\"), not {loss!r}")


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
    shared = [k for k in groups[0] if k not in ("params", "lr", "initial_lr", "foreach", "fused",
                                               "capturable", "differentiable", "param_names")]
    for group in groups[1:]:
        for name in shared + ["lr"]:
            if group[name] != groups[0][name]:
                raise Error(f"{kind.__name__}: its groups of parameters differ in {name}, the card "
                            f"has one for all")
    group = groups[0]
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


def _check_modules(model: Any) -> None:
    """What would train otherwise than it does in PyTorch."""
    import torch
    for name, m in model.named_modules():
        batch = isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
        drop = isinstance(m, torch.nn.modules.dropout._DropoutNd) and m.p > 0
        if m.training and (batch or drop):
            does = "keeps its stored statistics" if batch else "drops nothing"
            raise Error(f"module '{name}' ({type(m).__name__}) is in training mode; on the card it "
                        f"{does}: say so with .eval() on it, and PyTorch does the same")


class Trainer:
    """A model whose training step is on a card. Weights and the optimizer's state stay there
    from step to step; :meth:`sync` brings both to PyTorch, bit by bit.

    Only the optimizer's parameters that require a gradient are trained. Parameters that are tied
    are one on the card, too. The learning rate is the optimizer's of the moment, so that schedulers
    work; all else of it is fixed when the model is compiled. A batch of another shape is compiled
    for when it comes.
    """

    def __init__(self, model: Any, loss: Any, optimizer: Any, device: Where = "auto",
                 *, progress: Optional[Callable[[str], Any]] = None, **options: Any):
        if not _compiler.is_module(model):
            raise TypeError(f"a torch.nn.Module can be trained, not {type(model).__name__}")
        self.loss_name, self._ignored = _loss_name(loss)
        self._classes_second = self.loss_name != "mse" and not isinstance(loss, str)
        self._optimizer_options, self._states = _optimizer_options(optimizer)
        self.model, self.optimizer = model, optimizer
        self._progress, self._options = progress, options
        self._programs: Dict[Any, Program] = {}
        self._current: Optional[Program] = None
        self.notes: List[str] = []
        wanted = {id(p) for g in optimizer.param_groups for p in g["params"] if p.requires_grad}
        #: Each parameter once: tied ones have the first one's name.
        self._parameters = dict(model.named_parameters())
        self._trained = [n for n, p in self._parameters.items() if id(p) in wanted]
        if len(self._trained) < len(wanted):
            raise Error("the optimizer has parameters that the model has not")
        if not self._trained:
            raise Error("the optimizer has no parameter of the model that requires a gradient")
        for name in self._trained:
            if any(c in name for c in ",*?[\\"):
                raise Error(f"parameter '{name}': its name cannot be told to the compiler")
        self._device = device if isinstance(device, (Device, Context)) else Device(device)
        self._own = not isinstance(device, (Device, Context))
        #: The state of a weight has this name on the card; once it is there, it counts.
        self._steps = 0

    # ---- programs ---------------------------------------------------------------------

    def _compile(self, inputs: Sequence[Any]) -> Program:
        _check_modules(self.model)
        onnx = _compiler.export(self.model, inputs, training=True)
        trained = self._reached(inputs, _compiler.weight_names(onnx))
        compiled = _compiler.compile_onnx(
            onnx, (), self._progress,
            **{"chip": self._device.chip, "name": type(self.model).__name__, "train": True,
               "loss": self.loss_name, "train_only": trained, **self._optimizer_options,
               **self._options})
        self.notes = compiled.notes
        program = Program(compiled.program, self._device)
        try:
            self._check_result(program)
        except Error:
            program.close()
            raise
        return program

    def _check_result(self, program: Program) -> None:
        """Would the loss mean the same in PyTorch?"""
        results = program.of("forward", _ffi.SYM_OUTPUT)
        if len(results) != 1:
            raise Error(f"a model with one result can be trained, this one has {len(results)}")
        if self._classes_second and len(results[0].shape) != 2:
            raise Error(f"cross_entropy() has the classes in dimension 1 of {list(results[0].shape)}, "
                        f"the card in the last one: bring them there, and name the loss "
                        f"\"softmax_cross_entropy\"")

    def _reached(self, inputs: Sequence[Any], there: Sequence[str]) -> List[str]:
        """Those to be trained that the exported model has; the others must be without a gradient
        in PyTorch as well."""
        import torch
        gone = [n for n in self._trained if n not in there]
        if gone:
            with torch.enable_grad():
                y = self.model(*inputs)
                y = y[0] if isinstance(y, (tuple, list)) else y
                grads = torch.autograd.grad(y.sum(), [self._parameters[n] for n in gone],
                                            allow_unused=True)
            lost = [n for n, g in zip(gone, grads) if g is not None]
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

    def _upload(self, program: Program) -> None:
        """What PyTorch has, to the card: weights, buffers, the optimizer's state."""
        for name, t in [*self._parameters.items(), *self.model.named_buffers()]:
            if self._has(program, name) and program.tensor(name).flags & _ffi.SYM_WEIGHT:
                program.write(name, t)
        for name in self._trained:
            state = self.optimizer.state.get(self._parameters[name], {})
            for there, here in self._states.items():
                if state.get(there) is not None:
                    program.write(f"{name}.{here}", state[there])
            if "step" in state and self._has(program, "step"):
                t = program.tensor("step")
                program.write("step", np.full(t.shape, float(state["step"])).astype(
                    _tensors.DTYPES[t.code]))

    def _program(self, inputs: Sequence[Any]) -> Program:
        key = tuple((tuple(x.shape), x.dtype) for x in inputs)
        if key not in self._programs:
            self._programs[key] = self._compile(inputs)
            if self._current is None:
                self._upload(self._programs[key])
                self._current = self._programs[key]
        program = self._programs[key]
        if program is not self._current:
            assert self._current is not None
            for t in program.tensors.values():
                if t.flags & (_ffi.SYM_WEIGHT | _ffi.SYM_STATE):
                    program.write(t.name, _raw(self._current, t.name))
            self._current = program
        return program

    # ---- steps ------------------------------------------------------------------------

    def _check_labels(self, labels: Any, classes: int) -> None:
        wrong = (labels < 0) | (labels >= classes)
        if self._ignored is not None:
            wrong &= labels != self._ignored
        if bool(wrong.any()):
            raise ValueError(f"label {int(labels[wrong][0])} is none of {classes} classes")

    def step(self, inputs: Any, target: Any) -> float:
        """One step with a batch: forward, loss, backward, update. Returns the loss."""
        import torch
        inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        if not all(isinstance(x, torch.Tensor) for x in inputs + (target,)):
            raise TypeError("a batch is of tensors of PyTorch")
        program = self._program(inputs)
        lr = self.optimizer.param_groups[0]["lr"]
        given = {f"input{i}": x for i, x in enumerate(inputs) if self._has(program, f"input{i}")}
        given["lr"] = np.full(program.tensor("lr").shape, float(lr), np.float32)
        if self.loss_name == "mse":
            given["target"] = target
        else:
            logits = program.of("forward", _ffi.SYM_OUTPUT)[0]
            if target.dim() > 1 and target.dim() + 1 != len(logits.shape):
                raise ValueError(f"the target has shape {list(target.shape)}, for logits of "
                                 f"{list(logits.shape)}")
            self._check_labels(target, logits.shape[-1])
            given["labels"] = target
        loss = program.run("train_step", given, ["loss"])["loss"]
        self._steps += 1
        return float(loss.reshape(-1)[0])

    def sync(self) -> None:
        """Give the model the card's weights, and the optimizer the card's state."""
        import torch
        program = self._current
        if program is None or not self._steps:
            return
        with torch.no_grad():
            for name in self._trained:
                p = self._parameters[name]
                if not self._has(program, name):
                    continue  # forward does not read it
                p.copy_(_torch(program, name))
                state = self.optimizer.state[p]
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
        self._programs, self._current = {}, None
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
        ``state_dict()``. Modules that train otherwise than on the card (BatchNorm, Dropout) must be
        in ``eval()`` mode
    loss
        ``torch.nn.CrossEntropyLoss()`` or ``torch.nn.MSELoss()``, or the card's own names:
        ``"softmax_cross_entropy"``, whose classes are the result's last dimension, and ``"mse"``
    optimizer
        ``torch.optim.SGD``, ``Adam`` or ``AdamW`` over the parameters to train; its state goes to
        the card and comes back
    loader
        gives batches: ``(input, target)``, or ``(input, ..., target)``
    scheduler
        ``scheduler.step()`` is called after each epoch
    report
        called with the number of steps done and the loss, after each; it may raise to end training
    options
        as of :func:`compile`, such as ``precision="fp32"`` and ``optimize=3``

    If anything is raised, the model has the weights of the last step that was done.
    """
    losses: List[float] = []
    with Trainer(model, loss, optimizer, device, progress=progress, **options) as trainer:
        try:
            for _ in range(epochs):
                for batch in loader:
                    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
                        raise TypeError("the loader gives (input, target), or (input, ..., target)")
                    losses.append(trainer.step(tuple(batch[:-1]), batch[-1]))
                    if report:
                        report(len(losses), losses[-1])
                if scheduler:
                    with warnings.catch_warnings():  # it misses the optimizer's step()
                        warnings.filterwarnings("ignore", "Detected call of")
                        scheduler.step()
        finally:
            trainer.sync()
    return losses
