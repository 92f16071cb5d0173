"""A container's share of the processor is what its threads are counted by."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.cores import core_limit, cores


@pytest.fixture(autouse=True)
def _sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def write(folder: Path, name: str, content: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("400000 100000\n", 4),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("max 100000\n", 16),
        ("9900000 100000\n", 16),
        ("nonsense", 16),
        ("1 0", 16),
    ],
)
def test_no_more_cores_are_used_than_the_quota_pays_for(tmp_path: Path, content: str, found: int) -> None:
    write(tmp_path, "cpu.max", content)
    assert cores(tmp_path) == found
    assert core_limit(tmp_path) == (found if found < 16 else 0)


@pytest.mark.parametrize(("quota", "found"), [("300000\n", 3), ("-1\n", 16)])
def test_older_control_groups_are_read_too(tmp_path: Path, quota: str, found: int) -> None:
    write(tmp_path, "cpu/cpu.cfs_quota_us", quota)
    write(tmp_path, "cpu/cpu.cfs_period_us", "100000\n")
    assert cores(tmp_path) == found


def test_cores_the_process_may_not_run_on_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (cores(tmp_path), core_limit(tmp_path)) == (16, 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert (cores(tmp_path), core_limit(tmp_path)) == (2, 2)
