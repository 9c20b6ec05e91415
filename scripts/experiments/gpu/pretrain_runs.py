r"""Pretrains variants on one accelerator, each for the same seconds, without TensorFlow there.

    python scripts/experiments/gpu/pretrain_runs.py prepare PLAN --vocab VOCAB --output OUT
    python scripts/experiments/gpu/pretrain_runs.py run OUT --data DATA --output RUNS [--device gpu]

PLAN is a YAML file: `seconds`, `programs` (name: recipe in its folder) and `runs`, each with

- `programs`: one name, or several that train the same network one after the other,
- `start`: a `attention_start` other than that of the recipe,
- `seed`: of the initial weights and the order of the examples,
- `rate`: the peak of the learning rate, if not the recipe's,
- `steps`: instead of `seconds`; 0 for a network that is not trained.

`prepare` needs TensorFlow. The peak and the number of steps of the schedule are inputs of an
exported step. So `run` measures the steps per second first, and each schedule ends when the seconds
end. Normal initial values are not sent: they are drawn again, from the same distribution.

RUNS has for each run `model.safetensors` with the names of a checkpoint, and RUNS/metrics.jsonl.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from electra_zh.runtime.program import StepProgram

_STEPS, _PEAK = "schedule/steps", "schedule/peak"  # inputs of an exported step
_STEP = "step"
_PLAN, _STARTS = "plan.json", "starts.npz"
_TIMED = 256  # steps of the measurement, after as many
_CALL = 256  # steps between two lines of metrics


def main() -> int:
    """Prepares or runs a plan."""
    arguments = _arguments()
    if arguments.command == "prepare":
        prepare(arguments)
    else:
        run_all(arguments)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare")
    command.add_argument("plan", type=Path)
    command.add_argument("--vocab", required=True)
    command.add_argument("--output", type=Path, required=True)
    command = commands.add_parser("run")
    command.add_argument("prepared", type=Path)
    command.add_argument("--data", required=True)
    command.add_argument("--output", type=Path, required=True)
    command.add_argument("--device", default="gpu")
    command.add_argument("--only", type=lambda text: text.split(","), help="some of the runs")
    command.add_argument("--seconds", type=float, help="instead of those of the plan")
    return parser.parse_args()


def prepare(arguments: argparse.Namespace) -> None:
    """Exports the programs of a plan and the initial values of its starts."""
    from electra_zh.pretraining.config import resolve
    from electra_zh.runtime import lowering
    from electra_zh.text.vocabulary import Vocabulary

    lowering.prepare()
    plan = yaml.safe_load(arguments.plan.read_text(encoding="utf-8"))
    vocabulary = Vocabulary.load(arguments.vocab)
    arrays: dict[str, np.ndarray] = {}
    starts: dict[str, Any] = {}
    for name, recipe in plan["programs"].items():
        path = str(arguments.plan.parent / recipe)
        config = resolve(path, {}, vocab_size=vocabulary.size).settings
        wanted = {
            each.get("start", config.attention_start)
            for each in plan["runs"]
            if name in each["programs"]
        }
        folder = arguments.output / name
        for start in sorted(wanted):
            starts[f"{name} {start}"] = _export(
                config, start, vocabulary, folder, arrays, is_first=start == min(wanted)
            )
        values = config.to_dict()
        plan["programs"][name] = {
            key: values[key]
            for key in ("learning_rate", "attention_start", "train_batch_size", "max_seq_length")
        } | {"words": bool(config.needs_words)}
        print(f"{name}: exported", flush=True)
    np.savez_compressed(arguments.output / _STARTS, **arrays)  # type: ignore[arg-type]
    text = json.dumps({**plan, "starts": starts}, indent=1)
    (arguments.output / _PLAN).write_text(text)


def _export(
    config: Any,
    start: str,
    vocabulary: Any,
    folder: Path,
    arrays: dict[str, np.ndarray],
    *,
    is_first: bool,
) -> dict[str, Any]:
    """Exports the program with the first start; returns a description of its weights by name."""
    import dataclasses

    import tensorflow as tf

    from electra_zh.pretraining.programs.lower import lower_uncached
    from electra_zh.pretraining.state import TrainState, variables_by_name
    from electra_zh.training import schedules

    state = TrainState(dataclasses.replace(config, attention_start=start), vocabulary)
    weights = variables_by_name(state.objective)
    if is_first:
        inputs = [tf.Variable(float(config.num_train_steps), trainable=False, name=_STEPS)]
        inputs.append(tf.Variable(config.learning_rate, trainable=False, name=_PEAK))

        def schedule(step: tf.Tensor) -> tf.Tensor:
            now = tf.cast(step, tf.float32)
            rate = schedules.learning_rate(
                now / inputs[0],
                1.0,
                num_train_steps=1,
                num_warmup_steps=0,
                schedule=config.lr_schedule,
                power=config.lr_decay_power,
                fraction=config.lr_decay_fraction,
            )
            return inputs[1] * rate * tf.minimum(1.0, now / float(max(config.num_warmup_steps, 1)))

        state.optimizer._schedule = schedule
        # They are variables of the state, hence inputs of its program.
        state.inputs = inputs
        program = lower_uncached(state)
        slots = state.optimizer.state_tensors()
        names = {_STEPS: _STEPS, _PEAK: _PEAK}
        for tensors in (weights, slots, {_STEP: state.optimizer.step}):
            names |= {value.name.partition(":")[0]: name for name, value in tensors.items()}
        program = program.renamed(names)
        assert {_STEPS, _PEAK} <= {info.name for info in program.all_variables}
        program.save(str(folder))
    return {name: _describe(name, value.numpy(), arrays) for name, value in weights.items()}


def _describe(name: str, value: np.ndarray, arrays: dict[str, np.ndarray]) -> Any:
    """Returns a number, [standard deviation] of a normal weight, or the name in `arrays`."""
    if np.ptp(value) == 0:
        return float(value.flat[0])
    if not any(part in name for part in ("position", "query/kernel", "key/kernel")):
        return [float(value.std())]
    for key, kept in arrays.items():
        if np.array_equal(kept, value):
            return key
    key = f"array-{len(arrays)}"
    arrays[key] = value
    return key


class Prepared(NamedTuple):
    """A prepared plan: its values, its programs, and the tensors of its starts."""

    plan: dict[str, Any]
    programs: dict[str, StepProgram]
    arrays: dict[str, np.ndarray]

    @classmethod
    def load(cls, folder: Path, names: set[str] | None = None) -> Prepared:
        """Reads the programs of the names, or all."""
        plan = json.loads((folder / _PLAN).read_text())
        found = [name for name in plan["programs"] if names is None or name in names]
        programs = {name: StepProgram.load(str(folder / name)) for name in found}
        return cls(plan, programs, dict(np.load(folder / _STARTS)))

    def first_state(self, name: str, run: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns the variables of a program before a run's first step."""
        start = run.get("start", self.plan["programs"][name]["attention_start"])
        made = self.plan["starts"][f"{name} {start}"]
        # The same seed draws the same weights for every program, name by name.
        state: dict[str, np.ndarray] = {}
        for info in self.programs[name].all_variables:
            value = made.get(info.name, 0.0)
            if isinstance(value, str):
                state[info.name] = self.arrays[value]
            elif isinstance(value, list):
                key = [run.get("seed", 0), *info.name.encode()]
                drawn = np.random.default_rng(key).standard_normal(info.shape, np.float32)
                # Truncated, as the initializers are, and of the same deviation.
                state[info.name] = (value[0] / 0.8796 * np.clip(drawn, -2, 2)).astype(np.float32)
            else:
                state[info.name] = np.full(info.shape, value, info.dtype)
        return state


def run_all(arguments: argparse.Namespace) -> None:
    """Runs the plan's runs; what is in RUNS is not run again."""
    from electra_zh.runtime.pjrt import find_devices

    device = find_devices(arguments.device.removeprefix("pjrt:"), most=1)[0]
    plan = json.loads((arguments.prepared / _PLAN).read_text())
    runs = [each for each in plan["runs"] if not arguments.only or each["name"] in arguments.only]
    prepared = Prepared.load(
        arguments.prepared, {name for each in runs for name in each["programs"]}
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    _Trainer(prepared, device, arguments).run(runs)


class _Trainer:
    """Trains the runs of a plan."""

    def __init__(self, prepared: Prepared, device: Any, arguments: argparse.Namespace) -> None:
        self._prepared, self._device, self._arguments = prepared, device, arguments
        self._metrics = arguments.output / "metrics.jsonl"
        self._rates: dict[str, float] = {}
        self._compiled: dict[str, Any] = {}

    def run(self, runs: list[dict[str, Any]]) -> None:
        """Compiles the programs at the same time, measures their speed, and trains the runs."""
        start = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            names = list(self._prepared.programs)
            self._compiled = dict(zip(names, pool.map(self._compile, names), strict=True))
        print(f"compiled in {time.perf_counter() - start:.0f} s", flush=True)
        for each in runs:
            if not (self._arguments.output / each["name"] / "model.safetensors").exists():
                self._train(each)

    def _compile(self, name: str) -> Any:
        steps = self._steps(name, self._prepared.first_state(name, {"start": self._start(name)}), 0)
        return steps.compiled

    def _start(self, name: str) -> str:
        """Returns one of the starts of a program."""
        found = (key for key in self._prepared.plan["starts"] if key.startswith(f"{name} "))
        return next(found).partition(" ")[2]

    def _steps(self, name: str, state: Mapping[str, np.ndarray], seed: int) -> Any:
        from electra_zh.data import pipeline
        from electra_zh.data.manifest import WeightedFolder
        from electra_zh.data.mixed_folders import Mix
        from electra_zh.runtime.pjrt import PjrtSteps

        settings = self._prepared.plan["programs"][name]
        length, words = settings["max_seq_length"], settings["words"]

        def opening(folder: str) -> Any:
            return pipeline.open_shards(folder, max_seq_length=length, words=words)

        mix = Mix([WeightedFolder(self._arguments.data, None)], opening, seed=seed)
        batches = pipeline.batches(
            mix.parts,
            pipeline.Reading(length, words, None),
            batch_size=settings["train_batch_size"],
            seed=seed,
            start_example=0,
        )
        steps = PjrtSteps(self._prepared.programs[name], state, batches, devices=[self._device])
        steps.kept = self._compiled.get(name)
        return steps

    def _rate(self, name: str, run: Mapping[str, Any]) -> float:
        """Returns the steps per second of a program."""
        if name not in self._rates:
            steps = self._steps(name, self._first(name, run, 1e6), 0)
            steps(_TIMED)
            start = time.perf_counter()
            steps(_TIMED)
            self._rates[name] = _TIMED / (time.perf_counter() - start)
        return self._rates[name]

    def _first(self, name: str, run: Mapping[str, Any], count: float) -> dict[str, np.ndarray]:
        peak = run.get("rate", self._prepared.plan["programs"][name]["learning_rate"])
        state = self._prepared.first_state(name, run)
        return state | {_STEPS: np.array(count, np.float32), _PEAK: np.array(peak, np.float32)}

    def _train(self, run: Mapping[str, Any]) -> None:
        seconds = self._arguments.seconds or self._prepared.plan["seconds"]
        weights: dict[str, np.ndarray] = {}
        for place, name in enumerate(run["programs"]):
            each = seconds / len(run["programs"])
            count = run["steps"] if "steps" in run else int(each * self._rate(name, run))
            first = self._first(name, run, count)
            first |= {key: value for key, value in weights.items() if key in first}
            # The next program reads other examples.
            steps = self._steps(name, first, run.get("seed", 0) + 1000 * place)
            start, done = time.perf_counter(), 0
            while done < count:
                taken = min(_CALL, count - done)
                self._write(run["name"], name, done + taken, start, steps(taken))
                done += taken
            spent = time.perf_counter() - start
            found = steps.state()
            made = self._prepared.plan["starts"][f"{name} {self._start(name)}"]
            weights |= {key: found[key] for key in made}
            print(
                f"{run['name']}: {name}, {count} steps in {spent:.1f} s, waited "
                f"{steps.waited:.1f} s for data",
                flush=True,
            )
        self._save(run["name"], weights)

    def _write(
        self, run: str, program: str, step: int, start: float, values: list[np.ndarray]
    ) -> None:
        from electra_zh.pretraining import metrics

        sums = metrics.StepSums.of_values(values)
        line = {
            "run": run,
            "program": program,
            "step": step,
            "seconds": time.perf_counter() - start,
            "skipped": sums.skipped,
            **metrics.training_results(sums.objective),
        }
        with self._metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _save(self, run: str, weights: Mapping[str, np.ndarray]) -> None:
        from safetensors.numpy import save_file

        folder = self._arguments.output / run
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: np.ascontiguousarray(value) for name, value in weights.items()}
        save_file(tensors, folder / "model.safetensors")


if __name__ == "__main__":
    raise SystemExit(main())
