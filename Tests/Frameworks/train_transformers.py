"""Trains a tiny GPT-2 with Hugging Face's Trainer: python train_transformers.py resume|none steps out.npz options-as-JSON."""

import json
import sys

import numpy as np
import torch
import transformers
from qcodec.transformers import QCodecTrainerMixin


class Trainer(QCodecTrainerMixin, transformers.Trainer):
    """The Trainer under test."""


def main(resume, steps, out, options):
    """Trains up to `steps` of 12 steps, from a folder where one is given, and writes losses and the final state."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.set_seed(7)
    random = np.random.default_rng(1)
    # Each token tells the next.
    starts = random.integers(0, 64, 96)
    data = [{"input_ids": (ids := torch.from_numpy((start + np.arange(16) * 3) % 64)), "labels": ids} for start in starts]
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=64, n_positions=16, n_embd=64, n_layer=2, n_head=2, resid_pdrop=0.1)
    )
    arguments = transformers.TrainingArguments(
        output_dir=options.get("folder", "run"), max_steps=12, per_device_train_batch_size=8, save_steps=6, logging_steps=1,
        learning_rate=1e-2, adam_beta2=0.99, warmup_steps=3, lr_scheduler_type="cosine", report_to=[], disable_tqdm=True,
        use_cpu=True, seed=7,
    )

    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_training_stop = state.global_step >= steps

    kind = transformers.Trainer if options.get("plain") else Trainer
    trainer = kind(model=model, args=arguments, train_dataset=data, callbacks=[Stop()])
    trainer.qcodec_policy = options.get("policy", "adam8")
    trainer.train(resume_from_checkpoint=resume)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    result = {f"model/{name}": value.numpy() for name, value in model.state_dict().items()}
    for index, moments in trainer.optimizer.state_dict()["state"].items():
        result |= {f"optimizer/{index}/{key}": np.asarray(value) for key, value in moments.items()}
    np.savez(out, losses=losses, lr=trainer.lr_scheduler.get_last_lr(), **result)
    return trainer


if __name__ == "__main__":
    resume, steps, out, options = sys.argv[1:]
    main(None if resume == "none" else resume, int(steps), out, json.loads(options))
