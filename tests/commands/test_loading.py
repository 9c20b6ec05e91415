"""TensorFlow is loaded without messages of native libraries."""

from __future__ import annotations

import subprocess
import sys

from electra_zh.runtime.device import has_jax


def test_tensorflow_is_silent_after_jax() -> None:
    assert has_jax()
    code = (
        "from electra_zh.commands.loading import load_tensorflow\n"
        "from electra_zh.runtime.device import choose\n"
        "from electra_zh.training.loop import use_xla\n"
        "choose('auto'); load_tensorflow(); use_xla()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
