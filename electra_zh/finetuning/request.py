"""The requests of the commands on tasks: fine-tuning, predictions, the leaderboard's zip."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from electra_zh import files
from electra_zh.convert.source_settings import SourceSettings
from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.finetuning import locate, registry
from electra_zh.finetuning.locate import Found
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.runtime.device import NAMES
from electra_zh.settings import Settings, parse_overrides, setting
from electra_zh.settings.resolution import short_key
from electra_zh.training.trackers import check_installed, tracker_names

if TYPE_CHECKING:
    from electra_zh.finetuning.readers.streams import TaskFile


class ModelPlan(NamedTuple):
    """One model to train: for one task, or jointly for several; its name is that of its folder."""

    name: str
    found: tuple[tuple[TaskConfig, Found], ...]


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    if not names:
        raise UsageError(f'--task "{text}" names no task; `electra-zh tasks` lists them')
    return names


def _device_setting() -> Any:
    return setting(
        "auto",
        "auto: an accelerator if JAX has one, else the CPU; one device is used; pjrt:cpu: the "
        "accelerators' program on the CPU, for tests",
        choices=NAMES,
    )


@dataclasses.dataclass(frozen=True)
class Request(SourceSettings):
    """Settings of `electra-zh finetune`.

    Attributes:
      overrides: settings of the tasks: `key` for all of them, `task.key` for one task.
    """

    model: str = setting(
        meaning="a run, a fine-tuned model, a Hugging Face folder or a TF1 checkpoint, ELECTRA or "
        "BERT",
        metavar="SOURCE",
    )
    tasks: tuple[str, ...] = setting(
        meaning="comma-separated tasks, groups (clue, hfl, glue, ...) and .yaml files",
        metavar="NAMES",
        flags=("--task",),
        parse=_names,
    )
    data: str = setting(meaning="folder that contains the data sets", metavar="DIR")
    output: str = setting(meaning="folder of the results", metavar="DIR")
    trials: int = setting(1, "random seeds per task", at_least=1)
    grid: tuple[str, ...] = setting(
        (), "train every combination of these values", metavar="key=v1,v2"
    )
    joint: bool = setting(False, "train all tasks in one model, mixed by their size")
    from_scratch: bool = setting(
        False, "random weights instead of the pretrained ones, for comparison"
    )
    attention_start: Literal["normal", "local"] | None = setting(
        None,
        "initial attention with --from-scratch, as in pretraining; by default that of the run",
    )
    checkpoint: int | None = setting(
        None, "step of the checkpoint; the newest by default", metavar="STEP"
    )
    skip_bad: bool = setting(False, "skip bad examples and count them")
    device: str = _device_setting()
    track: tuple[str, ...] = setting(
        (),
        "trackers that get the settings and the metrics of each trial, too; each is an extra",
        choices=tracker_names,
        metavar="NAME",
    )
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def check_together(self) -> None:
        """Checks that --attention-start comes with --from-scratch, and the trackers."""
        check_installed(self.track)
        if self.attention_start is not None and not self.from_scratch:
            raise UsageError(
                "--attention-start is for --from-scratch: pretrained weights have their own"
            )

    def grid_values(self) -> dict[str, list[str]]:
        """Returns the keys of the grid with their values.

        Raises:
          UsageError: a key without values, a file or a metric, or a key that is also an override.
        """
        grid: dict[str, list[str]] = {}
        for key, values in parse_overrides(self.grid).items():
            if short_key(TaskConfig, key) in self.overrides:
                raise UsageError(f"{key} is set both in --grid and as an override: remove one")
            if key.rpartition(".")[2] in registry.NOT_IN_GRID:
                raise UsageError(f"{key} cannot be in --grid: run the command once for each value")
            grid[key] = [value for value in values.split(",") if value]
            if not grid[key]:
                raise UsageError(f"--grid {key}= is empty: give values, as {key}=1,2")
        return grid

    def settings_of_tasks(self) -> Iterator[tuple[dict[str, str], list[TaskConfig]]]:
        """Yields the combinations of the grid's values, and the tasks with each.

        Raises:
          UserError: an unknown task or key, a value that is not allowed, or one given twice.
        """
        grid, seen = self.grid_values(), list[list[TaskConfig]]()
        for values in itertools.product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            seen.append(registry.load(self.tasks, {**self.overrides, **chosen}))
            if seen[-1] in seen[:-1]:
                shown = ", ".join(f"{key}={value}" for key, value in chosen.items())
                raise UsageError(f"--grid has the same settings twice ({shown}): remove one")
            yield chosen, seen[-1]

    def plan(self) -> tuple[list[ModelPlan], list[str]]:
        """Returns the models to train, and the tasks of groups without files, with the reason.

        Raises:
          UserError: a task that was given by its own name has no files, or none has.
        """
        found: list[tuple[TaskConfig, Found]] = []
        missing: list[str] = []
        folders, own = locate.folders_below(self.data), registry.own_names(self.tasks)
        for task in registry.load(self.tasks, self.overrides):
            place = locate.find(task, folders)
            reason = locate.why_missing(task, place, self.data)
            if place is not None and not reason:
                found.append((task, place))
                continue
            if task.name in own:
                raise UserError(f"task {task.name}: {reason}")
            missing.append(f"{task.name} ({reason})")
        if not found:
            raise UserError(f"no task has data: {'; '.join(missing)}")
        if not self.joint:
            return [ModelPlan(task.name, ((task, place),)) for task, place in found], missing
        names = [task.name for task, _ in found]
        self._check_joint(names)
        return [ModelPlan("+".join(names), tuple(found))], missing

    def _check_joint(self, names: Sequence[str]) -> None:
        """Refuses training settings for any task but the first: there is one training."""
        for key in (*self.overrides, *self.grid_values()):
            task, _, setting = key.rpartition(".")
            if task in names[1:] and setting in registry.JOINT_KEYS:
                raise UsageError(
                    f'"{key}": tasks trained jointly share their training settings. Write '
                    f"{setting}= for all of them (the defaults are those of {names[0]}, the first "
                    "task)"
                )

    def check_files(self) -> None:
        """Checks that the model and the data exist and the output can be written.

        It loads no TensorFlow: `prepare` reads all files, seconds later.

        Raises:
          UserError: a path is wrong.
        """
        from electra_zh.convert.source import check_source
        from electra_zh.finetuning import readers, results

        files.check_output(self.output)
        results.check_folder(self.output)
        for task, _ in itertools.chain.from_iterable(each.found for each in self.plan()[0]):
            readers.resolve_fields(task)
        try:
            check_source(
                self.model,
                checkpoint=self.checkpoint,
                settings_only=self.from_scratch,
                hints=self.source_settings(),
            )
        except UserError as error:
            raise UserError(f"--model: {error}") from None


@dataclasses.dataclass(frozen=True)
class PredictionRequest(Settings):
    """Settings of `electra-zh predict`."""

    model: str = setting(meaning="a fine-tuned model, or its task's folder", metavar="DIR")
    input: str = setting(
        meaning="a file in the task's form, or plain lines with one example each; - is standard "
        "input",
        metavar="FILE",
    )
    output: str = setting(
        meaning="file of JSON lines, or of a table if its name ends in .tsv; - is standard output",
        metavar="FILE",
    )
    task: str | None = setting(None, "the task, for a model of several", metavar="NAME")
    reader: str | None = setting(
        None, "form of the input, if it differs from the task's", metavar="NAME"
    )
    plain: bool = setting(False, "read each line as a text, whatever it looks like", listed=False)
    format: Literal["jsonl", "tsv"] | None = setting(
        None, "form of the output; by default that of its name"
    )
    with_text: bool = setting(False, "add the texts of each example to its line")
    probabilities: bool = setting(False, "add the probability of each label or choice")
    batch_size: int = setting(64, "examples per step", at_least=1)
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "compute type; auto: that of the fine-tuning, but float32 on a CPU without instructions "
        "for bfloat16",
    )
    device: str = _device_setting()
    overwrite: bool = setting(False, "replace an existing file")
    skip_bad: bool = setting(False, "skip bad examples and count them")

    @property
    def table(self) -> bool:
        """True if the output is a table."""
        return self.format == "tsv" or (self.format is None and self.output.endswith(".tsv"))

    def check_together(self) -> None:
        """Checks that the output can be written, in the form of its name."""
        if self.format is None and self.output.lower().endswith((".csv", ".xls", ".xlsx")):
            raise UsageError(
                f"--output {self.output}: a table of predictions is TSV. Give a name in .tsv"
            )
        if self.output != "-":
            files.check_output_file(self.output, overwrite=self.overwrite)

    def saved_task(self) -> TaskConfig:
        """Returns the task as the model has it, without TensorFlow.

        Raises:
          UserError: there is no such model, task or reader.
        """
        from electra_zh.convert import model_folder
        from electra_zh.convert.locate import find_folder
        from electra_zh.finetuning.readers import find_reader

        folder = find_folder(self.model, fine_tuned=True).path
        where, saved = model_folder.config_path(folder), model_folder.load(folder).tasks
        tasks = {str(values["name"]): values for values in saved}
        task = TaskConfig.from_dict(tasks[self.choose_task(list(tasks))], where=where)
        if self.reader is not None:
            find_reader(self.reader, task)
        return task

    def open_input(self) -> TaskFile:
        """Opens the input; raises UserError if it is missing, empty or not text."""
        from electra_zh.finetuning.readers.streams import TaskFile

        return TaskFile(self.input)

    def choose_task(self, names: Sequence[str]) -> str:
        """Returns the name of the task, of those of the model."""
        shown = ", ".join(names)
        if self.task is None:
            if len(names) > 1:
                raise UsageError(f"the model has several tasks: give --task, one of {shown}")
            return names[0]
        if self.task not in names:
            hint = did_you_mean(self.task, names)
            raise UsageError(f'the model has no task "{self.task}".{hint} Its tasks: {shown}')
        return self.task


@dataclasses.dataclass(frozen=True)
class SubmissionRequest(Settings):
    """Settings of `electra-zh submission`."""

    results: str = setting(
        meaning="folder of the results of `electra-zh finetune`", positional=True, metavar="RESULTS"
    )
    team: str = setting(meaning="name of the team, for the zip's name", metavar="NAME")
    task: str = setting("", "comma-separated tasks; all by default", metavar="NAMES")
    output: str | None = setting(
        None, "zip to write; submit_TEAM_DATE.zip in RESULTS by default", metavar="FILE"
    )
