"""A Lightning callback that keeps the initial weights of a training."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from unregress.trainers.start_weights import keep_start


class KeepStart(Callback):
    """Write the initial weights when `Trainer.fit` begins, see `unregress.keep_start`.

    A training that continues from a checkpoint writes nothing: its initial weights are not those of the checkpoint.

    Args:
        path: file to write.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file, in the main process."""
        if trainer.is_global_zero and trainer.ckpt_path is None:
            keep_start(pl_module, self.path)
