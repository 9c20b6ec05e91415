"""Steps and outputs of tasks on devices, by JAX alone. TensorFlow is not imported.

The devices hold the rows of a split and gather each batch by the numbers of its groups. So many
steps run without a word of the host, and a batch costs no transfer.

Shapes: N batches of a plan, G groups of a batch, R = G * S rows, L length, T tokens of all rows.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.runtime.compiling import compile_with_kernels
from electra_zh.runtime.kernels import Kernels, regions
from electra_zh.runtime.placement import Placement, struct, take_step
from electra_zh.runtime.program import StepProgram, TensorInfo, jax_type

Arrays = Mapping[str, Any]


class Plan(NamedTuple):
    """Batches of a split, as arrays.

    Attributes:
      groups: int32 [N, G], filled up where a batch has fewer groups.
      sizes: int32 [N], the number of groups of each batch.
    """

    groups: Any
    sizes: Any

    @classmethod
    def of(cls, plan: Sequence[np.ndarray], batch_size: int, room: int) -> Plan:
        """Returns the plan of at most N = `room` batches of at most `batch_size` groups."""
        groups = np.zeros((room, batch_size), np.int32)
        sizes = np.zeros(len(groups), np.int32)
        for index, each in enumerate(plan):
            groups[index], sizes[index] = np.resize(each, batch_size), len(each)
        return cls(groups, sizes)


def hold(rows: EncodedSplit) -> dict[str, np.ndarray]:
    """Returns the arrays of a split that the devices hold, in `_batch`'s form."""
    tokens = {"input_ids": rows.ids, "segment_ids": rows.segments, **rows.per_token}
    numbers = {"start": rows.starts, "length": rows.ends - rows.starts}
    found = {f"token/{name}": _narrow(values) for name, values in tokens.items()}
    found |= {f"row/{name}": values.astype(np.int32) for name, values in numbers.items()}
    return found | {f"group/{name}": _narrow(values) for name, values in rows.per_group.items()}


def _narrow(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int32) if values.dtype.kind in "iu" else values


def _batch(infos: Sequence[TensorInfo], rows: Arrays, groups: Any, size: Any) -> list[Any]:
    """Returns the features of a batch in the order of a program, as `batches.make_batch` has them.

    Args:
      infos: their names, shapes and types.
      rows: of `hold`.
      groups: int32 [G].
      size: scalar int32, the number of groups that are not filler.
    """
    shapes = {info.name: info.shape for info in infos}
    (count, length), batch_size = shapes["input_ids"], len(groups)
    of_group = count // batch_size
    numbers = (groups[:, None] * of_group + jnp.arange(of_group)).reshape(-1)  # [R]
    columns = jnp.arange(length)
    real = columns < rows["row/length"][numbers][:, None]  # [R, L]
    places = jnp.where(real, rows["row/start"][numbers][:, None] + columns, 0)

    def feature(info: TensorInfo) -> Any:
        if info.name == "input_mask":
            return real
        if info.name == "weight":
            return jnp.arange(batch_size) < size
        if f"token/{info.name}" in rows:
            return jnp.where(real, rows[f"token/{info.name}"][places], 0)
        return rows[f"group/{info.name}"][groups]

    return [feature(info).astype(jax_type(info.dtype)) for info in infos]


class Held(NamedTuple):
    """The rows of a split, and their arrays on the devices."""

    rows: EncodedSplit
    arrays: Arrays


class Pending(NamedTuple):
    """The sums of the batches of a plan, on the devices, which may still compute them.

    Attributes:
      plan: the groups of each batch.
      lengths: the padded length of each batch.
      sums: by length and name, [N, ...].
    """

    plan: Sequence[np.ndarray]
    lengths: Sequence[int]
    sums: Mapping[int, Mapping[str, Any]]

    def losses(self) -> np.ndarray:
        """Returns float32 [batches], the summed loss of each."""
        found = {length: np.asarray(sums["loss"]) for length, sums in self.sums.items()}
        return np.array([found[each][index] for index, each in enumerate(self.lengths)])

    def collect(self, found: dict[str, np.ndarray], groups: int) -> None:
        """Writes the outputs to those of all groups of the rows, [groups, ...]."""
        for length, first, end in _stretches(self.lengths):
            sizes = [len(each) for each in self.plan[first:end]]
            numbers = np.concatenate(self.plan[first:end])
            for name, value in self.sums[length].items():
                host = np.asarray(value)
                used = [host[first + index, :size] for index, size in enumerate(sizes)]
                batches.collect(found, name, groups, numbers, np.concatenate(used))


class TaskPrograms:
    """A task's training step, or its outputs, on devices: a program for each padded length."""

    def __init__(
        self,
        lower: Callable[[int], StepProgram],
        lengths: Sequence[int],
        devices: Sequence[Any],
        *,
        batch_size: int,
        room: int,
    ) -> None:
        """Takes the programs; each is lowered when it is first needed.

        Args:
          lower: returns the program of a padded length.
          lengths: the padded lengths.
          devices: devices of JAX.
          batch_size: groups of a batch.
          room: the most batches of one call.
        """
        self._lower, self._lengths, self._devices = lower, sorted(lengths), devices
        self._batch_size, self._room = batch_size, room
        self._programs: dict[int, _Compiled] = {}
        self._sizes: dict[str, int] = {}
        mesh = Mesh(np.array(devices), ("data",))
        self._everywhere = NamedSharding(mesh, PartitionSpec())

    def _program(self, length: int) -> _Compiled:
        """Returns the program of a length.

        Raises:
          UserError: the batch cannot be split evenly over the devices.
        """
        if length not in self._programs:
            self._programs[length] = _Compiled(self._lower(length), self._devices)
        return self._programs[length]

    def hold(self, rows: EncodedSplit) -> Held:
        """Puts the rows of a split on the devices, with as much room as the splits before.

        Sizes are powers of two: splits of about one size share their compiled steps.
        """
        arrays = {}
        for name, values in hold(rows).items():
            room = 1 << max(0, len(values) - 1).bit_length()
            size = self._sizes[name] = max(room, self._sizes.get(name, 0))
            arrays[name] = np.zeros((size, *values.shape[1:]), values.dtype)
            arrays[name][: len(values)] = values
        return Held(rows, jax.device_put(arrays, self._everywhere))

    def put(self, state: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Puts variables on the devices."""
        values = {name: value.astype(jax_type(value.dtype.name)) for name, value in state.items()}
        return dict(jax.device_put(values, self._everywhere))

    def compilations(self, held: Held) -> list[Callable[[], Any]]:
        """Returns calls that compile the programs for rows, and that may run at the same time."""
        plan = Plan.of([], self._batch_size, self._room)
        return [
            functools.partial(self._program(length).compile, held.arrays, plan)
            for length in self._lengths
        ]

    def run(
        self, state: dict[str, Any], held: Held, plan: Sequence[np.ndarray]
    ) -> tuple[dict[str, Any], Pending]:
        """Takes at most `room` batches, and returns the state after them and their sums.

        Variables of the given state that the programs write are no longer valid.
        """
        longest = batches.longest_rows(held.rows, plan)
        chosen = [batches.bucket(int(each), self._lengths) for each in longest]
        arrays = jax.device_put(Plan.of(plan, self._batch_size, self._room), self._everywhere)
        sums: dict[int, Any] = {}
        for length, first, end in _stretches(chosen):
            program = self._program(length)
            before = sums.get(length) or program.empty(len(arrays.sizes))
            state, sums[length] = program(state, held.arrays, arrays, before, first, end)
        return state, Pending(plan, chosen, sums)


def _stretches(values: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yields the (value, first, end) of each stretch of equal values."""
    first = 0
    for value, same in itertools.groupby(values):
        end = first + len(list(same))
        yield value, first, end
        first = end


class _Compiled:
    """A program, compiled once for each shape of the arrays that it takes batches from."""

    def __init__(self, program: StepProgram, devices: Sequence[Any]) -> None:
        self.placement = Placement.on(devices, program)
        self._program = program
        self._compiled: dict[Any, Any] = {}

    def _parts(self, state: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Returns the variables that the program writes, and those that it only reads."""
        pairs = list(zip(self._program.variables, self._program.written, strict=True))
        written = {info.name: state[info.name] for info, result in pairs if result >= 0}
        return [written, {info.name: state[info.name] for info, result in pairs if result < 0}]

    def empty(self, number: int) -> dict[str, Any]:
        """Returns the sums of `number` batches before the first."""
        sums = {
            info.name: jnp.zeros((number, *info.shape), jax_type(info.dtype))
            for info in self._program.sums
        }
        return dict(jax.device_put(sums, self.placement.everywhere))

    def compile(self, rows: Arrays, plan: Plan) -> Any:
        """Returns the compiled steps for arrays of these shapes, compiled at the first call."""
        key = tuple((value.shape, str(value.dtype)) for value in jax.tree.leaves((rows, plan)))
        if key not in self._compiled:
            lower = functools.partial(self._lowered, rows, plan)
            self._compiled[key] = compile_with_kernels(lower, self.placement.everywhere)
        return self._compiled[key]

    def _lowered(self, rows: Arrays, plan: Plan, kernels: Kernels | None) -> jax.stages.Lowered:
        place, number = self.placement, len(plan.sizes)
        step = regions.load(self._program.exported, kernels)
        written, read = self._parts(place.state)
        jitted = jax.jit(
            functools.partial(_run, place, step),
            in_shardings=(written, read, *[place.everywhere] * 4),
            out_shardings=(written, place.everywhere),
            donate_argnums=(0, 3),
        )
        variables = {info.name: struct(info) for info in self._program.variables}
        sums = {
            info.name: struct(info._replace(shape=(number, *info.shape)))
            for info in self._program.sums
        }
        structs = jax.tree.map(
            lambda value: jax.ShapeDtypeStruct(value.shape, value.dtype), (rows, plan)
        )
        ends = np.int32(0), np.int32(1)
        return jitted.lower(*self._parts(variables), structs, sums, *ends)

    def __call__(
        self,
        state: dict[str, Any],
        rows: Arrays,
        plan: Plan,
        sums: dict[str, Any],
        first: int,
        end: int,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Takes the batches from `first` to `end`, and returns the new state and sums."""
        new, sums = self.compile(rows, plan)(
            *self._parts(state), (rows, plan), sums, np.int32(first), np.int32(end)
        )
        return state | new, sums


def _run(
    placement: Placement,
    step: export.Exported,
    written: Any,
    read: Any,
    source: tuple[Any, Plan],
    sums: Any,
    first: Any,
    end: Any,
) -> tuple[Any, Any]:
    """Takes the batches from `first` to `end`: the new variables, and sums with theirs.

    `source` are the rows and the plan.
    """
    rows, plan = source
    program = placement.program
    split = NamedSharding(placement.everywhere.mesh, PartitionSpec("data"))

    def one(index: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        state, sums = carry[0] | read, carry[1]
        batch = _batch(program.batch, rows, plan.groups[index], plan.sizes[index])
        batch = jax.lax.with_sharding_constraint(batch, split)
        new, found = take_step(placement, [step], state, batch)
        named = zip(program.sums, found, strict=True)
        return new, {info.name: sums[info.name].at[index].set(value) for info, value in named}

    new, found = jax.lax.fori_loop(first, end, one, (written, sums))
    return new, found
