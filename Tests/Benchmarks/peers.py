"""The codecs and checkpoint formats that compare.py sets beside qcodec, each as its own documentation calls it.

Results are made into memory that was there before wherever a peer lets its caller bring some. A peer whose package is
missing raises ImportError.
"""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

PAGE = 4096


@dataclass
class Measurement:
    """One operation of one peer, and the seconds that its runs took."""

    name: str
    operation: str  # copy, read, encode, decode, save or load
    bytes: int  # of float32
    run: Callable[[], object]
    size: Callable[[], int] | None = None  # bytes of what was encoded or saved
    seconds: list[float] = field(default_factory=list)


def numpy_memory(m: np.ndarray, v: np.ndarray) -> Iterator[Measurement]:
    """What one thread of NumPy does without a codec."""
    target, words = np.zeros_like(m), m.view(np.uint64)
    yield Measurement("numpy copyto", "copy", m.nbytes, lambda: np.copyto(target, m))
    yield Measurement("numpy sum of words", "read", m.nbytes, lambda: words.sum())


def bitsandbytes_codecs(m: np.ndarray, v: np.ndarray) -> Iterator[Measurement]:
    """Its CPU path: the dynamic map at 8 bits, and nf4."""
    import torch
    from bitsandbytes import functional

    x = torch.from_numpy(m)
    # Its CPU path takes memory for the codes alone.
    table, codes = functional.create_dynamic_map(), torch.zeros_like(x, dtype=torch.uint8)
    absmax = torch.zeros(x.numel() // 256)
    kept: dict[str, tuple] = {}

    def encode() -> None:
        kept["8"] = functional.quantize_blockwise(x, table, absmax=absmax, out=codes, blocksize=256)

    def encode_nf4() -> None:
        kept["4"] = functional.quantize_4bit(x, blocksize=128, quant_type="nf4")

    encode()
    encode_nf4()
    name = "bitsandbytes dynamic 8-bit, block 256"
    yield Measurement(name, "encode", m.nbytes, encode, lambda: codes.numel() + 4 * absmax.numel())
    yield Measurement(name, "decode", m.nbytes, lambda: functional.dequantize_blockwise(*kept["8"]))
    name = "bitsandbytes nf4, block 128"
    yield Measurement(name, "encode", m.nbytes, encode_nf4, lambda: m.size // 2 + 4 * kept["4"][1].absmax.numel())
    yield Measurement(name, "decode", m.nbytes, lambda: functional.dequantize_4bit(*kept["4"]))


def torchao_codecs(m: np.ndarray, v: np.ndarray) -> Iterator[Measurement]:
    """What its optimizers do to their states, packing included, eager and compiled."""
    import torch
    from torchao.optim import quant_utils, subclass_4bit, subclass_8bit

    x = torch.from_numpy(m).flatten()
    for bits, block, maps, quantize in (
        (8, 256, subclass_8bit, quant_utils.quantize_8bit_with_qmap),
        (4, 128, subclass_4bit, quant_utils.quantize_4bit_with_qmap),
    ):
        table = torch.tensor(maps.get_qmap_signed())

        def encode(bits=bits, quantize=quantize, table=table, block=block) -> tuple:
            scaled, scale = quant_utils.scale_tensor(x, block)
            codes = quantize(scaled, table)
            return (codes if bits == 8 else codes[::2] << 4 | codes[1::2]), scale

        def decode(codes, scale, bits=bits, table=table):
            codes = codes if bits == 8 else torch.stack([codes >> 4, codes & 15], dim=-1)
            return quant_utils.dequant_with_qmap(codes, table, scale)

        for mode, make in (("eager", lambda function: function), ("compiled", torch.compile)):
            encoder, decoder, coded = make(encode), make(decode), encode()
            name = f"torchao {bits}-bit, block {block}, {mode}"
            yield Measurement(
                name, "encode", m.nbytes, encoder, lambda coded=coded: sum(t.numel() * t.element_size() for t in coded))
            yield Measurement(name, "decode", m.nbytes, lambda decoder=decoder, coded=coded: decoder(*coded))


def ggml_codecs(m: np.ndarray, v: np.ndarray) -> Iterator[Measurement]:
    """q8_0 and q4_0 as the package gguf has them: in NumPy, not ggml's own C."""
    from gguf import GGMLQuantizationType, quants

    for kind in (GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0):
        coded, name = quants.quantize(m, kind), f"ggml {kind.name.lower()} in NumPy"
        yield Measurement(
            name, "encode", m.nbytes, lambda kind=kind: quants.quantize(m, kind), lambda coded=coded: coded.nbytes)
        yield Measurement(name, "decode", m.nbytes, lambda kind=kind, coded=coded: quants.dequantize(coded, kind))


def tolerance(m: np.ndarray) -> float:
    """What codecs of bounded absolute error are asked for: 1/100 of the root mean square."""
    return float(np.sqrt(np.mean(np.square(m, dtype=np.float64)))) / 100


def zfp_codec(m: np.ndarray, v: np.ndarray) -> Iterator[Measurement]:
    """zfp with a fixed accuracy, and at the size of 8-bit codes; its Python binding has one thread."""
    import zfpy

    for name, mode in (("zfp, fixed accuracy", {"tolerance": tolerance(m)}), ("zfp, 8 bits a value", {"rate": 8})):
        coded = zfpy.compress_numpy(m, **mode)
        yield Measurement(
            name, "encode", m.nbytes, lambda mode=mode: zfpy.compress_numpy(m, **mode), lambda coded=coded: len(coded))
        yield Measurement(name, "decode", m.nbytes, lambda coded=coded: zfpy.decompress_numpy(coded))


def sz3_codec(m: np.ndarray, v: np.ndarray) -> Iterator[Measurement]:
    """SZ3 with the same absolute bound."""
    from pysz import sz, szConfig, szErrorBoundMode

    config = szConfig()
    config.errorBoundMode, config.absErrorBound = szErrorBoundMode.ABS, tolerance(m)
    coded = sz.compress(m, config)[0]
    yield Measurement("SZ3", "encode", m.nbytes, lambda: sz.compress(m, config), lambda: len(coded))
    yield Measurement("SZ3", "decode", m.nbytes, lambda: sz.decompress(coded, np.float32, m.shape))


CODECS: dict[str, Callable[[np.ndarray, np.ndarray], Iterator[Measurement]]] = {
    "numpy": numpy_memory, "bitsandbytes": bitsandbytes_codecs, "torchao": torchao_codecs, "gguf": ggml_codecs,
    "zfpy": zfp_codec, "pysz": sz3_codec,
}


def sync(path: pathlib.Path) -> None:
    """What a peer does not do by itself: its file to stable storage."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def touch(arrays: list[np.ndarray]) -> int:
    """Reads every page, for some loaders map them lazily."""
    return sum(int(array.reshape(-1).view(np.uint8)[::PAGE].sum(dtype=np.int64)) for array in arrays)


def torch_checkpoint(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Iterator[Measurement]:
    """torch.save and torch.load."""
    import torch

    path, tensors = folder / "state.pt", {name: torch.from_numpy(array) for name, array in arrays.items()}
    size = sum(array.nbytes for array in arrays.values())

    def save() -> None:
        torch.save(tensors, path)
        sync(path)

    def load() -> None:
        touch([tensor.numpy() for tensor in torch.load(path, weights_only=True).values()])

    yield Measurement("torch.save, torch.load", "save", size, save, lambda: path.stat().st_size)
    yield Measurement("torch.save, torch.load", "load", size, load)


def safetensors_checkpoint(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Iterator[Measurement]:
    """save_file and load_file of safetensors.numpy, which copies what it loads."""
    from safetensors.numpy import load_file, save_file

    path, size = folder / "state.safetensors", sum(array.nbytes for array in arrays.values())

    def save() -> None:
        save_file(arrays, path)
        sync(path)

    yield Measurement("safetensors.numpy", "save", size, save, lambda: path.stat().st_size)
    yield Measurement("safetensors.numpy", "load", size, lambda: touch(list(load_file(path).values())))


def safetensors_torch_checkpoint(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Iterator[Measurement]:
    """save_file and load_file of safetensors.torch; what it loads is a map of the file until it is touched."""
    import torch
    from safetensors.torch import load_file, save_file

    path, tensors = folder / "torch.safetensors", {name: torch.from_numpy(array) for name, array in arrays.items()}
    size = sum(array.nbytes for array in arrays.values())

    def save() -> None:
        save_file(tensors, path)
        sync(path)

    def load() -> None:
        touch([tensor.numpy() for tensor in load_file(path).values()])

    yield Measurement("safetensors.torch", "save", size, save, lambda: path.stat().st_size)
    yield Measurement("safetensors.torch", "load", size, load)


def distributed_checkpoint(arrays: dict[str, np.ndarray], folder: pathlib.Path) -> Iterator[Measurement]:
    """torch.distributed.checkpoint without a process group; its writer syncs by itself."""
    import torch
    import torch.distributed.checkpoint as dcp

    path, tensors = folder / "state.dcp", {name: torch.from_numpy(array) for name, array in arrays.items()}
    size = sum(array.nbytes for array in arrays.values())

    def save() -> None:
        dcp.save(tensors, storage_writer=dcp.FileSystemWriter(path, overwrite=True), no_dist=True)

    def load() -> None:
        fresh = {name: torch.empty(tensor.shape) for name, tensor in tensors.items()}
        dcp.load(fresh, storage_reader=dcp.FileSystemReader(path), no_dist=True)
        touch([tensor.numpy() for tensor in fresh.values()])

    shutil.rmtree(path, ignore_errors=True)
    yield Measurement(
        "torch.distributed.checkpoint", "save", size, save,
        lambda: sum(file.stat().st_size for file in path.iterdir()))
    yield Measurement("torch.distributed.checkpoint", "load", size, load)


CHECKPOINTS: dict[str, Callable[[dict[str, np.ndarray], pathlib.Path], Iterator[Measurement]]] = {
    "torch": torch_checkpoint, "safetensors": safetensors_checkpoint, "safetensors.torch": safetensors_torch_checkpoint,
    "torch.distributed": distributed_checkpoint,
}
# Of both, what needs torch, which is large.
TORCH = {"bitsandbytes", "torchao", "torch", "safetensors.torch", "torch.distributed"}
