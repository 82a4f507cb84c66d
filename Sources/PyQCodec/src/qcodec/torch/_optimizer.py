"""What the optimizers of qcodec.torch.optim share: where moments lie, and the step."""

from __future__ import annotations

import copy
import ctypes as c
import functools
import json
import math
from collections.abc import Iterable
from typing import Any

import torch

from .._library import Handle, OptimizerTensor, StepOptions, lib, shape_argument
from .._schemes import Scheme
from ._streams import buffer, decoded, handle

_DTYPES = {torch.float32: 1, torch.float16: 3, torch.bfloat16: 4}
ADAM, SGD, LION, ADAGRAD, RMSPROP, LAMB, LARS = range(7)
_MARK = "_qcodec_bits"


@functools.cache
def _policy(bits: int, min_size: int) -> Any:
    """The policy of moments of so many bits, for as long as the process lives."""
    document = json.dumps({"extends": f"live{bits}", "min_elements": min_size}).encode()
    return lib.handle(lib.policy_parse, document, len(document))


def _policy_schemes(policy: Any, options: StepOptions, tensor: OptimizerTensor) -> tuple[str | None, str | None]:
    """The schemes, as documents, that a policy has for a tensor's moments; None is float32."""
    handles = Handle(), Handle()
    lib.policy_moment_schemes(policy, options, tensor, c.byref(handles[0]), c.byref(handles[1]))
    try:
        first, second = (lib.text(lib.scheme_text, made) if made else None for made in handles)
        return first, second
    finally:
        for made in handles:
            lib.scheme_free(made)


def keep_32bit(*modules: torch.nn.Module) -> None:
    """Has every parameter of these modules keep 32-bit state, in any optimizer made afterwards or before."""
    for module in modules:
        for parameter in module.parameters():
            setattr(parameter, _MARK, 32)


_FACTORS = "_factors"


def _product(factors: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """A second moment from its factors: those of rows, then those of columns."""
    cuts = [(math.prod(shape[:cut]), math.prod(shape[cut:])) for cut in range(1, len(shape))]
    rows, columns = factors.split(min(cuts, key=sum))
    mean = rows.mean(dtype=torch.float64).float()
    return (torch.outer(rows, columns / mean) if mean > 0 else rows.new_zeros(len(rows), len(columns))).view(shape)


class _Held:
    """A value that load_state_dict of PyTorch passes on as it is: it would turn streams into floats, text into nothing."""

    def __init__(self, value: Any) -> None:
        self.value = value


class CodedOptimizer(torch.optim.Optimizer):
    """What the optimizers share: where moments lie, and the step."""

    _rule: int
    # State names of first, second and greatest second moment.
    _names: tuple[str, str, str] = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _bits = 8

    def __init__(
        self, params: Iterable, defaults: dict[str, Any], *, min_size: int = 4096, bits: int | None = None,
        schemes: tuple[Scheme | None, Scheme | None] | None = None, max_grad_norm: float | None = None,
        percentile_clipping: int = 100, factored: bool = False, check: bool = True, threads: int = 0,
    ) -> None:
        bits = self._bits if bits is None else bits
        if bits not in (4, 8, 32):
            raise ValueError(f"bits are 4, 8 or 32, not {bits}")
        if not 1 <= percentile_clipping <= 100:
            raise ValueError(f"a percentile is 1 to 100, not {percentile_clipping}")
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise ValueError(f"a greatest norm of {max_grad_norm}")
        if factored and (self._rule != ADAM or defaults["amsgrad"]):
            raise ValueError("second moments are factored under Adam without AMSGrad")
        self.threads = threads
        self.max_grad_norm = max_grad_norm
        self.check = check
        super().__init__(
            params, {
                **defaults, "bits": bits, "min_size": min_size, "percentile_clipping": percentile_clipping,
                "factored": factored,
                "schemes": schemes and tuple(scheme and json.dumps(scheme.document()) for scheme in schemes),
            })
        # First of all hooks: others see the state as it is.
        self.register_load_state_dict_post_hook(_unwrap)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("threads", 0)
        self.__dict__.setdefault("max_grad_norm", None)
        self.__dict__.setdefault("check", True)
        # Neither settings of its own nor hooks are part of what PyTorch pickles.
        self.register_load_state_dict_post_hook(_unwrap)

    # MARK: State

    def _schemes(
        self, parameter: torch.Tensor, group: dict[str, Any], tensor: OptimizerTensor, options: StepOptions
    ) -> tuple[str | None, str | None]:
        """The schemes of both moments; None is float32."""
        if group["bits"] == 32 or getattr(parameter, _MARK, None) == 32:
            return None, None
        found = _policy_schemes(_policy(group["bits"], group["min_size"]), options, tensor)
        return group["schemes"] or found if any(found) else (None, None)

    def _initialize(
        self, parameter: torch.Tensor, group: dict[str, Any], name: str | None, options: StepOptions
    ) -> dict[str, Any]:
        """The state of a parameter that has taken no step."""
        state = self.state[parameter]
        state["step"] = torch.tensor(0.0, dtype=torch.float32)
        tensor = OptimizerTensor()
        shape = shape_argument(parameter.shape)
        tensor.name = None if name is None else name.encode()
        tensor.shape, tensor.dims = shape, len(parameter.shape)
        schemes = self._schemes(parameter, group, tensor, options)
        # What keeps 32-bit state keeps all of it, and vectors have nothing to factor.
        if group["factored"] and schemes[0] is not None and sum(length > 1 for length in parameter.shape) > 1:
            tensor.second_is_factored = 1
            schemes = schemes[0], None
        tensor.first_scheme, tensor.second_scheme = map(handle, schemes)
        sizes = (c.c_size_t * 3)()
        lib.moment_sizes(options, tensor, sizes)
        for place, size, key in zip(("first", "second", "greatest"), sizes, self._names):
            if tensor.second_is_factored and place == "second":
                state[key + _FACTORS] = factors = torch.zeros(size // 4)
                tensor.second, tensor.second_size = buffer(factors)
                continue
            if not size and not self._has(place, options):
                continue
            moment = torch.empty(size, dtype=torch.uint8)
            setattr(tensor, place, moment.data_ptr() or None)
            setattr(tensor, f"{place}_size", size)
            # float32 state has the parameter's shape, as PyTorch's has.
            is_float = schemes[place != "first"] is None
            state[key] = moment.view(torch.float32).view(parameter.shape) if is_float else moment
            if not is_float:
                state.setdefault("schemes", {})[key] = schemes[place != "first"]
                state["shape"] = parameter.shape
        lib.moments_clear(options, tensor)
        return state

    def _has(self, place: str, options: StepOptions) -> bool:
        if place == "first":
            return self._rule in (ADAM, LION, LAMB) or bool(options.momentum and self._rule != ADAGRAD)
        if place == "second":
            return self._rule in (ADAM, ADAGRAD, RMSPROP, LAMB)
        return bool(options.is_amsgrad)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As PyTorch's; streams stay what they are whatever the parameters' type is."""
        states = {
            key: {name: value if name == "step" else _Held(value) for name, value in state.items()}
            if isinstance(state, dict) else state
            for key, state in state_dict["state"].items()
        }
        super().load_state_dict({**state_dict, "state": states})

    def decoded_state(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        """The moments of a parameter as float32, for a look at them or for another optimizer."""
        state = self.state[parameter]
        result = {key: state[key].clone() for key in self._names if key in state}
        result |= decoded(state, parameter.shape, self.threads)
        if (key := self._names[1]) + _FACTORS in state:
            result[key] = _product(state[key + _FACTORS], parameter.shape)
        return result

    # MARK: The step

    def _options(self, group: dict[str, Any]) -> StepOptions:
        options = StepOptions()
        lib.step_options_init(options, self._rule)
        options.learning_rate = float(group["lr"])
        options.weight_decay = group["weight_decay"]
        options.is_maximizing = bool(group.get("maximize", False))
        self._fill(options, group)
        return options

    def _fill(self, options: StepOptions, group: dict[str, Any]) -> None:
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Takes a step; returns what `closure` returns, which is called first where it is given.

        Raises before anything moves, in any group, where a gradient is not finite; with `check=False`, which saves reading
        gradients twice, as soon as one is met.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = [(group, *self._tensors(group)) for group in self.param_groups]
        # All of it is looked over before the first call moves anything.
        for _, options, entries in groups:
            if self.check:
                self._call(lib.optimizer_check, options, entries)
            options.is_checked = True
        for group, _, entries in groups:
            for entry in entries:
                entry.clip(group["percentile_clipping"], self.threads)
        factor = self._clipping([entry for *_, entries in groups for entry in entries])
        for _, options, entries in groups:
            by_step: dict[tuple[int, float], list[_Entry]] = {}
            for entry in entries:
                by_step.setdefault((entry.number, entry.factor * factor), []).append(entry)
            for (number, gradient_factor), own in by_step.items():
                options.step, options.gradient_factor = number, gradient_factor
                self._call(lib.optimizer_step, options, own)
                for entry in own:
                    entry.finish()
        return loss

    def _call(self, function: Any, options: StepOptions, entries: list[_Entry]) -> None:
        tensors = (OptimizerTensor * len(entries))(*(entry.tensor for entry in entries))
        function(options, tensors, len(entries), self.threads)

    def _tensors(self, group: dict[str, Any]) -> tuple[StepOptions, list[_Entry]]:
        options = self._options(group)
        names = group.get("param_names") or [None] * len(group["params"])
        entries = []
        for parameter, name in zip(group["params"], names):
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                if parameter.grad.is_sparse:
                    raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")
                if parameter.dtype not in _DTYPES or parameter.grad.dtype not in _DTYPES:
                    raise TypeError(f"parameters of {parameter.dtype} with gradients of {parameter.grad.dtype}")
                state = self._initialize(parameter, group, name, options)
            entries.append(_Entry(parameter, name, state, self._names))
        return options, entries

    def _clipping(self, entries: list[_Entry]) -> float:
        """What all gradients are multiplied by so that they are no longer than the greatest norm."""
        if self.max_grad_norm is None:
            return 1.0
        norm = sum(entry.squared_norm(self.threads) for entry in entries) ** 0.5
        return min(1.0, self.max_grad_norm / (norm + 1e-6))


class _Entry:
    """A parameter that takes a step, as the library has it."""

    def __init__(
        self, parameter: torch.Tensor, name: str | None, state: dict[str, Any], names: tuple[str, str, str]
    ) -> None:
        self.parameter, self.state = parameter, state
        self.factor = 1.0
        self.number = int(state["step"]) + 1
        self.host = parameter.detach().cpu().contiguous()
        self.gradient = parameter.grad.detach().cpu().contiguous()
        self.shape = shape_argument(parameter.shape)
        tensor = self.tensor = OptimizerTensor()
        tensor.name = None if name is None else name.encode()
        tensor.shape, tensor.dims = self.shape, len(parameter.shape)
        tensor.parameter_dtype, tensor.gradient_dtype = _DTYPES[self.host.dtype], _DTYPES[self.gradient.dtype]
        tensor.parameters, tensor.gradients = buffer(self.host)[0], buffer(self.gradient)[0]
        documents = state.get("schemes", {})
        tensor.first_scheme, tensor.second_scheme = (handle(documents.get(key)) for key in names[:2])
        for place, key in zip(("first", "second", "greatest"), names):
            if place == "second" and key + _FACTORS in state:
                tensor.second_is_factored, key = 1, key + _FACTORS
            if key in state:
                moment = state[key]
                if moment.device.type != "cpu" or not moment.is_contiguous():
                    moment = state[key] = moment.cpu().contiguous()
                pointer, size = buffer(moment)
                setattr(tensor, place, pointer)
                setattr(tensor, f"{place}_size", size)

    def squared_norm(self, threads: int) -> float:
        squared = c.c_double()
        lib.squared_norm(self.tensor.gradient_dtype, *buffer(self.gradient), threads, squared)
        return squared.value * self.factor**2

    def clip(self, percentile: int, threads: int) -> None:
        """Percentile clipping of the 8-bit paper: a gradient longer than that percentile of the last hundred is shortened
        to it."""
        if percentile == 100:
            return
        norms = self.state.setdefault("gnorms", torch.zeros(100, dtype=torch.float64))
        squared = self.squared_norm(threads)
        norms[(self.number - 1) % 100] = squared
        seen = norms[: min(self.number, 100)]
        limit = float(torch.sort(seen).values[min(len(seen) - 1, percentile * len(seen) // 100)])
        if squared > limit:
            self.factor = (limit / squared) ** 0.5

    def finish(self) -> None:
        if self.host.data_ptr() != self.parameter.data_ptr():
            self.parameter.copy_(self.host)
        self.state["step"] += 1


def _unwrap(optimizer: CodedOptimizer) -> None:
    for state in optimizer.state.values():
        for key, value in state.items():
            if isinstance(value, _Held):
                # Copied, as PyTorch copies what it casts: a state_dict is not shared between optimizers.
                is_tensor = isinstance(value.value, torch.Tensor)
                state[key] = value.value.detach().cpu().clone() if is_tensor else copy.copy(value.value)
