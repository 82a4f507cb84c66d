"""`python -m qcodec convert`: PyTorch's files to checkpoints and back. Everything else is the `qcodec` command's."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import sys

from . import QCodecError, __version__
from ._replacing import replacing
from ._writer import Written

MAGIC = b"\x89QCK"


class Refusal(Exception):
    """Something that ends the command, with its exit status."""

    def __init__(self, file: str, message: str, status: int) -> None:
        super().__init__(f"qcodec: {file}: {message}")
        self.status = status


class _Null:
    """Takes a checkpoint and keeps nothing: its size is what is wanted."""

    def write(self, data) -> int:
        return len(data)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m qcodec",
        description="Conversion of PyTorch's files. Everything else is done by the `qcodec` command.",
    )
    parser.add_argument("--version", action="version", version=f"qcodec {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    convert = commands.add_parser(
        "convert",
        help="a PyTorch file (optimizer.pt, .ckpt, DeepSpeed's too) to a checkpoint, or a checkpoint to a PyTorch file",
        description="Which way is told by what the input holds. PyTorch files are read by torch.load(weights_only=True) and "
        "never otherwise: nothing in them is executed. The saving is printed before anything is written.",
        epilog="example: python -m qcodec convert optimizer.pt optimizer.qckpt --policy adam4",
    )
    convert.add_argument("input", help="a file of torch.save, or a checkpoint")
    convert.add_argument("output", nargs="?", help="the file to write; not needed for --dry-run")
    convert.add_argument("--policy", default="adam8", help="a preset, or the path of a policy in JSON (default: adam8)")
    convert.add_argument("--compression", default="lz4", choices=["none", "lz4", "zstd"], help="the lossless stage")
    convert.add_argument(
        "--dequantize", action="store_true",
        help="decode states that bitsandbytes, torchao or lpmm quantized, instead of keeping their codes",
    )
    convert.add_argument("--nonfinite", default="error", choices=["error", "lossless"], help="what to do with NaN and infinities")
    convert.add_argument("--dry-run", action="store_true", help="print what would be saved, and write nothing")
    options = parser.parse_args(arguments)
    if options.output is None and not options.dry_run:
        parser.error("the output is missing")
    try:
        return _convert(options)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return refusal.status
    except QCodecError as error:
        print(f"qcodec: {options.input}: {error}", file=sys.stderr)
        return 4 if 80 <= error.code < 90 else 2 if error.code in (11, 60, 61) else 3
    except OSError as error:
        print(f"qcodec: {error.filename or options.input}: {error.strerror or error}", file=sys.stderr)
        return 4


def _convert(options: argparse.Namespace) -> int:
    with open(options.input, "rb") as file:
        start = file.read(len(MAGIC))
    if options.output is not None and os.path.exists(options.output) and os.path.samefile(options.input, options.output):
        raise Refusal(options.output, "this is the input; choose another output", 2)
    try:
        from . import torch as qcodec_torch
    except ImportError as error:
        raise Refusal(options.input, f"conversion needs PyTorch: pip install torch ({error})", 2) from None
    return (_to_torch if start == MAGIC else _from_torch)(options, qcodec_torch)


def _from_torch(options: argparse.Namespace, qcodec_torch) -> int:
    tree = _load(options.input)
    choices = {
        "policy": options.policy, "compression": options.compression, "dequantize": options.dequantize,
        "nonfinite": options.nonfinite,
    }
    try:
        written = qcodec_torch.save(tree, _Null(), **choices)
        print(_saving(options.input, os.path.getsize(options.input), written, options.dry_run), flush=True)
        if not options.dry_run:
            qcodec_torch.save(tree, options.output, **choices)
            print(f"{options.output}: written")
    except TypeError as error:
        raise Refusal(options.input, str(error), 3) from None
    return 0


def _saving(path: str, size: int, written: Written, dry_run: bool) -> str:
    ratio = size / written.file_bytes
    return (
        f"{path}: {_bytes(size)} {'would become' if dry_run else 'becomes'} {_bytes(written.file_bytes)} "
        f"({ratio:.2f} times smaller), {written.tensors} tensors, {written.elements} elements"
    )


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            break
        count /= 1024
    else:
        unit = "TiB"
    return f"{count:.0f} B" if unit == "B" else f"{count:.2f} {unit}"


def _load(path: str):
    """What torch.load makes of a file without running anything of it."""
    import torch

    for attempt in range(2):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
        except pickle.UnpicklingError as error:
            text = str(error)
            if attempt == 0 and "torchao" in text and _import_torchao():
                # Its classes are allowed once it is there.
                continue
            raise Refusal(path, _complaint(text), 3) from None
        except (RuntimeError, ValueError, EOFError, KeyError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise Refusal(path, f"it is no file of torch.save, or a damaged one ({reason})", 3) from None
    raise AssertionError("unreachable")


def _is_zip(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _import_torchao() -> bool:
    try:
        import torchao.optim  # noqa: F401
    except ImportError:
        return False
    return True


def _complaint(text: str) -> str:
    """What the file asked for, out of torch.load's explanation."""
    wanted = re.findall(r"GLOBAL ([\w.]+)|`?([\w]+(?:\.[\w]+)+)`? was not an allowed", text)
    names = sorted({name for pair in wanted for name in pair if name})
    if names:
        return (
            f"it needs {', '.join(names)}, which is code: torch.load(weights_only=True) does not run it. Save state_dicts of "
            "tensors and plain values, or allow the class yourself (torch.serialization.add_safe_globals) and use "
            "qcodec.torch.save"
        )
    if "torch.load" in text or "Unsupported" in text:
        return "torch.load(weights_only=True) refuses it: " + " ".join(text.split())[:400]
    return f"it is no file of torch.save: {' '.join(text.split())[:200]}"


def _to_torch(options: argparse.Namespace, qcodec_torch) -> int:
    import torch

    tree = qcodec_torch.load(options.input, map_location="cpu", dequantize=options.dequantize)
    size = os.path.getsize(options.input)
    total = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(tree))
    print(f"{options.input}: {_bytes(size)}, tensors of {_bytes(total)} in memory", flush=True)
    if options.dry_run:
        return 0
    with replacing(options.output) as file:
        torch.save(tree, file)
    print(f"{options.output}: written")
    return 0


def _tensors(tree):
    import torch

    from ._matching import leaves

    return [value for _, value in leaves(tree) if isinstance(value, torch.Tensor)]


if __name__ == "__main__":
    sys.exit(main())
