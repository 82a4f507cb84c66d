"""Optimizers of PyTorch whose moments are 8- or 4-bit streams, on the CPU.

    from qcodec.torch.optim import AdamW8bit

    optimizer = AdamW8bit(model.named_parameters(), lr=3e-4)

Each takes the arguments of PyTorch's own optimizer, is used as one (parameter groups, closures, hooks, schedulers, GradScaler,
`state_dict`), and keeps 2 bytes a parameter of state instead of 8, or 1. Parameters may be float32, bfloat16 or float16; those
on other devices are moved on the host and copied back, so that their state lies in host memory.

Small tensors (`min_size`, 4,096 elements) and embeddings keep 32-bit state: what `keep_32bit` marks, and parameters that are
named `embed…`, `wte` or `wpe` where names are given (`named_parameters()`). A group may have `bits` of its own.

Adam's second moments of matrices may be `factored` instead, into one float32 for each row and each column: Adafactor's, and
with 4 bits the 4-bit Factor of *Memory Efficient Optimizers with 4-bit States*.
"""

from __future__ import annotations

from typing import Any

from .._library import StepOptions
from ._optimizer import ADAGRAD, ADAM, LAMB, LARS, LION, RMSPROP, SGD, CodedOptimizer, keep_32bit

__all__ = [
    "Adagrad8bit", "Adam4bit", "Adam8bit", "AdamW4bit", "AdamW8bit", "LAMB8bit", "LARS8bit", "Lion4bit", "Lion8bit", "RMSprop8bit",
    "SGD4bit", "SGD8bit", "keep_32bit",
]

def _document(bits: int, like: str, decay: str) -> str:
    return (
        f"{like} whose moments are {bits}-bit streams. {decay}\n\n"
        "    `min_size`: tensors of fewer elements keep 32-bit state. `bits`: 4, 8 or 32, also of a group. `max_grad_norm`: the\n"
        "    greatest norm of all gradients together. `percentile_clipping`: a gradient longer than that percentile of its last\n"
        "    hundred is shortened to it; 100 for none. `check`: whether gradients are looked over before anything moves, so that a\n"
        "    step is taken whole or not at all. `threads`: 0 for as many as the process may run on.\n"
    )


class AdamW8bit(CodedOptimizer):
    __doc__ = _document(8, "torch.optim.AdamW", "Weight decay is decoupled.")
    _rule = ADAM
    _decoupled = True

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *, maximize=False, **options
    ) -> None:
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                    "maximize": maximize}
        super().__init__(params, defaults, **options)

    def _fill(self, options: StepOptions, group: dict[str, Any]) -> None:
        options.beta1, options.beta2 = group["betas"]
        options.epsilon, options.is_amsgrad = group["eps"], bool(group["amsgrad"])
        options.is_decoupled = self._decoupled


class AdamW4bit(AdamW8bit):
    __doc__ = _document(4, "torch.optim.AdamW", "Weight decay is decoupled.")
    _bits = 4


class Adam8bit(AdamW8bit):
    __doc__ = _document(8, "torch.optim.Adam", "Weight decay acts on gradients.")
    _decoupled = False

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, *, maximize=False, **options
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, **options)


class Adam4bit(Adam8bit):
    __doc__ = _document(4, "torch.optim.Adam", "Weight decay acts on gradients.")
    _bits = 4


class SGD8bit(CodedOptimizer):
    __doc__ = _document(8, "torch.optim.SGD", "Without momentum there is no state.")
    _rule = SGD
    _names = ("momentum_buffer", "", "")

    def __init__(
        self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, *, maximize=False, **options
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
                    "nesterov": nesterov, "maximize": maximize}
        super().__init__(params, defaults, **options)

    def _fill(self, options: StepOptions, group: dict[str, Any]) -> None:
        options.momentum, options.dampening = group["momentum"], group["dampening"]
        options.is_nesterov = bool(group["nesterov"])


class SGD4bit(SGD8bit):
    __doc__ = _document(4, "torch.optim.SGD", "Without momentum there is no state.")
    _bits = 4


class Lion8bit(CodedOptimizer):
    __doc__ = _document(8, "Lion", "Weight decay is decoupled.")
    _rule = LION
    _names = ("exp_avg", "", "")

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, *, maximize=False, **options) -> None:
        defaults = {"lr": lr, "betas": tuple(betas), "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, **options)

    def _fill(self, options: StepOptions, group: dict[str, Any]) -> None:
        options.beta1, options.beta2 = group["betas"]


class Lion4bit(Lion8bit):
    __doc__ = _document(4, "Lion", "Weight decay is decoupled.")
    _bits = 4


class Adagrad8bit(CodedOptimizer):
    __doc__ = _document(8, "torch.optim.Adagrad", "Weight decay acts on gradients.")
    _rule = ADAGRAD
    _names = ("", "sum", "")

    def __init__(self, params, lr=1e-2, lr_decay=0.0, weight_decay=0.0, eps=1e-10, *, maximize=False, **options) -> None:
        defaults = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps, "maximize": maximize}
        super().__init__(params, defaults, **options)

    def _fill(self, options: StepOptions, group: dict[str, Any]) -> None:
        options.learning_rate_decay, options.epsilon = group["lr_decay"], group["eps"]


class RMSprop8bit(CodedOptimizer):
    __doc__ = _document(8, "torch.optim.RMSprop, not centered,", "Weight decay acts on gradients.")
    _rule = RMSPROP
    _names = ("momentum_buffer", "square_avg", "")

    def __init__(
        self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, *, maximize=False, **options
    ) -> None:
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
                    "maximize": maximize}
        super().__init__(params, defaults, **options)

    def _fill(self, options: StepOptions, group: dict[str, Any]) -> None:
        options.alpha, options.epsilon, options.momentum = group["alpha"], group["eps"], group["momentum"]


class LAMB8bit(CodedOptimizer):
    __doc__ = _document(8, "LAMB", "Weight decay is part of the direction.")
    _rule = LAMB

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=1e-2, *, maximize=False, **options
    ) -> None:
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults, **options)

    def _fill(self, options: StepOptions, group: dict[str, Any]) -> None:
        options.beta1, options.beta2 = group["betas"]
        options.epsilon = group["eps"]


class LARS8bit(CodedOptimizer):
    __doc__ = _document(8, "LARS", "Weight decay acts on gradients.")
    _rule = LARS
    _names = ("momentum_buffer", "", "")

    def __init__(
        self, params, lr=1e-1, momentum=0.9, weight_decay=0.0, trust_coefficient=1e-3, eps=1e-8, *, maximize=False, **options
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust_coefficient": trust_coefficient,
                    "eps": eps, "maximize": maximize}
        super().__init__(params, defaults, **options)

    def _fill(self, options: StepOptions, group: dict[str, Any]) -> None:
        options.momentum, options.trust_coefficient = group["momentum"], group["trust_coefficient"]
        options.epsilon = group["eps"]
