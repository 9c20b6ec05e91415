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


def test_keras_is_loaded_when_it_is_used() -> None:
    program = """
import sys
from electra_zh.commands import loading
loading.load_tensorflow()
print("keras" in sys.modules)
import tensorflow as tf
print(tf.keras.Sequential.__name__, "keras" in sys.modules)
loading.load_tensorflow()
with loading.without_keras():
    import keras
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("False\nSequential True\n", 0), done.stderr
