"""Masked LM alone (BERT: Devlin et al. 2018, without next sentence prediction)."""

from __future__ import annotations

from electra_zh.models.heads import MaskedLmHead
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import SpecialIds
from electra_zh.pretraining.networks import Networks
from electra_zh.pretraining.objectives.base import Objective, ObjectiveInputs, PretrainOutput


class MaskedLM(Objective):
    """Masked LM with one full-size network: BERT without next sentence prediction."""

    @classmethod
    def networks(cls, config: PretrainConfig) -> Networks:
        """Returns the encoder with its masked LM head alone."""
        return Networks(None, config.model, has_detection=False)

    def __init__(self, config: PretrainConfig, special: SpecialIds) -> None:
        super().__init__(config, special)
        self.masked_lm_head = MaskedLmHead(config.model, "masked_lm_head", seed=config.seed)

    def compute(self, inputs: ObjectiveInputs) -> PretrainOutput:
        """Predicts the masked tokens."""
        batch, masked, counts, _, dropout_key, _ = inputs
        logits = self._masked_lm_logits(self.encoder, batch, masked, key=dropout_key)
        mlm, _ = self._masked_lm_output(logits, masked, counts)
        return PretrainOutput(self.config.gen_weight * mlm.loss, mlm, None)


OBJECTIVE = MaskedLM
