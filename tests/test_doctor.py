"""doctor: each check's verdict and advice, and the command's exit code."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from electra_zh import doctor, machine
from electra_zh.commands.command import Call
from electra_zh.commands.doctor import Doctor
from electra_zh.commands.doctor import doctor as command
from support.runner import electra


def _without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *args: None if name in names else found(name)
    )


@pytest.mark.parametrize(
    ("listed", "status", "found", "advice"),
    [
        (["numpy>=2"], "ok", "1 installed, all within", ""),
        (["numpy>=99"], "warning", "numpy ", "pip install 'numpy>=99'"),
        (["no-such-package<2,>=1"], "error", "missing: no-such-package", "'no-such-package<2,>=1'"),
        (['no-such-package>=1; extra == "gpu"'], "ok", "0 installed", ""),
        (['numpy>=99; extra == "test"'], "ok", "0 installed", ""),
        (['numpy>=99; extra == "gpu"'], "warning", "(tested: >=99)", "'numpy>=99'"),
    ],
)
def test_packages(
    monkeypatch: pytest.MonkeyPatch, listed: list[str], status: str, found: str, advice: str
) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: listed)
    check = doctor.check_packages()
    assert (check.status, bool(check.advice)) == (status, bool(advice))
    assert found in check.found
    assert advice in check.advice


def test_an_untested_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.99.1")
    monkeypatch.setattr(doctor, "_tested_pythons", lambda: ["3.11", "3.12"])
    check = doctor.check_python()
    assert (check.status, check.found) == ("warning", "3.99.1")
    assert check.advice == "Python 3.99 is not tested. Use 3.11 or 3.12 if anything fails."


@pytest.mark.parametrize(("has_jax", "status"), [(True, "warning"), (False, "error")])
def test_without_tensorflow(monkeypatch: pytest.MonkeyPatch, has_jax: bool, status: str) -> None:
    _without(monkeypatch, "tensorflow", *([] if has_jax else ["jax"]))
    check = doctor.check_tensorflow(lambda: pytest.fail("imports TensorFlow"))
    assert (check.status, check.found) == (status, "missing")
    assert "pip install tensorflow" in check.advice
    assert doctor.check_bfloat16().found == "not measured without TensorFlow"


@pytest.mark.parametrize(
    ("load", "given", "status", "advice"),
    [
        (0.5, "", "ok", ""),
        (9.0, "", "warning", "Other processes use the CPUs"),
        (0.5, "7", "warning", "TF_NUM_INTRAOP_THREADS is set; 2 would be chosen"),
    ],
)
def test_threads(
    monkeypatch: pytest.MonkeyPatch, load: float, given: str, status: str, advice: str
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(machine, "threads", lambda: 2)
    monkeypatch.setattr(machine, "usable_cpus", lambda: 4)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", given or "2")
    check = doctor.check_threads()
    assert check.status == status
    assert advice in check.advice


@pytest.mark.parametrize(
    ("available", "status", "shown"),
    [
        (8e9, "ok", "8.0 GB available of 16.0 GB, the container's limit"),
        (1e9, "warning", "1.0 GB available of 16.0 GB, the container's limit"),
    ],
)
def test_memory(monkeypatch: pytest.MonkeyPatch, available: float, status: str, shown: str) -> None:
    found = machine.Memory(int(16e9), int(available), is_limited=True)
    monkeypatch.setattr(machine, "memory", lambda: found)
    check = doctor.check_memory()
    assert (check.status, check.found) == (status, shown)


@pytest.mark.parametrize(
    ("seconds", "auto", "status", "advice"),
    [
        ((0.1, 0.2), "float32", "ok", ""),
        ((0.2, 0.1), "bfloat16", "ok", ""),
        ((0.2, 0.1), "float32", "warning", "Try precision=bfloat16"),
        ((0.1, 0.2), "bfloat16", "warning", "Try precision=float32"),
        ((0.1, 0.1), "bfloat16", "ok", ""),
    ],
)
def test_bfloat16(
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, float],
    auto: str,
    status: str,
    advice: str,
) -> None:
    times = dict(zip(("float32", "bfloat16"), seconds, strict=True))
    monkeypatch.setattr(doctor, "_product_seconds", times.__getitem__)
    monkeypatch.setattr(machine, "compute_type", lambda _: auto)
    check = doctor.check_bfloat16()
    assert check.status == status
    assert check.advice.startswith(advice)
    assert check.values["speed_of_float32"] == seconds[0] / seconds[1]


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = doctor.check_disk(str(tmp_path / "none"))
    assert check.status == "error"
    assert "No such file" in check.found
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(doctor, "_disk_seconds", lambda _: (10.0, 0.1))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=int(90e9)))
    check = doctor.check_disk(str(tmp_path))
    assert check.status == "warning"
    assert check.found == f"{tmp_path}: writes 7 MB/s, reads 671 MB/s, 90 GB free"
    assert "raise save_checkpoints_steps" in check.advice


def test_a_clock_that_differs_from_that_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.check_clock(str(tmp_path)).status == "ok"
    now = doctor.time.time()
    monkeypatch.setattr(doctor.time, "time", lambda: now - 60)
    check = doctor.check_clock(str(tmp_path))
    assert check.status == "warning"
    assert "differ by +60 s" in check.advice


def test_a_broken_library_does_not_hide_the_other_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> None:
        raise ImportError("libx.so is missing\nand more")

    monkeypatch.setattr(doctor, "_product_seconds", {"float32": 1.0, "bfloat16": 2.0}.get)
    found = {check.name: check for check in doctor.run_checks(str(tmp_path), load)}
    assert list(found)[-1] == "clock"
    assert found["TensorFlow"].status == "error"
    assert found["TensorFlow"].found == "ImportError: libx.so is missing"


def test_the_exit_code_and_the_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = doctor.Check("disk", "error", "full " * 20, "Free some space.")
    checks = [doctor.Check("Python", "ok", "3.11.7")]

    def run(**settings: Any) -> int:
        monkeypatch.setattr("electra_zh.commands.doctor.run_checks", lambda *_: iter(checks))
        return command(Call(Doctor(**settings), {}, dry_run=False))

    assert run() == 0
    assert capsys.readouterr().out.endswith("\nUsable (0 errors, 0 warnings).\n")
    checks.append(bad)
    assert run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        "                     -> Free some space.",
        "",
        "Not usable: mend the errors above (1 error, 0 warnings).",
    ]
    assert max(map(len, lines)) <= 80
    assert run(json=True) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["usable"], len(shown["checks"])) == (False, 2)


def test_the_command_checks_this_machine(tmp_path: Path) -> None:
    result = electra("doctor", "--json", cwd=tmp_path)
    found = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert result.returncode == any(check["status"] == "error" for check in found.values())
    assert result.stderr == ""
    assert found["bfloat16"]["values"]["float32_gflops"] > 0
    assert found["disk"]["status"] != "error"
