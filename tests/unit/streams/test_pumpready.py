"""`tygerd pump ready`: it waits for the pump's first sign of life, and not for ever."""

import sys

from tests.house import sources
from tests.support import ending
from tygerd.streams import podlife, pumpready


def test_it_returns_once_a_life_has_begun(tmp_path):
    with ending.Popen(
        [sys.executable, "-m", "tygerd", "pump", "ready", f"--state={tmp_path}"],
        env={"PYTHONPATH": str(sources.ROOT)},
    ) as process:
        podlife.Lives(str(tmp_path), "").begin()
        assert process.wait(60) == 0


def test_main_need_not_start_beside_a_pump_that_has_failed(tmp_path):
    podlife.Lives(str(tmp_path), str(tmp_path / "words")).end(podlife.Life("failed", "no access"))
    assert pumpready.main([f"--state={tmp_path}"]) == 1


def test_a_pump_that_does_not_begin(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pumpready, "PATIENCE", 0.0)
    assert pumpready.main([f"--state={tmp_path}"]) == 1
    assert capsys.readouterr().err == "tygerd pump ready: the pump has not begun within 0 seconds\n"


def test_usage(capsys):
    assert pumpready.main(["--sideways"]) == 64
    assert pumpready.main(["--help"]) == 0
    assert "--state" in capsys.readouterr().out
