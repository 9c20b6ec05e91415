#!/usr/bin/env python3
"""Writes tests/golden/loss_curve.json: the losses of 50 steps of a nano run on made-up data.

    python scripts/make_golden_loss_curve.py

The curve is this tool's own, not the reference's. Write it anew only for a change that is meant to
change the training, and state the reason in the commit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent / "tests"


def main() -> None:
    """Computes the curve and writes it."""
    sys.path.insert(0, str(TESTS))
    from support import loss_curve

    curve = {
        name: [float(f"{value:.7g}") for value in values]
        for name, values in loss_curve.compute().items()
    }
    lines = [f'"{name}": {json.dumps(values)}' for name, values in curve.items()]
    loss_curve.FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"wrote {loss_curve.FILE.name}: loss {curve['loss'][0]} to {curve['loss'][-1]}")


if __name__ == "__main__":
    main()
