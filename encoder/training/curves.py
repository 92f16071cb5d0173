"""Learning curves as a picture; matplotlib, which is large, is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

CURVES = "training.png"


class Point(Protocol):
    """What a step reports."""

    @property
    def step(self) -> int: ...
    @property
    def parts(self) -> Mapping[str, float]: ...
    @property
    def dev_mrr(self) -> float | None: ...


def draw_curves(folder: Path, points: Sequence[Point], start_mrr: float) -> Path:
    """Losses and held-out mean reciprocal rank by step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, dev = figure.subplots(1, 2)
    steps = [point.step for point in points]
    for name in points[0].parts if points else ():
        losses.plot(steps, smooth([point.parts[name] for point in points]), label=name)
    losses.set(xlabel="step", title="losses (smoothed)")
    losses.legend()
    measured = [(point.step, point.dev_mrr) for point in points if point.dev_mrr is not None]
    dev.plot([0, *(step for step, _ in measured)], [start_mrr, *(mrr for _, mrr in measured)], marker="o")
    dev.set(xlabel="step", title="mean reciprocal rank of held-out pairs")
    figure.savefig(folder / CURVES, dpi=120)
    return folder / CURVES


def smooth(values: Sequence[float], weight: float = 0.9) -> list[float]:
    """Exponential moving average without the bias of its start."""
    smoothed, total, norm = [], 0.0, 0.0
    for value in values:
        total = weight * total + (1 - weight) * value
        norm = weight * norm + (1 - weight)
        smoothed.append(total / norm)
    return smoothed
