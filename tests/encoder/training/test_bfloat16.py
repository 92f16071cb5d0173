"""bfloat16 is used where it is wanted and the chip has it, never emulated."""

from __future__ import annotations

from collections.abc import Iterator

import openvino as ov
import pytest
import torch

from encoder.training import bfloat16 as tested


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    tested._computes_or_tells.cache_clear()
    yield
    tested._computes_or_tells.cache_clear()


@pytest.mark.parametrize(
    ("is_wanted", "has", "expected"),
    [(True, True, torch.bfloat16), (True, False, torch.float32), (False, True, torch.float32)],
)
def test_products_are_in_bfloat16_only_where_wanted_and_had(
    monkeypatch: pytest.MonkeyPatch, is_wanted: bool, has: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(tested, "computes_bfloat16", lambda device: has)
    with tested.bfloat16("cpu", is_wanted):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is expected


def test_a_chip_without_it_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tested, "computes_bfloat16", lambda device: False)
    for _ in range(3):
        with tested.bfloat16("cpu", True):
            pass
    assert caplog.text.count("no bfloat16 instructions") == 1


@pytest.mark.parametrize("has", [True, False])
def test_a_gpu_is_asked_for_instructions_of_its_own(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    def is_supported(including_emulation: bool = True) -> bool:
        return has or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    monkeypatch.setattr(ov, "Core", None)  # the CPU is not asked
    assert tested.computes_bfloat16("cuda") is has
