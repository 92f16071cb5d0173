"""A pytest plugin by which torch finds a GPU that is none: `pytest -p tests.pretended_gpu.plugin`.

It shows what a machine without a GPU otherwise hides: tensors left on the CPU, graphs that would not be
captured, or would be captured with what changes. It says nothing of speed, of rounding, of order between
streams, or of compiled kernels. The device is `device.cpp`, built at the start into `PRETENDED_GPU_BUILD`.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import cpp_extension

NAME = "pretended_gpu_device"
SOURCE = Path(__file__).parent / "device.cpp"


def build(folder: Path) -> Path:
    """The shared library, built if it is not there."""
    built = folder / f"{NAME}.so"
    if not built.exists():
        includes = [*cpp_extension.include_paths(), sysconfig.get_paths()["include"]]
        libraries = cpp_extension.library_paths()[0]
        flags = [f"-I{path}" for path in includes]
        linked = [f"-L{libraries}", *(f"-l{name}" for name in ("c10", "torch_cpu", "torch", "torch_python"))]
        command = [
            "c++",
            "-std=c++20",
            "-O0",
            "-fPIC",
            "-shared",
            *flags,
            str(SOURCE),
            "-o",
            str(built),
            *linked,
        ]
        subprocess.run(command, check=True, timeout=600)
    return built


def load(library: Path) -> Any:
    spec = importlib.util.spec_from_file_location(NAME, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DEVICE = load(build(Path(os.environ["PRETENDED_GPU_BUILD"])))


class Stream:
    """All is done at once, in order."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def wait_stream(self, other: Stream) -> None: ...

    def synchronize(self) -> None: ...


class Event:
    def __init__(self, **_: Any) -> None:
        self.at_s: float | None = None

    def record(self, *_: Any) -> None:
        self.at_s = time.perf_counter()

    def synchronize(self) -> None:
        assert self.at_s is not None, "nobody recorded this event"

    def elapsed_time(self, other: Event) -> float:
        assert self.at_s is not None
        assert other.at_s is not None
        return 1000 * (other.at_s - self.at_s)


class CUDAGraph:
    def __init__(self) -> None:
        self.steps = DEVICE.Graph()

    def replay(self) -> None:
        self.steps.replay()


@contextmanager
def graph(captured: CUDAGraph, **_: Any) -> Iterator[None]:
    captured.steps.begin()
    try:
        yield
    finally:
        captured.steps.end()


def flash_attention(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, _: Tensor, longest: int, *rest: Any, **named: Any
) -> tuple[Tensor, ...]:
    """Attention within the segments of packed tokens; refuses what the kernel refuses."""
    assert q.dtype in (torch.bfloat16, torch.float16), f"flash attention does not take {q.dtype}"
    assert q.shape[-1] % 8 == 0, f"flash attention does not take heads of {q.shape[-1]}"
    assert starts.dtype == torch.int32, f"flash attention takes int32 starts, not {starts.dtype}"
    segment = torch.searchsorted(
        starts[1:], torch.arange(len(q), dtype=torch.int32, device=q.device), right=True
    )
    x, y, z = (t.transpose(0, 1).float() for t in (q, k, v))
    scores = (x @ y.transpose(1, 2)) * q.shape[-1] ** -0.5
    scores = scores.masked_fill(segment[:, None] != segment[None], -1e30)
    nothing = torch.empty(0, device=q.device)
    return (
        (scores.softmax(-1) @ z).transpose(0, 1).to(q.dtype).contiguous(),
        nothing,
        nothing,
        nothing,
        nothing,
    )


def storage_to_cpu(storage: torch.UntypedStorage) -> torch.UntypedStorage:
    if storage.device.type == "cpu":
        return storage
    there = torch.empty(0, dtype=torch.uint8, device="cuda").set_(storage, 0, (storage.size(),), (1,))
    return there.cpu().untyped_storage()


def always(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


_library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
_library.impl("_flash_attention_forward", flash_attention, "CUDA")
_pretended: dict[str, Any] = {
    "_lazy_init": always(None),
    "is_available": always(True),
    "device_count": always(1),
    "current_device": always(0),
    "synchronize": always(None),
    "is_bf16_supported": always(True),
    "get_device_capability": always((9, 0)),
    "get_device_name": always("Pretended GPU"),
    "get_rng_state_all": lambda: [torch.get_rng_state()],
    "set_rng_state_all": always(None),
    "Stream": Stream,
    "Event": Event,
    "CUDAGraph": CUDAGraph,
    "graph": graph,
    "graph_pool_handle": always((0, 1)),
    "is_current_stream_capturing": DEVICE.is_capturing,
    "current_stream": lambda *_: Stream(),
    "stream": lambda _: nullcontext(),
}
for name, value in _pretended.items():
    setattr(torch.cuda, name, value)
setattr(torch, "compile", lambda model=None, **_: model)  # noqa: B010  # kernels are made for a real GPU
setattr(torch.UntypedStorage, "cpu", storage_to_cpu)  # noqa: B010  # a method with another type
