"""The report of a run that starts from another model, and the learning rate that it suggests."""

from __future__ import annotations

from collections.abc import Iterable

from electra_zh.convert.adapt import TokenCounts
from electra_zh.convert.weights import Weights
from electra_zh.models.weight_names import OWN_PARTS
from electra_zh.pretraining.config import PretrainConfig

_PARTS = (
    *("encoder embeddings", "encoder layers", "generator", "masked_lm_head", "rtd_head"),
    *OWN_PARTS,
)
_OTHERS = "heads of tasks"

# Published settings by width: up to which, learning rate, batch (Clark et al. 2020).
_ELECTRA_RATES = ((511, 5e-4, 128), (1023, 2e-4, 256), (10**9, 2e-4, 2048))
# Devlin et al. 2018, appendix A.2.
_BERT_RATE = (1e-4, 256)


def _part(name: str) -> str:
    if name.startswith("encoder/"):
        return _PARTS[1] if name.startswith("encoder/layers/") else _PARTS[0]
    first = name.partition("/")[0]
    return first if first in _PARTS else _OTHERS


def table(taken: Iterable[str], wanted: Iterable[str], found: Iterable[str]) -> list[str]:
    """Returns the lines of the table of tensors: loaded, fresh and left over, part by part."""
    loaded, fresh = set(taken), set(wanted) - set(taken)
    left = set(found) - loaded
    rows: list[tuple[str, ...]] = [("tensors", "loaded", "fresh", "left over")]
    for part in (*_PARTS, _OTHERS):
        counts = [sum(_part(name) == part for name in group) for group in (loaded, fresh, left)]
        if any(counts):
            rows.append((part, *map(str, counts)))
    return [f"  {row[0]:18s}  {row[1]:>6s}  {row[2]:>6s}  {row[3]:>9s}" for row in rows]


def tokens_line(tokens: TokenCounts) -> str:
    """Returns the origins of the embeddings of tokens."""
    return (
        f"tokens: {tokens.shared:,} are the source's; of {tokens.composed + tokens.random:,} new "
        f"ones {tokens.composed:,} start as the mean of their pieces and {tokens.random:,} "
        f"at random; {tokens.dropped:,} of the source's are dropped"
    )


def positions_line(kept: int, positions: int) -> str:
    """Returns the origins of the embeddings of positions."""
    copied = positions - kept
    more = f"; the other {copied:,} start as copies of them, from the first on" if copied else ""
    return f"positions: {kept:,} are the source's{more}"


def advice(weights: Weights, config: PretrainConfig) -> str:
    """Returns a line that suggests learning rate and warm-up for continued pretraining.

    The rule: the source's rate times the ratio of the batches if this run's is smaller, times its
    square root if it is larger, the more cautious of the two usual rules. The warm-up is a tenth of
    the steps up to 1,000, or 1 % of a long run: only Adam's averages start empty.
    """
    trained = weights.trained
    if trained is not None:
        rate, batch, whose = trained.learning_rate, trained.batch, "the source was trained at"
    elif weights.kind.startswith("BERT"):
        rate, batch, whose = *_BERT_RATE, "BERT was published with"
    else:
        width = weights.model.hidden_size
        rate, batch = next(known[1:] for known in _ELECTRA_RATES if width <= known[0])
        whose = "ELECTRA of this width was published with"
    ratio = config.train_batch_size / batch
    proposed = rate * (ratio if ratio < 1 else ratio**0.5)
    steps = config.num_train_steps
    warmup = max(min(1000, steps // 10), steps // 100)
    proposal, given = f"learning_rate={proposed:.1e}", f"{config.learning_rate:.1e}"
    if not config.budget_hours:  # it scales the warm-up with the steps
        proposal += f" num_warmup_steps={warmup}"
        given += f", {config.num_warmup_steps}"
    return (
        f"suggested (not applied): {proposal} (set: {given}). {whose} {rate:.1e} in batches of "
        f"{batch}; the rule is the ratio of the batches for a smaller one, its square root for a "
        "larger one"
    )
