"""What the demo needs before it loads anything."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydantic import SecretStr

from cognate.demo import run_demo
from cognate.settings import Settings
from cognate.terminal import Terminal
from core.errors import StartRefused


def test_hashes_alone_are_no_key_that_the_demo_could_send(tmp_path: Path) -> None:
    hashed = "sha256:" + hashlib.sha256(b"key").hexdigest()
    settings = Settings(api_keys=SecretStr(hashed), data_dir=tmp_path / "data", port=0)
    with pytest.raises(StartRefused, match="add a plain one"):
        run_demo(settings, Terminal(), stay=False)
    assert not (tmp_path / "data").exists()
