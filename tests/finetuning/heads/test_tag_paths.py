"""The best legal sequence of tags: against all sequences there are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.finetuning.encoding.tags import tag_names
from electra_zh.finetuning.heads.tag_paths import best_tags


def legal(tags: Sequence[str], *, inside: tuple[bool, bool]) -> bool:
    """Tags are complete entities; at a cut, one may have begun or may continue."""
    entity = tags[0][1:] if inside[0] and tags[0][0] in "IE" else None
    for tag in tags:
        if (tag[0] in "IE") != (entity is not None) or (entity is not None and tag[1:] != entity):
            return False
        entity = tag[1:] if tag[0] in "BI" else None
    return entity is None or inside[1]


@given(st.integers(0, 2**32 - 1), st.tuples(st.booleans(), st.booleans()), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_the_path_is_the_best_of_all_legal_ones(
    seed: int, inside: tuple[bool, bool], length: int
) -> None:
    tags = tag_names(["A", "B"])
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(1, 6, len(tags))).astype(np.float32)
    places = np.sort(generator.permutation(6)[:length])
    is_word = np.isin(np.arange(6), places)[None]
    found = best_tags(
        tf.constant(logits),
        tf.constant(is_word),
        tf.constant([inside], tf.float32),
        tags=tags,
    ).numpy()[0, places]
    paths = [
        path
        for path in itertools.product(range(len(tags)), repeat=length)
        if legal([tags[tag] for tag in path], inside=inside)
    ]
    assert tuple(found) == max(paths, key=lambda path: logits[0, places, path].sum())
