"""A server some of whose threads outlast their time to stop ends with its own status all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


SIGTERM_IN_A_BLOCK = """
import os, signal
from cognate.leaving import unwound_by_sigterm

before = signal.getsignal(signal.SIGTERM)
try:
    with unwound_by_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
except SystemExit as ended:
    print(ended.code, signal.getsignal(signal.SIGTERM) is before)
"""

SIGTERM_IN_A_COMMAND = """
import importlib, os, signal, sys
from cognate.cli import app

room, work = sys.argv[1:3]
setattr(importlib.import_module(room), work, lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
app(sys.argv[3:])
"""


def test_sigterm_unwinds_a_block_with_its_status_and_is_as_before_afterwards() -> None:
    assert ended_by_itself(SIGTERM_IN_A_BLOCK).stdout == "143 True\n"


@pytest.mark.parametrize(
    ("room", "work", "command"),
    [
        ("cognate.load", "bench_server", ["bench"]),
        ("evaluation.run", "evaluate", ["eval", "--model", "http://127.0.0.1:9"]),
    ],
)
def test_commands_that_make_collections_for_a_time_are_unwound_by_sigterm(
    room: str, work: str, command: list[str], tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"a": "x", "b": "y", "score": 1}\n{"a": "x", "b": "z", "score": 2}\n')
    ended = ended_by_itself(SIGTERM_IN_A_COMMAND, room, work, *command, str(pairs))
    assert ended.returncode == 143, ended.stderr  # by the signal itself it would be -15


def ended_by_itself(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: in that of other tests OpenVINO may have left signals without a stack."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
