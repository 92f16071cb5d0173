"""What all tests share: a calm hypothesis profile and services on a temporary data folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "cognate", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("cognate")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the caller's COGNATE_* variables nor a .env file reach a test."""
    for name in [name for name in os.environ if name.startswith("COGNATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
