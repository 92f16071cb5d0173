"""That the pretended GPU refuses what a GPU refuses; run by tests/encoder/test_pretended_gpu.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch


def test_tensors_lie_apart() -> None:
    there, here = torch.ones(2, 3, device="cuda"), torch.ones(2, 3)
    assert there.is_cuda
    mixes: list[Callable[[], object]] = [
        lambda: there + here,
        lambda: there @ here.T,
        lambda: torch.cat((there, here)),
    ]
    for mix in mixes:
        with pytest.raises(RuntimeError, match=r"device|on the CPU"):
            mix()
    with pytest.raises(TypeError, match="cuda"):
        there.numpy()
    assert torch.equal(there.cpu(), here)


def test_gradients_are_there_too() -> None:
    weights = torch.randn(3, 2, device="cuda", requires_grad=True)
    (gradient,) = torch.autograd.grad((torch.ones(4, 3, device="cuda") @ weights).sum(), weights)
    assert gradient.is_cuda
    assert gradient.tolist() == [[4.0, 4.0]] * 3


def test_a_graph_computes_again_from_what_its_tensors_hold() -> None:
    given, graph = torch.ones(3, device="cuda"), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = (given * 2).softmax(0) + given[:1]
    given.copy_(torch.tensor([1.0, 2.0, 3.0]))
    graph.replay()
    torch.testing.assert_close(found.cpu(), torch.tensor([2.0, 4.0, 6.0]).softmax(0) + 1)


def test_what_waits_for_the_gpu_is_not_captured() -> None:
    given = torch.ones(3, device="cuda")
    for wait in (
        lambda: given.sum().item(),
        lambda: given.cpu(),
        lambda: given.nonzero(),
        lambda: given.copy_(torch.zeros(3)),
    ):
        with (
            pytest.raises(RuntimeError, match="within the capture"),
            torch.cuda.graph(torch.cuda.CUDAGraph()),
        ):
            wait()
