"""The ways of storing an optimizer state that resume_demo.py compares, each as its own documentation calls it."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import peers
import torch
import torch.distributed.checkpoint as dcp
from bitsandbytes import functional
from safetensors import safe_open
from safetensors.torch import save_file

LEAST = 4096  # elements from which bitsandbytes' optimizers quantize (min_8bit_size)
BLOCK = 256  # elements that share a scale in them
MAPS = {"exp_avg": functional.create_dynamic_map(), "exp_avg_sq": functional.create_dynamic_map(signed=False)}
MOMENTS = tuple(MAPS)


@dataclass(frozen=True)
class Way:
    """How a state is written and read back."""

    name: str
    save: Callable[[dict, pathlib.Path], object]
    load: Callable[[pathlib.Path], dict]
    exact: bool = False  # what is read is to be what was written, bit for bit
    trained: bool = True  # else it is stored and timed alone, for an exact way has the curve of exact resume
    syncs: bool = False  # its writer brings its files to stable storage itself

    def files(self, path: pathlib.Path) -> list[pathlib.Path]:
        return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]

    def write(self, state: dict, path: pathlib.Path) -> None:
        self.save(state, path)
        if not self.syncs:
            for file in self.files(path):
                peers.sync(file)

    def read(self, path: pathlib.Path) -> dict:
        """The state in memory: loaders that map the file have its pages touched."""
        state = self.load(path)
        peers.touch([x.numpy() for x in tensors(state).values()])
        return state


def tensors(state: dict) -> dict[str, torch.Tensor]:
    """Those of a state, by "number.name"."""
    return {f"{number}.{name}": value for number, entry in state["state"].items()
            for name, value in entry.items() if isinstance(value, torch.Tensor)}


def nested(flat: dict[str, torch.Tensor], groups: list[dict]) -> dict:
    """The inverse of tensors()."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in flat.items():
        number, name = key.split(".")
        state.setdefault(int(number), {})[name] = value
    return {"state": dict(sorted(state.items())), "param_groups": groups}


def mapped(state: dict, change: Callable[[str, torch.Tensor], object]) -> dict:
    """A state whose moments are changed."""
    return {
        "state": {number: {name: change(name, value) if name in MOMENTS else value for name, value in entry.items()}
                  for number, entry in state["state"].items()},
        "param_groups": state["param_groups"]}


def torch_load(path: pathlib.Path) -> dict:
    return torch.load(path, weights_only=True)


def safetensors_save(state: dict, path: pathlib.Path) -> None:
    save_file(tensors(state), path, metadata={"param_groups": json.dumps(state["param_groups"])})


def safetensors_load(path: pathlib.Path) -> dict:
    with safe_open(path, "pt") as file:
        groups = json.loads(file.metadata()["param_groups"])
        return nested({key: file.get_tensor(key) for key in file.keys()}, groups)


def distributed_save(state: dict, path: pathlib.Path) -> None:
    # In sharded checkpoints param_groups stand as what it pickles; here as text, which it stores in the same way.
    flat = tensors(state) | {"param_groups": json.dumps(state["param_groups"])}
    dcp.save(flat, storage_writer=dcp.FileSystemWriter(path), no_dist=True)


def distributed_load(path: pathlib.Path) -> dict:
    reader = dcp.FileSystemReader(path)
    fresh: dict = {
        key: torch.empty(entry.size, dtype=entry.properties.dtype) if hasattr(entry, "size") else ""
        for key, entry in reader.read_metadata().state_dict_metadata.items()}
    dcp.load(fresh, storage_reader=reader, no_dist=True)
    groups = json.loads(fresh.pop("param_groups"))
    return nested(fresh, groups)


def bitsandbytes_save(state: dict, path: pathlib.Path) -> None:
    def coded(name: str, x: torch.Tensor) -> object:
        if x.numel() < LEAST:
            return x
        codes, scales = functional.quantize_blockwise(x, MAPS[name], blocksize=BLOCK)
        return {"codes": codes, "absmax": scales.absmax}

    torch.save(mapped(state, coded), path)


def bitsandbytes_load(path: pathlib.Path) -> dict:
    def decoded(name: str, x: object) -> torch.Tensor:
        if isinstance(x, torch.Tensor):
            return x
        return functional.dequantize_blockwise(x["codes"], absmax=x["absmax"], code=MAPS[name], blocksize=BLOCK)

    return mapped(torch_load(path), decoded)


def bf16_save(state: dict, path: pathlib.Path) -> None:
    torch.save(mapped(state, lambda name, x: x.bfloat16()), path)


def bf16_load(path: pathlib.Path) -> dict:
    return mapped(torch_load(path), lambda name, x: x.float())


def one_bit_off(state: dict, seed: int) -> dict:
    """A state whose moments are each the next float32, above or below: as if a machine had rounded otherwise."""
    generator = torch.Generator().manual_seed(seed)

    def moved(name: str, x: torch.Tensor) -> torch.Tensor:
        up = torch.randint(2, x.shape, generator=generator, dtype=torch.bool)
        # What is zero stays: its neighbours are no rounding of anything.
        return torch.where(x == 0, x, torch.nextafter(x, torch.where(up, torch.inf, 0.0) * x.sign()))

    return mapped(state, moved)


def peer_ways() -> list[Way]:
    return [
        Way("torch.save", torch.save, torch_load, exact=True),
        Way("safetensors", safetensors_save, safetensors_load, exact=True, trained=False),
        Way("torch.distributed.checkpoint", distributed_save, distributed_load, exact=True, trained=False, syncs=True),
        Way("bf16 moments, torch.save", bf16_save, bf16_load),
        Way("bitsandbytes 8-bit, torch.save", bitsandbytes_save, bitsandbytes_load),
    ]


def qcodec_ways() -> list[Way]:
    import qcodec.torch as qt

    return [
        Way(f"qcodec {policy}", lambda state, path, policy=policy: qt.save(state, path, policy=policy), qt.load)
        for policy in ("adam8", "adam4", "paper8")]


def remove(path: pathlib.Path) -> None:
    """Before a way is measured: overwriting is another thing than writing."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
