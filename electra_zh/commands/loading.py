"""TensorFlow, loaded when a command needs it and without its messages."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

from absl import logging

from electra_zh import machine
from electra_zh.runtime.device import Device, choose


def load_tensorflow(device: Device | None = None, *, log_machine: bool = False) -> None:
    """Sets up the machine and imports TensorFlow without its start-up messages.

    TensorFlow does not see the GPUs that a chosen `device` excludes or that JAX uses.
    --verbose and TF_CPP_MIN_LOG_LEVEL=0 show the messages. `log_machine` logs the machine, for
    commands that compute.
    """
    line = machine.set_up()
    if log_machine:
        logging.info(line)
    with without_keras():
        _load()
    tensorflow = sys.modules["tensorflow"]
    tensorflow.get_logger().setLevel("ERROR")
    if device is not None and not device.may_be_gpu:
        # It would place operations on them, and take all of their memory.
        tensorflow.config.set_visible_devices([], "GPU")


def _load() -> None:
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        import tensorflow
    else:
        # 3 would hide native errors too, but the only one seen at start is "no GPU here".
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet_stderr():
            import tensorflow

            # Looked for once: without a GPU, and after JAX, a native library writes an error here.
            tensorflow.config.list_physical_devices("GPU")


def choose_device(name: str, most: int | None = None) -> Device:
    """Returns at most `most` devices of a name, before TensorFlow is loaded."""
    device = choose(name, most=most)
    prepare_device(device)
    return device


def prepare_device(device: Device) -> None:
    """Prepares TensorFlow, before it is loaded, to lower steps for devices of JAX."""
    if device.found:
        from electra_zh.runtime import lowering

        lowering.prepare()


@contextlib.contextmanager
def without_keras() -> Iterator[None]:
    """Makes imports of Keras fail in the block, unless it is loaded.

    TensorFlow loads its optimizers, a third of the time of its own import, and does without them if
    that fails. `tf.keras` is there after the block.
    """
    if "keras" in sys.modules:
        yield
        return
    sys.modules["keras"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["keras"]


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Holds back what native libraries write to standard error; shows it if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except Exception:  # not a signal
            os.dup2(kept, 2)
            sink.seek(0)
            os.write(2, sink.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
