"""Trackers get the settings once and the lines of metrics; none can stop a training."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from electra_zh import cli
from electra_zh.errors import UserError
from electra_zh.training import trackers
from electra_zh.training.logs import MetricsLog

# Substitutes for the packages, with the functions that are called; they record the calls.
FAKE = """
calls = []

class Run:
    def log(self, values, step):
        calls.append(("log", dict(values), step))

    def finish(self):
        calls.append(("finish",))

def init(**settings):
    calls.append(("init", settings))
    return Run()

def log(values, step):
    calls.append(("log", dict(values), step))

def finish():
    calls.append(("finish",))

def set_experiment(name):
    pass

def start_run(run_name, tags):
    pass

def log_params(values):
    calls.append(("init", {"config": values}))

def log_metrics(values, step):
    log(values, step)

def end_run():
    finish()
"""


@pytest.fixture(params=trackers.tracker_names())
def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a tracker whose package is a substitute."""
    name = str(request.param)
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / f"{name}.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def track(name: str, folder: Path) -> MetricsLog:
    folder.mkdir(exist_ok=True)
    started = trackers.start([name], str(folder), {"seed": 1, "model": {"hidden_size": 8}})
    return MetricsLog(str(folder), resume_step=0, trackers=started)


def test_a_tracker_gets_the_settings_and_the_lines(package: str, tmp_path: Path) -> None:
    log = track(package, tmp_path / "run")
    log.write(10, "train", {"loss": 2.5})
    log.close()
    calls = importlib.import_module(package).calls
    assert [call[0] for call in calls] == ["init", "log", "finish"]
    assert calls[0][1]["config"] == {"seed": 1, "model.hidden_size": 8}
    assert calls[1][1:] == ({"train/loss": 2.5}, 10)
    sys.modules.pop(package)


def test_a_resumed_run_has_the_same_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(trackers, "Trackers", lambda _, tracked: started.append(tracked))
    for name in ("a", "a", "b"):
        (tmp_path / name).mkdir(exist_ok=True)
        trackers.start(["wandb"], str(tmp_path / name), {})
    assert started[0].identity == started[1].identity != started[2].identity
    assert (len(started[0].identity), started[0].name) == (21, "a")


def test_an_error_of_a_tracker_does_not_stop_the_run(
    package: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = importlib.import_module(package)

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no network")

    module.log = module.Run.log = fail  # type: ignore[attr-defined]
    log = track(package, tmp_path / "run")
    log.write(10, "train", {"loss": 2.5})
    log.write(20, "train", {"loss": 2.4})
    log.close()
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    assert f"{package} is no longer used: no network" in caplog.text
    assert ("finish",) not in module.calls
    sys.modules.pop(package)


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'electra-zh\[swanlab\]'"):
        trackers.check_installed(["swanlab"])


def test_a_wrong_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parse("pretrain", ["--data", "d", "--output", "o", "--track", "wandbb"])
    assert 'Did you mean "wandb"?' in capsys.readouterr().err


def test_nothing_is_tracked_by_default(tmp_path: Path) -> None:
    assert trackers.start([], str(tmp_path), {}) is None
    assert list(tmp_path.iterdir()) == []
