"""A callback of Hugging Face's `Trainer` that keeps the initial weights of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from unregress.trainers.start_weights import keep_start


class KeepStart(TrainerCallback):
    """Write the initial weights when `Trainer.train` begins, see `unregress.keep_start`.

    A training that continues from a checkpoint writes nothing: its initial weights are not those of the checkpoint.

    Args:
        path: file to write.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **more: Any,
    ) -> None:
        """Write the file, in the main process."""
        if model is not None and state.is_world_process_zero and state.global_step == 0:
            keep_start(model, self.path)
