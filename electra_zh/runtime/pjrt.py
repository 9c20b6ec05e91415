"""The steps of a program on the devices that JAX has: CPUs, GPUs or TPUs, one or many.

The batch is split over the devices, the state is on each of them, and the compiler adds what they
exchange. Random numbers follow from the place in the global batch, so the numbers of a run do not
depend on how many devices there are.

The devices never wait for the host: a thread reads the next block of batches and sends it while
they compute, and the sums are fetched once per call.
"""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding

from electra_zh import files
from electra_zh.errors import UserError, install_line
from electra_zh.runtime import kept_steps
from electra_zh.runtime.compiling import compile_with_kernels
from electra_zh.runtime.kernels import regions
from electra_zh.runtime.placement import Placement, take_step
from electra_zh.runtime.program import StepProgram

# JAX's lines about platforms that the machine does not have.
logging.getLogger("jax").setLevel(logging.WARNING)


def default_platform() -> str:
    """Returns the platform that JAX prefers on this machine: cpu, gpu or tpu."""
    return str(jax.default_backend())


def find_devices(platform: str, *, most: int | None = None) -> list[Any]:
    """Returns the devices of a platform (cpu, gpu or tpu), at most `most`.

    Raises:
      UserError: there is none, or fewer than `most`.
    """
    # Others are not looked for: that takes time and writes warnings. The host is always needed.
    wanted = {"gpu": "cuda"}.get(platform, platform)
    jax.config.update("jax_platforms", ",".join(dict.fromkeys((wanted, "cpu"))))
    try:
        found: list[Any] = jax.devices(platform)
    except RuntimeError as error:
        raise UserError(
            f"JAX finds no {platform} ({str(error).splitlines()[0]}). Use --device cpu, or install "
            f"JAX for it: {install_line(platform)}"
        ) from None
    if most is not None and most > len(found):
        raise UserError(f"--devices is {most}, but JAX finds {len(found)} of {platform}: lower it")
    if platform != "cpu":
        _keep_compiled()
    return found[:most]


def _keep_compiled() -> None:
    """Keeps compiled steps in the user's cache, unless JAX_COMPILATION_CACHE_DIR names another."""
    folder = files.cache_folder("jax")
    # The steps are code.
    trusted = not files.exists(folder) or files.is_own(folder)
    if trusted and jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", folder)


class PjrtSteps:
    """Many steps of a program in one call, with the state on the devices."""

    _blocks: _Blocks

    def __init__(
        self,
        program: StepProgram,
        state: Mapping[str, np.ndarray],
        batches: Iterator[Mapping[str, np.ndarray]],
        *,
        devices: Sequence[Any],
        state_sharding: str = "none",
        compiled: str | None = None,
    ) -> None:
        """Starts with a state and batches; see `start`.

        `state_sharding` is that of `Placement`, and `compiled` a folder of `kept_steps`.

        Raises:
          UserError: the batch cannot be split evenly.
        """
        self._placement = Placement.on(devices, program, state_sharding)
        # The steps of the folder; None if they are to be compiled.
        self.kept = kept_steps.load(compiled, self._placement) if compiled else None
        self.start(state, batches)

    def start(
        self, state: Mapping[str, np.ndarray], batches: Iterator[Mapping[str, np.ndarray]]
    ) -> None:
        """Puts the state, arrays by variable name, on the devices, and begins to read batches.

        Several processes have the same state, and batches of their own rows.
        """
        self._state = self._placement.put_state(state)
        self._blocks = _Blocks(self._placement.program, batches, self._placement.batches)

    def stop(self) -> None:
        """Frees the memory of the state and of the batches."""
        self._state = {}
        del self._blocks

    @property
    def waited(self) -> float:
        """Seconds that the host has waited for batches to be read."""
        return self._blocks.waited

    def __call__(self, count: int) -> list[np.ndarray]:
        """Runs steps and returns the sums over them, in the order of the program.

        The first call compiles them.

        Raises:
          UserError: another process has ended.
        """
        try:
            return self._run(count)
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            raise UserError(
                f"Another process has ended ({str(error).splitlines()[0]}). Start all of them "
                "again to resume from the newest checkpoint"
            ) from None

    def _run(self, count: int) -> list[np.ndarray]:
        parts: list[list[Any]] = []
        while count:
            taken = self._blocks.take(count)
            self._state, sums = self.compiled(
                self._state, taken.batches, np.int32(taken.first), np.int32(taken.end)
            )
            parts.append(sums)
            count -= taken.end - taken.first
        sums = zip(*jax.device_get(parts), strict=True)
        # In float64, whose sums do not depend on where calls and blocks begin.
        return [np.asarray(np.concatenate(each).sum(0, dtype=np.float64)) for each in sums]

    @functools.cached_property
    def compiled(self) -> jax.stages.Compiled:
        """The compiled steps: their text, and the memory that they take."""
        if self.kept is not None:
            return self.kept
        return compile_with_kernels(self._placement.lowered, self._placement.everywhere)

    def state(self) -> dict[str, np.ndarray]:
        """Returns the variables as arrays by name, of their own types."""
        return self._placement.get_state(self._state)


def call_once(
    program: StepProgram,
    state: Mapping[str, np.ndarray],
    batch: Mapping[str, np.ndarray],
    *,
    device: Any,
) -> dict[str, np.ndarray]:
    """Returns the sums of one step by their names, on one device, which keeps nothing of it.

    The first call of a program compiles it.
    """
    values = [np.asarray(batch[info.name], np.int32) for info in program.batch]
    placement, call = _compiled_once(program, device)
    sums = jax.device_get(call(placement.put_state(state), values))
    return {info.name: value for info, value in zip(program.sums, sums, strict=True)}


@functools.lru_cache(1)
def _compiled_once(program: StepProgram, device: Any) -> tuple[Placement, Any]:
    placement = Placement.on([device], program)
    steps = [regions.load(part.exported, None) for part in program.parts]
    return placement, jax.jit(lambda state, batch: take_step(placement, steps, state, batch)[1])


class _Taken(NamedTuple):
    """Batches [block size, B, L] by name on the devices; those from `first` to `end` are next."""

    batches: dict[str, Any]
    first: int
    end: int


class _Blocks:
    """Blocks of batches on the devices, two at a time: a thread reads one while one is in use."""

    def __init__(
        self,
        program: StepProgram,
        batches: Iterator[Mapping[str, np.ndarray]],
        sharding: NamedSharding,
    ) -> None:
        self.waited = 0.0
        self._infos, self._size = program.batch, program.block
        self._sharding, self._source = sharding, batches
        self._processes = len({each.process_index for each in sharding.mesh.devices.flat})
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._coming = self._reader.submit(self._read)
        self._now = _Taken({}, 0, 0)

    def take(self, count: int) -> _Taken:
        """Returns the next batches of one block, at most `count`.

        Raises:
          ValueError: there are no more batches.
        """
        if self._now.first == self._now.end:
            start = time.perf_counter()
            self._now = self._coming.result()
            self.waited += time.perf_counter() - start
            self._coming = self._reader.submit(self._read)
        if self._now.first == self._now.end:
            raise ValueError("the batches of a training run ended")
        taken = self._now._replace(end=min(self._now.first + count, self._now.end))
        self._now = self._now._replace(first=taken.end)
        return taken

    def _read(self) -> _Taken:
        batches = list(itertools.islice(self._source, self._size))
        sent = {}
        for info in self._infos:
            rows, shape = info.shape[0] // self._processes, info.shape[1:]
            values = np.zeros((self._size, rows, *shape), np.int32)
            for index, batch in enumerate(batches):
                values[index] = batch[info.name]
            sent[info.name] = jax.make_array_from_process_local_data(
                self._sharding, values, (self._size, *info.shape)
            )
        return _Taken(sent, 0, len(batches))
