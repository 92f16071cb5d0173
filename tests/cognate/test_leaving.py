"""A server some of whose threads outlast their time to stop ends with its own status all the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cognate import load
from cognate.cli import app
from cognate.leaving import unwound_by_sigterm
from evaluation import run

# Threads that come back from C++ again and again: Python would end them in the middle of that, and abort.
BUSY = """
import sys, threading, time
import numpy as np
import openvino
from openvino import opset13
from cognate.leaving import leave_if_busy

given = opset13.parameter([64, 256], np.float32)
doubled = openvino.Model([opset13.add(given, given)], [given])
compiled = openvino.Core().compile_model(doubled, "CPU")

def compute():
    request, rows = compiled.create_infer_request(), np.ones((64, 256), np.float32)
    while True:
        request.infer([rows])

compiled.create_infer_request().infer([np.ones((64, 256), np.float32)])  # two first ones at once may hang
for number in range(2):
    threading.Thread(target=compute, name="ingest", daemon=True).start()
time.sleep(0.2)
try:
    print("stopped")
    sys.exit(int(sys.argv[1]))
except SystemExit as ended:
    leave_if_busy(ended)
    raise
"""


@pytest.mark.parametrize("status", [0, 3])
def test_a_thread_in_cpp_does_not_abort_the_process(status: int, tmp_path: Path) -> None:
    script = tmp_path / "busy.py"
    script.write_text(BUSY)
    ended = subprocess.run(
        [sys.executable, script, str(status)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == status, ended.stderr
    assert ended.stdout == "stopped\n"
    assert "threads_left_behind" in ended.stderr
    assert "terminate called" not in ended.stderr


def test_a_process_whose_threads_have_ended_goes_the_usual_way() -> None:
    script = (
        "import sys\nfrom cognate.leaving import leave_if_busy\nleave_if_busy(SystemExit(3))\nprint('on')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "on\n"), ended.stderr


def test_sigterm_unwinds_a_block_with_its_status_and_is_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, unwound_by_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("room", "work"), [(load, "bench_server"), (run, "evaluate")])
def test_commands_that_make_collections_for_a_time_are_unwound_by_sigterm(
    room: object, work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"a": "x", "b": "y", "score": 1}\n{"a": "x", "b": "z", "score": 2}\n')
    options = {
        "bench_server": ["bench", str(pairs)],
        "evaluate": ["eval", str(pairs), "--model", "http://127.0.0.1:9"],
    }[work]
    monkeypatch.setattr(room, work, lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    assert CliRunner().invoke(app, options).exit_code == 143
