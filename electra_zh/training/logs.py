"""Logs of a run: `metrics.jsonl`, other trackers and, with TensorFlow, TensorBoard summaries."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from electra_zh import files
from electra_zh.training.trackers import Trackers


class MetricsLog:
    """Writes each line of metrics to `metrics.jsonl` and to TensorBoard event files.

    A resumed run first drops the lines after the step that it resumes from, 0 for a new run. So the
    file is that of a run that was never stopped.
    """

    def __init__(
        self,
        folder: str,
        *,
        resume_step: int,
        context: Callable[[int], Mapping[str, str | float]] = lambda _: {},
        trackers: Trackers | None = None,
        writes: bool = True,
    ) -> None:
        """Opens the log of a run; `context` returns what every line of a step says.

        `trackers` get the same lines. Without `writes` another process writes them.
        """
        self._writes = writes
        self._path = files.join(folder, "metrics.jsonl")
        self._lines: list[str] = []
        if files.exists(self._path):
            lines = files.read_text(self._path).split("\n")
            found = [(line, parse_line(line)) for line in lines]
            self._lines = [line for line, each in found if each and each["step"] <= resume_step]
            # The last may be cut short by a kill.
            damaged = sum(each is None for line, each in found[:-1] if line)
            if damaged and writes:
                logging.warning(f"{self._path} loses its damaged lines: {damaged:,}.")
        if writes:
            files.write_text(self._path, "".join(f"{line}\n" for line in self._lines))
        last = parse_line(self._lines[-1]) or {} if self._lines else {}
        self._context, self._trackers = context, trackers
        self._start, self._seconds_before = time.time(), float(last.get("seconds", 0.0))
        self._writer: Any = None
        # Event files are TensorFlow's. A program that JAX trains does not load it for them.
        if writes and sys.modules.get("tensorflow") is not None:
            self._writer = _event_files(files.join(folder, "tensorboard"))

    def read(self) -> list[dict[str, Any]]:
        """Returns the lines that were there when the log was opened, up to the resumed step."""
        return list(filter(None, map(parse_line, self._lines)))

    def write(self, step: int, kind: str, metrics: Mapping[str, float]) -> None:
        """Appends one line of the metrics after `step`; `kind` is `train` or `eval`.

        `time` is the Unix time, `seconds` that of the complete run, without its interruptions.
        """
        if not self._writes:
            return
        now = time.time()
        seconds = self._seconds_before + now - self._start
        times = {"time": round(now, 3), "seconds": round(seconds, 3)}
        values = {**self._context(step), **metrics}
        line = json.dumps({"step": step, "kind": kind, **times, **values})
        if files.is_remote(self._path):
            # Object stores cannot append: write the whole file, it is small.
            self._lines.append(line)
            files.write_text(self._path, "".join(f"{each}\n" for each in self._lines))
        else:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        scalars = {f"{kind}/{k}": v for k, v in values.items() if not isinstance(v, str)}
        if self._trackers is not None:
            self._trackers.log(step, scalars)
        if self._writer is not None:
            with self._writer.as_default(step=step):
                for name, value in values.items():
                    _write_summary(f"{kind}/{name}", value, step)
            self._writer.flush()

    def write_text(self, step: int, name: str, text: str) -> None:
        """Writes a text to the event files alone, if it is not empty."""
        if self._writer is not None and text:
            with self._writer.as_default(step=step):
                _write_summary(name, text, step)
            self._writer.flush()

    def close(self) -> None:
        """Ends the log."""
        if self._trackers is not None:
            self._trackers.close()


def _event_files(folder: str) -> Any:
    """Returns the writer of event files; None where TensorFlow has no such file system."""
    import tensorflow as tf

    scheme, found, _ = folder.partition("://")
    if found and scheme not in tf.io.gfile.get_registered_schemes():
        logging.info(
            "No event files for TensorBoard: TensorFlow cannot write to %s://. metrics.jsonl has "
            "all values.",
            scheme,
        )
        return None
    return tf.summary.create_file_writer(folder)


def has_line(folder: str, step: int, kind: str) -> bool:
    """Returns whether the log of a run has the line of a kind after `step`."""
    path = files.join(folder, "metrics.jsonl")
    lines = files.read_text(path).split("\n") if files.exists(path) else []
    found = filter(None, map(parse_line, lines))
    return any(line["step"] == step and line["kind"] == kind for line in found)


def parse_line(line: str) -> dict[str, Any] | None:
    """Returns the values of a line of metrics; None for other text, as a line that is cut short.

    All values but the names of the kind and the phase are numbers.
    """
    try:
        found = json.loads(line)
        found |= {"step": int(found["step"]), "kind": str(found["kind"])}
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        return None
    texts = {name for name, value in found.items() if not isinstance(value, int | float)}
    return found if texts <= {"kind", "phase"} else None


def _write_summary(tag: str, value: float | str, step: int) -> None:
    """Writes a number or a text; `tf.summary.scalar` would need the tensorboard package."""
    import tensorflow as tf

    is_text, metadata = isinstance(value, str), tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "text" if is_text else "scalars"
    metadata.data_class = 2 if is_text else 1  # DATA_CLASS_TENSOR, DATA_CLASS_SCALAR
    tensor = tf.constant([value]) if is_text else tf.constant(value, tf.float32)
    tf.summary.write(tag, tensor, step=step, metadata=metadata)
