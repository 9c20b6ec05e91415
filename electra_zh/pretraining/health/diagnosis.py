"""The causes of a plateau or a collapse, and the settings that cure them.

A finding needs a minimum of learning, the sum of the learning rates so far: the first steps of a
long warm-up change nothing, so they say nothing. The limits were chosen on networks of width 128 to
312; docs/en/pretraining.md has typical values. This module does not import TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from absl import logging

from electra_zh.pretraining.config import PretrainConfig

# Sums of learning rates from which on a network should copy and not be collapsed, and from which
# on it should have left the plateau.
_COPIES, _COLLAPSES, _LEFT_PLATEAU = 0.1, 0.1, 0.3
# A network that copies fewer of the shown tokens does not copy; one that gains less is on the
# plateau of token frequencies, and one that gains more than the second number has left it.
_COPY_ACCURACY, _GAIN, _CLEAR_GAIN = 0.5, 0.1, 0.5
# The effective rank of a collapsed network is below this and does not rise by that factor from one
# measure to the next: a discriminator with a masked LM loss starts low, and rises. The last number
# is above the AUC of a blind one.
_RANK, _RISE, _AUC = 8.0, 1.15, 0.55
# Until this sum of learning rates or this step a run is measured at its lines of metrics, too, at
# most once in `_EVERY` steps.
_EARLY_RATES, _EARLY_STEPS, _EVERY = 0.5, 1000, 50


class Finding(NamedTuple):
    """A cause, with its symptoms in the figures of the run and its cures."""

    cause: str  # name of the cause
    text: str  # sentences for the user


def find_causes(
    measures: Mapping[str, float],
    config: PretrainConfig,
    *,
    rates: float,
    before: Mapping[str, float] | None = None,
) -> Iterator[Finding]:
    """Yields the causes that the measures show after a sum `rates` of learning rates.

    `before` has the measures before these.
    """
    copies, gain = measures.get("copy_accuracy", 1.0), measures.get("masked_lm_gain")
    entropy = measures["unigram_entropy"]
    if rates >= _COPIES and copies < _COPY_ACCURACY and (gain is None or gain < _GAIN):
        yield Finding(
            "first steps",
            f"The masked LM does not even copy: it is right at {copies:.0%} of the masked "
            "positions that show their true token, after a total learning rate that teaches "
            "this to a healthy network. The learning rate of the first steps was too high and the "
            "network may never recover. Start again with a longer warm-up "
            f"(num_warmup_steps={max(2 * config.num_warmup_steps, 500)}) or half the learning_rate"
            f"{_cures(config, adam_bias_correction=True)}.",
        )
        return
    if rates >= _LEFT_PLATEAU and gain is not None and gain < _GAIN:
        yield Finding("plateau", _plateau(measures, config, gain, entropy))
    rank, auc = measures["effective_rank"], measures.get("disc_auc_tokens")
    if auc is None:
        return
    rises = before is not None and rank > _RISE * before["effective_rank"]
    low = rank < min(_RANK, config.model.hidden_size / 8)
    if rates >= _COLLAPSES and low and not rises:
        yield Finding(
            "collapse",
            f"The discriminator has collapsed: the effective rank of its last layer is {rank:.1f} "
            f"of {config.model.hidden_size}, AUC {auc:.3f}. Such an encoder is a worse start than "
            f"random weights: it needs {'' if config.clm_weight else 'a masked LM loss, or '}"
            "to start from a masked LM (--init RUN of objective=masked_lm)"
            f"{_cures(config, clm_weight=1.0, objective='joint')}.",
        )
    elif config.objective == "electric":  # its logits begin with the noise's probabilities
        return
    elif rates >= _LEFT_PLATEAU and not low and auc < _AUC and (gain is None or gain > _CLEAR_GAIN):
        yield Finding(
            "fakes",
            f"The discriminator finds no fakes: AUC {auc:.3f} (0.5 is chance), while the masked LM "
            "has learnt. The fakes are harder than what the discriminator knows. Use a weaker "
            "generator (a higher temperature, a smaller generator_hidden_size or "
            f"generator_layers){_cures(config, clm_weight=1.0)}.",
        )


def _plateau(
    measures: Mapping[str, float], config: PretrainConfig, gain: float, entropy: float
) -> str:
    near = measures.get("generator_neighbour_attention", measures["neighbour_attention"])
    text = (
        f"The masked LM is on the plateau of token frequencies: at masked positions it gains "
        f"{gain:.2f} nats over their entropy of {entropy:.2f}. The probability at neighbours is at "
        f"most {near:.2f} in the heads of the first layers; evenly spread it is "
        f"{4 / config.max_seq_length:.2f}. Attention must learn to look at neighbours first"
    )
    cures = _cures(config, attention_start="local")
    if "generator_effective_rank" in measures and config.generator_hidden_size < 1:
        cures += ", a generator of full width and few layers (generator_hidden_size=1)"
    return f"{text}{cures}." if cures else f"{text}. More steps, or a higher learning_rate, help."


def _cures(config: PretrainConfig, **values: object) -> str:
    """Returns settings of the run that are not yet so, as the end of a sentence."""
    news = [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in values.items()
        if getattr(config, name, value) != value
    ]
    return "; try " + " or ".join(news) if news else ""


class HealthCheck:
    """Measures a run at its steps, and warns of each cause once, when it is found twice in a row.

    `rate` is the learning rate of a step of the run, `first_step` the last step before its phase.
    """

    def __init__(
        self,
        config: PretrainConfig,
        measure: Callable[[], dict[str, float]],
        rate: Callable[[int], float],
        *,
        first_step: int = 0,
    ) -> None:
        self._first_step = first_step
        self._config = config
        self._measure = measure
        self._rate = rate
        self._last: tuple[int, dict[str, float]] = (-1, {})
        self._before: set[str] = set()
        self._warned: set[str] = set()

    def is_due(self, step: int) -> bool:
        """Returns whether the line of metrics after `step` has measures: early, not too often."""
        done = step - self._first_step
        early = done <= _EARLY_STEPS or self._rates(step) <= _EARLY_RATES
        return early and done // _EVERY > (done - self._config.log_steps) // _EVERY

    def _rates(self, step: int) -> float:
        """Returns the sum of the learning rates of the phase so far, from eight steps of it."""
        first, done = self._first_step, step - self._first_step
        eighths = (first + max(done * (2 * part + 1) // 16, 1) for part in range(8))
        return sum(map(self._rate, eighths)) / 8 * done

    def measure(self, step: int) -> dict[str, float]:
        """Returns the measures after `step`, and warns of the causes."""
        last_step, before = self._last
        if last_step != step:
            self._last = step, self._measure()
            if self._last[1]:
                self._warn(step, self._last[1], before or None)
        return self._last[1]

    def _warn(
        self, step: int, measures: Mapping[str, float], before: Mapping[str, float] | None
    ) -> None:
        rates = self._rates(step)
        found = list(find_causes(measures, self._config, rates=rates, before=before))
        for cause, text in found:
            if cause in self._before and cause not in self._warned:
                self._warned.add(cause)
                logging.warning("Step %d: %s", step, text)
        self._before = {finding.cause for finding in found}
