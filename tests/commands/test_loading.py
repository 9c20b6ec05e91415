"""TensorFlow is loaded without messages of native libraries."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import types

import pytest

from electra_zh import cli, machine
from electra_zh.commands import loading
from electra_zh.errors import UserError
from electra_zh.runtime import device
from electra_zh.runtime.device import has_jax
from electra_zh.training import loop


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


@pytest.mark.parametrize(
    ("name", "jax", "hidden"),
    [("cpu", True, True), ("cpu", False, True), ("pjrt:cpu", True, True), ("auto", False, False)],
)
def test_tensorflow_sees_no_gpu_that_it_is_not_to_use(
    monkeypatch: pytest.MonkeyPatch, name: str, jax: bool, hidden: bool
) -> None:
    gpus = ["GPU:0"]
    fake = types.SimpleNamespace(
        config=types.SimpleNamespace(
            list_physical_devices=lambda _: ["GPU:0"],
            get_visible_devices=lambda _: gpus,
            set_visible_devices=lambda found, kind: gpus.__setitem__(slice(None), found),
        ),
        get_logger=lambda: logging.getLogger("fake"),
    )
    monkeypatch.setitem(sys.modules, "tensorflow", fake)
    monkeypatch.setattr(machine, "set_up", lambda: "")
    monkeypatch.setattr(device, "has_jax", lambda: jax)
    loading.load_tensorflow(device.choose(name))
    assert gpus == ([] if hidden else ["GPU:0"])
    assert loop.use_xla() is (None if hidden else True)


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


@pytest.mark.parametrize(("error", "shown"), [(ValueError, "noise\n"), (KeyboardInterrupt, "")])
def test_messages_of_libraries_are_shown_after_an_error_alone(
    capfd: pytest.CaptureFixture[str], error: type[BaseException], shown: str
) -> None:
    def fail() -> None:
        with loading.quiet_stderr():
            os.write(2, b"noise\n")
            raise error

    with pytest.raises(error):
        fail()
    assert capfd.readouterr().err == shown


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("export-step --config nano --data data --output run", "export-step needs JAX"),
        ("compile --config nano --for gpu:h100", r"--for gpu:h100 needs JAX: .*\[gpu\]"),
        ("estimate --config nano --for tpu:v5e", r"--for tpu:v5e needs JAX: .*\[tpu\]"),
    ],
)
def test_commands_without_jax_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, command: str, message: str
) -> None:
    monkeypatch.setattr(device, "has_jax", lambda: False)
    name, *words = command.split()
    with pytest.raises(UserError, match=message):
        cli.load_command(name).run(cli.parse(name, words))
