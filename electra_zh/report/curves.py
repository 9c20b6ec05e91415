"""Panels of curves: which metrics of a run are drawn together, and how to read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from electra_zh.report.runs import HasLines


class Curve(NamedTuple):
    """A metric in the lines of one kind."""

    metric: str
    kind: str  # train or eval
    label: str = ""  # name in the legend of a panel with several curves


class Panel(NamedTuple):
    """A diagram of one or more metrics."""

    name: str  # name of its files
    title: str
    explanation: str  # how to read it
    curves: tuple[Curve, ...]
    # The initial fall of a loss is cut off, so that the rest can be seen.
    is_loss: bool = False


class Section(NamedTuple):
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


class Axis(NamedTuple):
    """A horizontal axis."""

    name: str  # steps, tokens or hours
    key: str  # key of the lines of metrics
    scale: float = 1.0


AXES = (Axis("steps", "step"), Axis("tokens", "tokens"), Axis("hours", "seconds", 1 / 3600))


def _pair(metric: str, held_out: str = "") -> tuple[Curve, Curve]:
    return Curve(metric, "train", "training"), Curve(held_out or metric, "eval", "held-out")


def _networks(metric: str) -> tuple[Curve, Curve]:
    return Curve(metric, "", "discriminator"), Curve(f"generator_{metric}", "", "generator")


SECTIONS = (
    Section(
        "Losses",
        (
            Panel(
                "loss",
                "Total loss",
                "Weighted sum of all losses. Compare it between runs of equal loss weights only.",
                _pair("loss"),
                is_loss=True,
            ),
            Panel(
                "masked_lm_loss",
                "Masked LM loss",
                "Nats per masked token; lower is better. A long plateau near the entropy of token "
                "frequencies means that no context is used yet.",
                _pair("gen_loss", "masked_lm_loss"),
                is_loss=True,
            ),
            Panel(
                "disc_loss",
                "Discriminator loss",
                "It may rise while the generator improves: the fakes become harder.",
                _pair("disc_loss"),
                is_loss=True,
            ),
            Panel(
                "clm_loss",
                "Masked LM loss of the encoder",
                "Nats per masked token of the second masked LM, on the discriminator.",
                (Curve("clm_loss", "train"),),
                is_loss=True,
            ),
            Panel(
                "masked_lm_accuracy",
                "Masked LM accuracy",
                "Fraction of the masked tokens that are the most probable prediction.",
                (Curve("masked_lm_accuracy", "eval"),),
            ),
        ),
    ),
    Section(
        "Generator against discriminator",
        (
            Panel(
                "fakes",
                "Hardness of the fakes",
                "Fraction of the generator's samples that are the true token. As it rises, fewer "
                "tokens are replaced, and those are more plausible.",
                (Curve("sampled_masked_lm_accuracy", "eval"),),
            ),
            Panel(
                "disc_auc",
                "AUC of the discriminator",
                "0.5 is chance. It is over real positions, without padding.",
                _pair("disc_auc_real"),
            ),
            Panel(
                "precision_recall",
                "Precision and recall of fakes",
                "At a probability of 0.5. Recall near 0 is usual in the first hours: replaced "
                "tokens are rare, so few probabilities exceed 0.5.",
                (
                    Curve("disc_precision", "eval", "precision"),
                    Curve("disc_recall", "eval", "recall"),
                ),
            ),
        ),
    ),
    Section(
        "Training",
        (
            Panel(
                "learning_rate",
                "Learning rate",
                "Warm-up, then the schedule of the recipe.",
                (Curve("learning_rate", "train"),),
            ),
            Panel(
                "gradient_norm",
                "Gradient norm",
                "Global norm before the clip. Spikes with a rising loss ask for a lower rate.",
                (Curve("gradient_norm", "train"),),
                is_loss=True,
            ),
            Panel(
                "skipped_steps",
                "Skipped steps",
                "Steps whose gradients were not finite, since the last line of metrics.",
                (Curve("skipped_steps", "train"),),
            ),
            Panel(
                "speed",
                "Speed",
                "Tokens per second, padding included.",
                (Curve("tokens_per_second", "train"),),
            ),
        ),
    ),
    Section(
        "Health",
        (
            Panel(
                "effective_rank",
                "Effective rank of the last layer",
                "From 1 (all states on one line) to the width. Below 8 the network has collapsed.",
                _networks("effective_rank"),
            ),
            Panel(
                "masked_lm_gain",
                "Gain over token frequencies",
                "Nats by which the masked LM is better than token frequencies; 0 on the plateau.",
                (Curve("masked_lm_gain", ""),),
            ),
            Panel(
                "copy_accuracy",
                "Copied tokens",
                "Accuracy at masked positions that show their true token; it should reach 1 soon.",
                (Curve("copy_accuracy", ""),),
            ),
            Panel(
                "neighbour_attention",
                "Attention to neighbours",
                "Probability at the nearest 4 positions in the best head of the first two layers.",
                _networks("neighbour_attention"),
            ),
        ),
    ),
)


class Points(NamedTuple):
    """One curve of one run."""

    x: list[float]
    y: list[float]


def points(log: HasLines, curve: Curve, axis: Axis) -> Points:
    """Returns a curve of a run; empty if its lines do not have the metric or the axis."""
    found = Points([], [])
    for line in log.lines:
        if curve.kind in ("", line["kind"]) and curve.metric in line and axis.key in line:
            found.x.append(float(line[axis.key]) * axis.scale)
            found.y.append(float(line[curve.metric]))
    return found


def panels_with_data(logs: Sequence[HasLines]) -> Iterator[tuple[Section, list[Panel]]]:
    """Yields the sections with those of their panels for which a run has values."""
    kinds = {
        (kind, key)
        for log in logs
        for line in log.lines
        for kind in (line["kind"], "")
        for key in line
    }
    for section in SECTIONS:
        found = [
            panel
            for panel in section.panels
            if any((curve.kind, curve.metric) in kinds for curve in panel.curves)
        ]
        if found:
            yield section, found


def axes_with_data(logs: Sequence[HasLines]) -> list[Axis]:
    """Returns the axes that the lines of every run have; runs of old versions have steps only."""
    return [axis for axis in AXES if all(axis.key in line for log in logs for line in log.lines)]
