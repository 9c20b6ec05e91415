"""Learning curves of fine-tuning: the dev score and the training loss of each trial, by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.report import plots
from electra_zh.report.language import Say
from electra_zh.report.plots import Palette, Plot
from electra_zh.report.runs import METRICS, read_metrics
from electra_zh.report.scores import Results


class TrialCurve(NamedTuple):
    """A trial of a model on a task; of jointly trained tasks the loss is that of all."""

    task: str  # key of the task in the results
    model: str  # name of the results
    seed: int
    scores: Sequence[float]  # on dev, after each epoch
    losses: Sequence[float]  # mean loss of the examples of each epoch


def trial_curves(found: Sequence[Results]) -> list[TrialCurve]:
    """Returns the curves of the trials at the best setting; those without metrics are omitted."""
    return [
        curve
        for results in found
        for name, task in results.summary["tasks"].items()
        for trial in task["trials"]
        if trial["setting"] == task["setting"]
        for curve in _curve(results, name, task, trial)
    ]


def _curve(
    results: Results, name: str, task: Mapping[str, Any], trial: Mapping[str, Any]
) -> Iterator[TrialCurve]:
    folder = files.join(results.folder, trial["folder"])
    # The folder of a task that was trained jointly is inside that of the trial.
    paths = (files.join(each, METRICS) for each in (folder, folder.rpartition("/")[0]))
    lines = next((read_metrics(path) for path in paths if files.exists(path)), [])
    key = task["task"]
    scores = [line[key] for line in lines if line["kind"] == "eval" and key in line]
    losses = [line["loss"] for line in lines if line["kind"] == "train" and "loss" in line]
    if scores:
        yield TrialCurve(name, results.name, trial["seed"], scores, losses)


def draw_epochs(
    task: str, curves: Sequence[TrialCurve], models: Sequence[str], *, say: Say = str
) -> Plot:
    """Draws the dev scores and the losses of a task; a colour per model, a line per trial."""

    def draw(figure: Any, palette: Palette, for_page: bool) -> None:
        left, right = figure.subplots(1, 2)
        for curve in curves:
            colour = palette.series[models.index(curve.model) % len(palette.series)]
            style: dict[str, Any] = {"color": colour, "linewidth": 1.3, "alpha": 0.75}
            for axes, values in ((left, curve.scores), (right, curve.losses)):
                axes.plot(range(1, len(values) + 1), values, marker="o", markersize=2.6, **style)
        for axes, label in ((left, "score on dev, %"), (right, "training loss")):
            axes.set_xlabel(say("epoch"))
            axes.set_ylabel(say(label))
            axes.xaxis.get_major_locator().set_params(integer=True)
            plots.set_frame(axes)
        if not for_page:
            figure.suptitle(task, fontsize=9.5)
            plots.name_models(figure, models, palette)

    return Plot(draw, (6.5, 2.6))
