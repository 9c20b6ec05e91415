"""Inputs of the fuzz tests: valid bytes that are changed in a few places, and random ones.

`FUZZ_EXAMPLES` is the number of inputs of each test: a few in `make test`, thousands in
`make fuzz`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
fuzz: Callable[[Any], Any] = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck)
)
# Pieces that readers look at, and numbers at the borders of types.
PIECES = (
    *(b"\0", b"\n", b"\r\n", b"\t", b" ", b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\", b"\\u"),
    *(
        b"null",
        b"true",
        b"NaN",
        b"Infinity",
        b"-1",
        b"0",
        b"1e999",
        b"9" * 30,
        b"\xff",
        b"\xef\xbb",
    ),
    *(b"\xff\xff\xff\xff", b"\x80" * 10, b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xe2\x80\xa8"),
    *(
        "一".encode(),
        b"##",
        b"[MASK]",
        b"- ",
        b": ",
        b"&a",
        b"*a",
        b"!!python/name:os.system",
        b"..",
        b"/",
    ),
)


@st.composite
def changed(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """Draws one of the valid inputs with up to six changes."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(data)))
        end = min(len(data), place + draw(st.integers(1, 64)))
        kind = draw(
            st.sampled_from(["flip", "remove", "repeat", "piece", "random", "cut", "shift"])
        )
        if kind == "flip" and place < len(data):
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "remove":
            del data[place:end]
        elif kind == "repeat":
            data[place:place] = data[place:end] * draw(st.integers(1, 20))
        elif kind == "piece":
            data[place:end] = draw(st.sampled_from(PIECES))
        elif kind == "random":
            data[place:place] = draw(st.binary(max_size=16))
        elif kind == "cut":
            del data[place:]
        elif place < len(data):
            data[place:] = data[place:][::-1] if len(data) - place < 64 else data[place + 1 :]
    return bytes(data)


def inputs(*valid: bytes) -> st.SearchStrategy[bytes]:
    """Returns changed valid inputs, and sometimes random bytes."""
    return st.one_of(changed(valid), changed(valid), changed(valid), st.binary(max_size=300))
