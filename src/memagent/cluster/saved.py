"""Make each checkpoint of verl one that `--model checkpoint:DIR` can use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from verl.trainer.ppo.checkpoint_callback import CheckpointCallback

from memagent.models.reader_defaults import FILE


class Saved(CheckpointCallback):
    """Links OUT/checkpoints/rl-000050 to the Hugging Face folder that verl has saved, with the prompts and budget."""

    def on_save(
        self, trainer: Any, global_step: int, checkpoint_dir: str, async_save: bool = False, **more: Any
    ) -> None:
        folder, model = Path(self.config.memagent.folder), Path(checkpoint_dir) / "actor" / "huggingface"
        shutil.copy(folder / FILE, model / FILE)
        link = folder / "checkpoints" / f"rl-{global_step:06d}"
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(model.absolute(), target_is_directory=True)
