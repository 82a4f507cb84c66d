"""The optimizer state of Hugging Face's Trainer as a compressed file in each checkpoint folder.

    from qcodec.transformers import QCodecTrainerMixin

    class MyTrainer(QCodecTrainerMixin, Trainer):
        qcodec_policy = "adam8"

    trainer.train(resume_from_checkpoint=True)

Model, scheduler.pt, rng_state.pth and the rest stay the Trainer's own.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import torch

from . import torch as _torch
from ._schemes import Policy

__all__ = ["OPTIMIZER_FILE", "QCodecTrainerMixin"]

OPTIMIZER_FILE = "optimizer.qckpt"
"""The optimizer's file in a checkpoint folder."""
# As transformers.trainer has them.
_PLAIN_FILE = "optimizer.pt"
_SCHEDULER_FILE = "scheduler.pt"


class QCodecTrainerMixin:
    """For a Trainer, before it in the list of bases: optimizer.qckpt takes the place of optimizer.pt.

    Resuming takes optimizer.qckpt where a folder has it, and else optimizer.pt by the Trainer's own path; of both, as two
    trainers may leave them in one folder, the one written last. Moments are named after their parameters in the file.
    Under DeepSpeed, FSDP, SageMaker's model parallelism and XLA the Trainer saves and loads by itself, as without the mixin.
    """

    qcodec_policy: Policy | None = None
    """None is "adam8", unless the options have a bound."""
    qcodec_options: Mapping[str, Any] = {}
    """More arguments of `qcodec.torch.save`: compression, threads, nonfinite, metadata, max_update_error and other bounds."""

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Saves both. Raises EncodeError for NaN and infinities, unless `qcodec_options` has nonfinite="lossless"."""
        if not self._qcodec_has_whole_state():
            super()._save_optimizer_and_scheduler(output_dir)
            return
        if not self.args.should_save:
            return
        path = os.path.join(output_dir, OPTIMIZER_FILE)
        _torch.save(self.optimizer, path, self.qcodec_policy, model=self.model, **self.qcodec_options)
        with warnings.catch_warnings():
            # Schedulers warn that the optimizer is to be saved too.
            warnings.simplefilter("ignore", UserWarning)
            torch.save(self.lr_scheduler.state_dict(), os.path.join(output_dir, _SCHEDULER_FILE))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Loads both. Raises FormatError for a damaged file."""
        if checkpoint is None or not self._qcodec_has_whole_state() or not _is_latest(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        scheduler = os.path.join(checkpoint, _SCHEDULER_FILE)
        # As the Trainer has it: one goes not without the other.
        if not os.path.isfile(scheduler):
            return
        # To the host, whence load_state_dict takes each part to its parameter's device.
        self.optimizer.load_state_dict(_torch.load(os.path.join(checkpoint, OPTIMIZER_FILE), map_location="cpu"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.lr_scheduler.load_state_dict(torch.load(scheduler, weights_only=True))

    def _qcodec_has_whole_state(self) -> bool:
        """Whether the optimizer has all of its state in this process, by the plain interface of PyTorch."""
        from transformers.utils import is_sagemaker_mp_enabled, is_torch_xla_available

        is_sharded = self.is_deepspeed_enabled or self.is_fsdp_enabled
        return not (is_sharded or is_sagemaker_mp_enabled() or is_torch_xla_available())


def _is_latest(checkpoint: str) -> bool:
    """Whether optimizer.qckpt is there and no later optimizer.pt."""
    own, plain = (os.path.join(checkpoint, name) for name in (OPTIMIZER_FILE, _PLAIN_FILE))
    if not os.path.isfile(own):
        return False
    return not os.path.isfile(plain) or os.path.getmtime(plain) <= os.path.getmtime(own)
