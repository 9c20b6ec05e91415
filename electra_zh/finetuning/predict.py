"""Predictions of a model: for the rows of a split, and streaming for new data."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh import content, files, machine, progress
from electra_zh.errors import UsageError, UserError, counted, few
from electra_zh.finetuning import model as models
from electra_zh.finetuning.dataset import same_labels
from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.examples import SKIP_HINT, BadExamples
from electra_zh.finetuning.kinds.base import TaskKind
from electra_zh.finetuning.model import TaskModel
from electra_zh.finetuning.programs.lower import lower_task
from electra_zh.finetuning.readers import find_reader
from electra_zh.finetuning.readers.base import ExampleReader
from electra_zh.finetuning.readers.plain import is_plain
from electra_zh.finetuning.readers.streams import TaskFile
from electra_zh.finetuning.request import PredictionRequest
from electra_zh.finetuning.scores.answer_counts import AnswerCounts
from electra_zh.models import layers
from electra_zh.runtime.device import CPU, Device
from electra_zh.runtime.program import StepProgram
from electra_zh.text.tokenizer import Tokenizer
from electra_zh.training import loop, side_by_side

if TYPE_CHECKING:
    from electra_zh.finetuning.programs.steps import TaskPrograms

# Examples that are sorted by length together, and held in memory.
_BLOCK = 4096
# The most batches of one call on a device.
_DEVICE_CALL = 64


class Evaluation(NamedTuple):
    """A split's predictions, in the order of its examples, and the scores if it has labels."""

    predictions: list[Any]
    scores: dict[str, float]


class Predictor:
    """Runs a model on the rows of one task."""

    def __init__(
        self,
        model: TaskModel,
        kind: TaskKind[Any, Any],
        *,
        batch_size: int,
        precision: str = "float32",
        lengths: Sequence[int] = (),
        device: Device = CPU,
        fixed: bool = False,
    ) -> None:
        """Makes the predictor for the head of a task; weights may change between calls.

        With `fixed` they do not, and a device gets them once.
        Batches are padded to one of the lengths. By default they are padded to their longest row,
        or to lengths for unknown texts where each length is traced by itself.
        """
        self._model, self._kind = model, kind
        self._batch_size = batch_size
        # One graph for all lengths where the head allows it and nothing is compiled.
        # A graph for each took 3 s of processor time for the first 2,000 short texts of tiny, and
        # padding to a few lengths 12 % more work.
        self._any_length = not lengths and kind.any_length and not loop.use_xla()
        self._lengths = lengths or batches.all_lengths(kind.max_seq_length)
        self._device = device
        self._on_device: dict[int, TaskPrograms] = {}  # by the number of rows of a group
        self._fixed, self._weights = fixed, dict[str, Any]()
        if device.found:
            self._any_length = False
            self._lengths = lengths or _device_lengths(kind.max_seq_length)
        self._dtype = tf.as_dtype(machine.compute_type(precision))
        self._head = model.heads[kind.task.name]
        self._step = tf.function(self._outputs, jit_compile=loop.use_xla(), autograph=False)
        self._compute_all = side_by_side.in_order(self._compute)

    def _outputs(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        # Without derivatives the fused kernels save nothing in float32 (64 x 40, tiny: 0.29 s of
        # processor time with them, 0.28 s without) and 10 % in bfloat16, but each length takes 0.9
        # to 1.0 s for the first batch instead of 0.3 to 0.5 s.
        with layers.plain_operations():
            hidden = self._model.hidden(
                features, dtype=self._dtype, key=None, first_only=self._kind.first_only
            )
            return self._kind.outputs(self._head, hidden, features)

    def lower(self, rows: EncodedSplit, length: int) -> StepProgram:
        """Returns the program of the outputs for such rows at a padded length."""
        return lower_task(
            self._step,
            rows,
            self._model.weights(),
            batch_size=self._batch_size,
            length=length,
            full_precision=self._dtype == tf.float32,
            key=[
                *("outputs", self._kind.task.to_dict(), self._kind.max_seq_length),
                *(dataclasses.asdict(self._model.encoder.config), self._dtype.name),
            ],
        )

    def outputs(
        self, rows: EncodedSplit, *, before_batch: Callable[[], None] = lambda: None
    ) -> dict[str, np.ndarray]:
        """Returns each output for all groups of the rows, [groups, ...], in their order.

        What `before_batch` raises ends it. On a device it is called before some batches.
        """
        plan = batches.evaluation_plan(rows, batch_size=self._batch_size)
        if self._device.found:
            return self._compute_on_device(rows, plan, before_batch)
        if self._any_length:
            # Traces it, unless it is traced; calls of all lengths find it.
            first = self._features(rows, plan[0])
            self._step.get_concrete_function(_of_any_length(first, rows.per_token))

        def checked() -> Iterator[tuple[EncodedSplit, np.ndarray]]:
            for groups in plan:
                before_batch()
                yield rows, groups

        collected: dict[str, np.ndarray] = {}
        for groups, found in self._compute_all(checked()):
            for name, value in found.items():
                batches.collect(collected, name, rows.groups, groups, value)
        return collected

    def _compute(
        self, batch: tuple[EncodedSplit, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Returns the groups of a batch of rows, and their outputs."""
        rows, groups = batch
        found = self._step(self._features(rows, groups)).items()
        return groups, {name: value.numpy()[: len(groups)] for name, value in found}

    def _features(self, rows: EncodedSplit, groups: np.ndarray) -> dict[str, tf.Tensor]:
        lengths = (int(rows.group_lengths[groups].max()),) if self._any_length else self._lengths
        features = batches.make_batch(rows, groups, batch_size=self._batch_size, lengths=lengths)
        return {name: tf.constant(value) for name, value in features.items()}

    def _compute_on_device(
        self, rows: EncodedSplit, plan: Sequence[np.ndarray], before_call: Callable[[], None]
    ) -> dict[str, np.ndarray]:
        """Returns the outputs of the batches of a plan."""
        from electra_zh.finetuning.programs.steps import TaskPrograms

        if rows.group not in self._on_device:
            self._on_device[rows.group] = TaskPrograms(
                functools.partial(self.lower, rows),
                self._lengths,
                self._device.found[:1],
                batch_size=self._batch_size,
                room=_DEVICE_CALL,
            )
        programs = self._on_device[rows.group]
        if not (self._fixed and self._weights):
            weights = {name: variable.numpy() for name, variable in self._model.weights().items()}
            self._weights = programs.put(weights)
        state, held = self._weights, programs.hold(rows)
        collected: dict[str, np.ndarray] = {}
        for first in range(0, len(plan), _DEVICE_CALL):
            before_call()
            some = plan[first : first + _DEVICE_CALL]
            state, sums = programs.run(state, held, some)
            sums.collect(collected, rows.groups)
        return collected

    def predict(
        self,
        rows: EncodedSplit,
        examples: Sequence[Any],
        *,
        before_batch: Callable[[], None] = lambda: None,
    ) -> list[Any]:
        """Returns one prediction for each example."""
        if not examples:
            return []
        # Sentences without tokens have no rows.
        outputs = self.outputs(rows, before_batch=before_batch) if rows.groups else {}
        return self._kind.predictions(outputs, rows, examples)

    def evaluate(
        self,
        rows: EncodedSplit,
        examples: Sequence[Any],
        *,
        labelled: bool,
        before_batch: Callable[[], None] = lambda: None,
    ) -> Evaluation:
        """Returns predictions and, for labelled examples, the scores."""
        predictions = self.predict(rows, examples, before_batch=before_batch)
        scores = self._kind.scores(examples, predictions) if labelled else {}
        return Evaluation(predictions, scores)


def _device_lengths(maximum: int) -> tuple[int, ...]:
    """Returns the lengths for unknown texts on a device, which compiles each of them."""
    lengths = batches.all_lengths(maximum)
    parts = {batches.bucket(-(-maximum // part), lengths) for part in (1, 2, 4)}
    return tuple(sorted(parts))


def _of_any_length(
    features: Mapping[str, tf.Tensor], per_token: Iterable[str]
) -> dict[str, tf.TensorSpec]:
    """Returns the types of features; those with a value for each token, [R, L], have no known L."""
    shapes = {name: value.shape.as_list() for name, value in features.items()}
    for name in ("input_ids", "input_mask", "segment_ids", *per_token):
        shapes[name][1] = None
    return {name: tf.TensorSpec(shapes[name], value.dtype) for name, value in features.items()}


class LineWriter:
    """Makes the lines of a file of predictions; a table begins with a header."""

    def __init__(self, *, table: bool) -> None:
        """Makes lines of JSON, or with `table` those of a TSV file."""
        self._table = table
        self._columns: list[str] = []
        self._left: dict[str, None] = {}  # columns that first appear after the header

    def text(self, lines: Sequence[Mapping[str, Any]]) -> bytes:
        """Returns the bytes of lines, of the first ones with the header."""
        if not self._table:
            return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()
        rows = [dict(_flat(line)) for line in lines]
        made = []
        if not self._columns:
            self._columns = list(dict.fromkeys(key for row in rows for key in row))
            made.append(self._columns)
        made += [[_cell(row.get(column)) for column in self._columns] for row in rows]
        self._left |= dict.fromkeys(key for row in rows for key in row if key not in self._columns)
        return "".join("\t".join(cells) + "\n" for cells in made).encode()

    def lines(self) -> Iterator[str]:
        """Yields a line on the values that the table has no column for."""
        if self._left:
            yield (
                f"the table has no column {few(self._left)}, as the first {_BLOCK:,} examples have "
                "none: write a file of JSON lines instead"
            )


def _flat(line: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in line.items():
        if key == "probabilities" and not isinstance(value, list):
            yield from ((f"p({name})", each) for name, each in (value or {}).items())
        else:
            yield key, value


def _cell(value: Any) -> str:
    """Returns a value as a cell: text with spaces for TABs and line ends, lists as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return " ".join(value.splitlines()).replace("\t", " ") if value else ""
    return json.dumps(value, ensure_ascii=False)


class Summary(NamedTuple):
    """The result of `predict`: the number of predictions, lines for the user, a line of scores."""

    predictions: int
    lines: list[str]
    scores: str  # "" without labels


class LoadedTask(NamedTuple):
    """A task of a fine-tuned model, loaded for predictions."""

    kind: TaskKind[Any, Any]
    tokenizer: Tokenizer
    predictor: Predictor


def load(request: PredictionRequest, device: Device = CPU) -> LoadedTask:
    """Loads the task of a request; raises UserError if there is no such model or task."""
    tuned = models.load(request.model)
    kind = tuned.kinds[request.choose_task(list(tuned.kinds))]
    predictor = Predictor(
        tuned.model,
        kind,
        batch_size=request.batch_size,
        precision=choose_precision(request, kind, device),
        device=device,
        fixed=True,
    )
    return LoadedTask(kind, tuned.pretrained.make_tokenizer(), predictor)


def predict(
    request: PredictionRequest,
    device: Device = CPU,
    opened: TaskFile | None = None,
    loaded: LoadedTask | None = None,
) -> Summary:
    """Writes one prediction for each example of a file, in its order.

    The file may be opened before, and the task loaded.

    Raises:
      UserError: the model or the input cannot be read, or no example is among it.
    """
    output = request.output
    kind, tokenizer, predictor = loaded or load(request, device)
    if request.probabilities and not kind.has_probabilities:
        raise UsageError(f"--probabilities is for labels; {kind.task.kind} has none to show")
    problems = BadExamples(skip=request.skip_bad, hint="" if request.plain else SKIP_HINT)
    examples = _open(request, kind, problems, opened or request.open_input()).read(problems)
    describe = functools.partial(
        kind.to_json, inputs=request.with_text, probabilities=request.probabilities
    )
    made = _Predictions(kind)
    writer = LineWriter(table=request.table)
    to_screen = output == "-"
    stream: Any = nullcontext(sys.stdout.buffer) if to_screen else files.atomic_write(output)
    show = progress.silent if to_screen else progress.show
    with stream as file, show("predict", total=0, unit="example") as bar:
        while block := list(itertools.islice(examples, _BLOCK)):
            block = [_checked(each, kind, problems) for each in block]
            problems.check_few(made.counts.total + len(block))
            full = [example for example in block if not example.is_blank]
            rows = kind.encode(full, tokenizer, training=False) if full else None
            found = iter(predictor.predict(rows, full) if rows is not None else ())
            answers = [None if example.is_blank else next(found) for example in block]
            made.add(block, answers, cut=rows.cut if rows is not None else 0)
            file.write(writer.text([describe(*pair) for pair in zip(block, answers, strict=True)]))
            file.flush()
            bar.update(len(block))
        problems.check_few(made.counts.total)
        if not made.counts.total:
            raise UserError(f"{request.input}: no example could be read")
    lines = [*problems.lines(), *made.lines(), *writer.lines()]
    return Summary(made.counts.total, lines, made.scores())


class _Predictions:
    """The predictions of an input so far: counts, texts that were cut, labels for the scores."""

    def __init__(self, kind: TaskKind[Any, Any]) -> None:
        self._kind, self.counts, self._cut = kind, AnswerCounts(kind), 0
        self._labelled: list[tuple[Any, Any]] = []

    def add(self, examples: Sequence[Any], answers: Sequence[Any], *, cut: int) -> None:
        """Adds examples with their predictions; those with a label are kept for the scores."""
        self.counts.add(answers)
        self._cut += cut
        pairs = zip(examples, answers, strict=True)
        self._labelled += [pair for pair in pairs if pair[0].has_label and not pair[0].is_blank]

    def lines(self) -> Iterator[str]:
        """Yields the lines on all predictions, for the user."""
        yield from self.counts.lines()
        if self._cut:
            length = self._kind.max_seq_length
            yield f"{counted(self._cut, 'text')} cut to {length} tokens, the max_seq_length"

    def scores(self) -> str:
        """Returns the line with the scores of the labelled examples; "" without any."""
        if not self._labelled:
            return ""
        examples, predictions = zip(*self._labelled, strict=True)
        if same := same_labels(examples):
            return f"not scored: the only label in the input is {same}"
        scores = self._kind.scores(examples, predictions).items()
        part = "" if len(examples) == self.counts.total else f" of {self.counts.total:,}"
        shown = ", ".join(f"{name} {score:.2f}" for name, score in scores)
        return f"{shown} ({len(examples):,}{part} labelled)"


def _open(
    request: PredictionRequest, kind: TaskKind[Any, Any], problems: BadExamples, file: TaskFile
) -> ExampleReader:
    """Returns the reader for the input, by its content unless the request names one."""
    name = kind.plain_reader if request.plain else request.reader
    if request.plain and not name:
        raise UserError(
            f"task {kind.task.name} ({kind.task.kind}) is not one of texts alone: write its "
            "examples to a file in the task's form, and run `electra-zh predict`"
        )
    if not name:
        if file.form in (content.XML, content.WIKIEXTRACTOR):
            raise UserError(
                f"{request.input} is {content.NAMES[file.form]}: extract its text first, or give "
                f"--reader {kind.plain_reader or kind.task.reader} to read the lines as they are"
            )
        plain = kind.plain_reader and is_plain(file, kind.task)
        name = kind.plain_reader if plain else kind.task.reader
        form = "plain lines, an example per line" if plain else f"a file of the task ({name})"
        problems.note(f"{file.path}: read as {form}")
    return find_reader(name, kind.task, kind.example_type)(
        file.path, kind.task, split="new", file=file
    )


def _checked(example: Any, kind: TaskKind[Any, Any], problems: BadExamples) -> Any:
    """Returns an example, without its label if that is a placeholder."""
    example = kind.usual(example, problems)
    if all(map(kind.is_label, example.label_names)):
        return example
    problems.note("labels of the input that the task does not have are not in the output")
    return example.unlabelled()


def choose_precision(
    request: PredictionRequest, kind: TaskKind[Any, Any], device: Device = CPU
) -> str:
    """Returns the compute type: with that of the fine-tuning the scores of its dev set hold."""
    if request.precision != "auto":
        return request.precision
    tuned = machine.compute_type(kind.task.training.precision)
    if device.platform != "cpu":
        return tuned
    return "float32" if machine.precision_warning(tuned) else tuned
