"""Several processes that train together, on one machine or many; one for each is started.

Each drives its own devices and reads its own rows of each batch. They save checkpoints and stop
at the same step. Only the first writes; all read the run's folder, which they share.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from absl import logging

from electra_zh import locks
from electra_zh.errors import UsageError, UserError

# Seconds without a sign of a process after which the others end.
_HEARTBEAT = 60
_STEPS_PER_CALL = 32


class Group(NamedTuple):
    """The processes that train together, by the flags of one of them."""

    coordinator: str | None = None  # HOST:PORT of the first process
    size: int | None = None
    number: int | None = None

    @property
    def is_given(self) -> bool:
        """True if there are several, by the flags or by a cluster's environment."""
        return self.coordinator is not None or _is_in_cluster(os.environ)

    def check(self) -> None:
        """Checks that the flags are complete.

        Raises:
          UsageError: one of them is missing, or the number of the process is too high.
        """
        given = [value is not None for value in self]
        if any(given) and not all(given):
            raise UsageError(
                "--coordinator HOST:PORT, --num-processes N and --process-id I belong together: "
                "give all three, or none under Slurm and on TPU pods"
            )
        if self.size is not None and self.number is not None and self.number >= self.size:
            raise UsageError(
                f"--process-id is {self.number} of {self.size} processes: it counts from 0"
            )

    def join(self) -> None:
        """Connects this process to the others, before JAX looks for devices.

        Raises:
          UserError: they cannot be reached.
        """
        import jax

        logging.info("Waiting for the other processes.")
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        try:
            jax.distributed.initialize(
                self.coordinator,
                self.size,
                self.number,
                heartbeat_timeout_seconds=_HEARTBEAT,
            )
        except (RuntimeError, ValueError) as error:
            what = self.coordinator or "the cluster's environment"
            raise UserError(
                f"The processes cannot be connected by {what} ({str(error).splitlines()[0]}). "
                "Start all of them, with the same --coordinator"
            ) from None
        if jax.process_index():
            logging.set_verbosity(logging.WARNING)  # the first process speaks for all


def _is_in_cluster(environment: Mapping[str, str]) -> bool:
    """Returns whether Slurm or a TPU pod has started several processes."""
    tasks = environment.get("SLURM_STEP_NUM_TASKS", "1")
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "")
    return (tasks.isdigit() and int(tasks) > 1) or "," in hosts


class Here(NamedTuple):
    """This process among those that train together."""

    number: int = 0
    size: int = 1

    @classmethod
    def of_jax(cls) -> Here:
        """Returns this process, after `Group.join`."""
        import jax

        return cls(jax.process_index(), jax.process_count())

    @property
    def writes(self) -> bool:
        """True if this process writes the run's files."""
        return self.number == 0

    def share(self, batch_size: int) -> slice:
        """Returns the rows of each batch that this process reads."""
        rows = batch_size // self.size
        return slice(self.number * rows, (self.number + 1) * rows)

    def any(self, value: bool) -> bool:
        """Returns whether the value is true in any process; all of them call this together."""
        if self.size == 1:
            return value
        import numpy as np
        from jax.experimental import multihost_utils

        return bool(multihost_utils.process_allgather(np.array(value)).any())

    def steps_per_call(self, wanted: int) -> int:
        """Returns the steps of a call: several processes must not fit them to their own speed."""
        return wanted or (_STEPS_PER_CALL if self.size > 1 else 0)

    def wait(self, name: str) -> None:
        """Waits until all processes are at the place of this name."""
        if self.size > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(name)

    @contextlib.contextmanager
    def locked(self, folder: str) -> Iterator[None]:
        """Locks a run's folder for all processes."""
        with locks.locked(folder) if self.writes else contextlib.nullcontext():
            yield
