"""Trains a tiny model with Lightning: python train_lightning.py package checkpoint|none epochs out.npz options-as-JSON."""

import collections
import importlib
import json
import pathlib
import sys

import numpy as np
import torch


def main(package, resume, epochs, out, options):
    pl = importlib.import_module(package)
    from qcodec.lightning import QCodecCheckpointIO

    callbacks = importlib.import_module(f"{package}.callbacks")
    torch.set_num_threads(1)
    torch.manual_seed(3)

    class Model(pl.LightningModule):
        def __init__(self, width=64, betas=(0.9, 0.99), data=None):
            super().__init__()
            self.save_hyperparameters()
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(width, 2 * width, bias=False), torch.nn.BatchNorm1d(2 * width), torch.nn.Tanh(),
                torch.nn.Linear(2 * width, 1),
            )
            self.losses = []

        def training_step(self, batch, _):
            loss = (self.layers(batch[0]) - batch[1]).pow(2).mean()
            self.losses.append(loss.item())
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.named_parameters(), 3e-3, self.hparams.betas)
            # Its state has a Counter.
            return [optimizer], [torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 4], 0.5)]

        def on_save_checkpoint(self, checkpoint):
            checkpoint["own"] = {"seen": {1, 2}, "folder": pathlib.Path("a/b"), "order": collections.OrderedDict(a=(1, 2.5))}

        def on_load_checkpoint(self, checkpoint):
            assert checkpoint["own"]["seen"] == {1, 2} and checkpoint["own"]["folder"] == pathlib.Path("a/b")
            assert type(checkpoint["own"]["order"]) is collections.OrderedDict
            assert type(checkpoint["hyper_parameters"]["betas"]) is tuple
            # Lightning's AsyncCheckpointIO, which copies everything, loses it.
            assert options.get("copied") or checkpoint["state_dict"]._metadata["layers.1"] == {"version": 2}

    class Data(pl.LightningDataModule):
        served = 0

        def train_dataloader(self):
            self.served += 1
            random = torch.Generator().manual_seed(5)
            inputs = torch.randn(256, 64, generator=random)
            return torch.utils.data.DataLoader(
                torch.utils.data.TensorDataset(inputs, inputs[:, :8].sum(1, keepdim=True).sin()), batch_size=32
            )

        def state_dict(self):
            return {"served": self.served}

        def load_state_dict(self, state):
            self.served = state["served"]

    plugin = QCodecCheckpointIO(**{key: value for key, value in options.items() if key not in ("async", "folder", "plain", "copied")})
    if options.get("async"):
        plugin = importlib.import_module(f"{package}.plugins.io").AsyncCheckpointIO(plugin)
    folder = options.get("folder", "checkpoints")
    saver = callbacks.ModelCheckpoint(
        dirpath=folder, filename="{epoch}", monitor="loss", save_top_k=-1, save_last=True, every_n_epochs=1
    )
    stopper = callbacks.EarlyStopping("loss", patience=50)
    model, data = Model(data={"name": "sine"}), Data()
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[saver, stopper], plugins=[] if options.get("plain") else [plugin],
        default_root_dir=".", num_sanity_val_steps=0,
    )
    trainer.fit(model, data, ckpt_path=resume)
    # What the datamodule restored, and this process's own.
    assert data.served == (1 if resume is None else 2)
    result = {f"model/{name}": value.numpy() for name, value in model.state_dict().items()}
    for index, moments in trainer.optimizers[0].state_dict()["state"].items():
        result |= {f"optimizer/{index}/{key}": np.asarray(value) for key, value in moments.items()}
    result["best_score"] = stopper.best_score.numpy()
    result["lr"] = np.array(trainer.optimizers[0].param_groups[0]["lr"])
    np.savez(out, losses=model.losses, **result)
    return trainer, model, Model


if __name__ == "__main__":
    package, resume, epochs, out, options = sys.argv[1:]
    main(package, None if resume == "none" else resume, int(epochs), out, json.loads(options))
