"""jieba's model for words that are not in its dictionary, over many runs of characters at once.

jieba gives runs of ideographs without dictionary words to a hidden Markov model whose states are
places in a word: B begin, M middle, E end, S a word of one character. `WordModel.starts` finds the
best states for all runs of a block together, position by position. The sums are jieba's own, the
same float64 additions in the same order, and so are its ties: the larger letter wins.
Source: jieba 0.42.1, finalseg/__init__.py, viterbi.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Weight of a character or a transition that the model does not know.
_UNKNOWN = -3.14e100
_STATES = "BEMS"
_B, _E, _M, _S = range(4)
# The two possible states before each, in the order of `_STATES`; the second wins ties.
_BEFORE = ((_E, _S), (_B, _M), (_B, _M), (_E, _S))


class WordModel:
    """Finds the words in runs of ideographs."""

    def __init__(
        self,
        start: Mapping[str, float],
        steps: Mapping[str, Mapping[str, float]],
        emissions: Mapping[str, Mapping[str, float]],
    ) -> None:
        """Stores logarithms of probabilities: of the first state, of steps, of characters."""
        self._start = np.array([start[state] for state in _STATES])
        self._steps = [
            [steps[_STATES[each]].get(state, _UNKNOWN) for each in pair]
            for state, pair in zip(_STATES, _BEFORE, strict=True)
        ]
        points = [ord(char) for table in emissions.values() for char in table if len(char) == 1]
        # Row 0 is for all characters that the model does not know.
        self._rows = np.zeros(max(points) + 2, np.int32)
        known = np.unique(points)
        self._rows[known] = np.arange(1, len(known) + 1)
        self._emissions = np.full((4, len(known) + 1), _UNKNOWN)
        for index, state in enumerate(_STATES):
            for char, value in emissions[state].items():
                if len(char) == 1:
                    self._emissions[index, self._rows[ord(char)]] = value

    def starts(self, codepoints: np.ndarray, firsts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Returns the positions in the text of the characters that begin a word, int64, unordered.

        Args:
          codepoints: of the text.
          firsts: int64 [R], the first characters of the runs.
          ends: int64 [R], their ends, exclusive; no run is empty.
        """
        if not len(firsts):
            return np.zeros(0, np.int64)
        order = np.argsort(firsts - ends, kind="stable")  # the longest first
        firsts, lengths = firsts[order], (ends - firsts)[order]
        # At step t the runs that are longer than t are the first `active[t]`.
        active = np.searchsorted(-lengths, -np.arange(lengths[0]), side="left").tolist()
        rows = self._rows.take(np.minimum(codepoints, len(self._rows) - 1))
        choices, states = self._forward(rows, firsts, active)
        found = [firsts]
        state = np.zeros(0, np.int64)
        before = np.array(_BEFORE).reshape(-1)
        for step in range(len(active) - 1, 0, -1):
            state = np.concatenate([state, states[len(state) : active[step]]])
            found.append(firsts[: active[step]][(state == _B) | (state == _S)] + step)
            second = choices[step - 1][state, np.arange(len(state))]
            state = before[2 * state + second]
        return np.concatenate(found)

    def _forward(
        self, rows: np.ndarray, firsts: np.ndarray, active: list[int]
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Walks all runs from their first characters to their last.

        Returns:
          For each step from the second on, whether the second of the two possible states before
          each state is the better one, bool [4, active]; and the last state of each run.
        """
        weights = self._start[:, None] + self._emissions[:, rows[firsts]]
        last = weights.copy()
        choices: list[np.ndarray] = []
        for step, count in enumerate(active[1:], 1):
            emissions = self._emissions[:, rows[firsts[:count] + step]]
            weights = weights[:, :count]
            following = np.empty_like(emissions)
            seconds = np.empty(emissions.shape, np.bool_)
            for state, (one, other) in enumerate(_BEFORE):
                by_one = weights[one] + self._steps[state][0] + emissions[state]
                by_other = weights[other] + self._steps[state][1] + emissions[state]
                np.greater_equal(by_other, by_one, out=seconds[state])
                np.maximum(by_one, by_other, out=following[state])
            weights = following
            choices.append(seconds)
            last[:, :count] = weights
        return choices, np.where(last[_S] >= last[_E], _S, _E)
