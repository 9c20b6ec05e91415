"""Checkpoints that are written while the devices compute the next steps."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from electra_zh.training.checkpoints import CheckpointStore


class BackgroundStore(CheckpointStore):
    """A store that saves in a thread, from copies, one checkpoint at a time."""

    def __init__(self, folder: str, *, keep: int, writes: bool = True) -> None:
        super().__init__(folder, keep=keep, writes=writes)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._pending: Future[str] | None = None

    def save(
        self,
        step: int,
        *,
        model: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        state: Mapping[str, Any],
    ) -> str:
        """Begins to save; an error is raised by the next `save` or `wait`."""
        self.wait()
        if self.writes:
            copies = [
                {name: np.array(value) for name, value in each.items()}
                for each in (model, optimizer)
            ]
            self._pending = self._writer.submit(
                super().save, step, model=copies[0], optimizer=copies[1], state=state
            )
        return self.path(step)

    def wait(self) -> None:
        """Waits until the last checkpoint is complete."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
