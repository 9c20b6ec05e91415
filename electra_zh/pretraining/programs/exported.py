"""The folder of an exported run: its step, its evaluation, and what each phase starts from.

The folder of a run at step 0, and in `program/`, for each phase in a folder of its name:

- the step, as `StepProgram` writes it; `evaluation/`: that of held-out data, if it is evaluated;
  `measures/`: what the networks' health is measured by
- `phase.json`: the sizes of the networks
- `fresh.safetensors`: initial values of the weights that a phase takes from no other
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.pretraining.networks import Networks
from electra_zh.pretraining.phases import compiled_folder
from electra_zh.runtime.program import StepProgram
from electra_zh.training import tensor_file

STEP = "step"  # name of the number of updates among the variables
_PROGRAM, _EVALUATION, _MEASURES = "program", "evaluation", "measures"
_JSON, _FRESH = "phase.json", "fresh.safetensors"


def load_step(run: str, phase: str = "") -> StepProgram:
    """Returns the step of an exported run's phase."""
    return StepProgram.load(_folder(run, phase))


def _folder(run: str, phase: str) -> str:
    return compiled_folder(files.join(run, _PROGRAM), phase) or ""


class ExportedPhase(NamedTuple):
    """A phase of an exported run."""

    step: StepProgram
    evaluation: StepProgram | None  # None without held-out data
    measures: StepProgram | None  # None in exports of earlier versions
    networks: Networks
    fresh: dict[str, np.ndarray]  # weights by name; empty for the first phase

    @property
    def programs(self) -> list[StepProgram]:
        """The programs that there are."""
        return [each for each in (self.step, self.evaluation, self.measures) if each is not None]

    def save(self, run: str, phase: str) -> None:
        """Writes the files of a phase."""
        folder = _folder(run, phase)
        self.step.save(folder)
        for name, program in ((_EVALUATION, self.evaluation), (_MEASURES, self.measures)):
            if program is not None:
                program.save(files.join(folder, name))
        sha256 = tensor_file.write(files.join(folder, _FRESH), self.fresh) if self.fresh else ""
        values = {"networks": self.networks.to_plain(), "fresh": sha256}
        files.write_json(files.join(folder, _JSON), values)

    @classmethod
    def load(cls, run: str, phase: str) -> ExportedPhase:
        """Reads the files of a phase.

        Raises:
          UserError: they are missing or damaged.
        """
        folder, step = _folder(run, phase), load_step(run, phase)
        paths = (files.join(folder, name) for name in (_EVALUATION, _MEASURES))
        evaluation, measures = (
            StepProgram.load(path) if files.exists(path) else None for path in paths
        )
        fresh = files.join(folder, _FRESH)
        with files.explained_damage(folder, "Export the step again"):
            values = files.read_json(files.join(folder, _JSON))
            return cls(
                step,
                evaluation,
                measures,
                Networks.from_plain(values["networks"]),
                tensor_file.read(fresh, sha256=values["fresh"]) if values["fresh"] else {},
            )
