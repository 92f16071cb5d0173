from __future__ import annotations

from pathlib import Path

import pytest
import torch

from encoder.training.state import RunState, load_state, save_state


def state() -> RunState:
    return RunState(3, 1.5, 70, {"w": torch.ones(2)}, {"state": {}, "param_groups": []}, [])


def test_a_state_comes_back_with_the_random_numbers_that_follow(tmp_path: Path) -> None:
    torch.manual_seed(1)
    save_state(tmp_path, "key", state())
    followed = torch.rand(4)
    torch.manual_seed(2)
    found = load_state(tmp_path, "key")
    assert found is not None
    assert (found.step, found.seconds, found.tokens) == (3, 1.5, 70)
    assert torch.equal(torch.rand(4), followed)


class Gpus:
    """Stands in for the generators of GPUs, which this machine may not have."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, numbers: list[int]) -> None:
        self.states = [torch.full((4,), number, dtype=torch.uint8) for number in numbers]
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(self.states))
        monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: list(self.states))
        monkeypatch.setattr(torch.cuda, "set_rng_state_all", self.set)

    def set(self, states: list[torch.Tensor]) -> None:
        self.states = list(states)


def test_random_numbers_of_gpus_go_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Gpus(monkeypatch, [7, 8])
    save_state(tmp_path, "key", state())
    again = Gpus(monkeypatch, [0, 0])
    load_state(tmp_path, "key")
    assert [int(one[0]) for one in again.states] == [7, 8]


def test_a_run_goes_on_where_there_are_other_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Gpus(monkeypatch, [7, 8])
    save_state(tmp_path, "key", state())
    fewer = Gpus(monkeypatch, [])
    assert load_state(tmp_path, "key") is not None
    assert fewer.states == []
