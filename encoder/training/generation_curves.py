"""Learning curves of a generator as a picture; matplotlib is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from encoder.training.curves import CURVES, smooth
from encoder.training.generation_loop import GenerationProgress


def draw_generation_curves(folder: Path, points: Sequence[GenerationProgress]) -> Path:
    """The training loss and the held-out losses by task, in nats a token by step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    training, held_out = figure.subplots(1, 2)
    training.plot([point.step for point in points], smooth([point.loss for point in points]))
    training.set(xlabel="step", ylabel="nats a token", title="training loss (smoothed)")
    measured = [(point.step, point.dev) for point in points if point.dev is not None]
    for task in measured[-1][1] if measured else ():
        held_out.plot([step for step, _ in measured], [dev[task] for _, dev in measured], label=task)
    held_out.set(xlabel="step", title="held-out loss by task")
    if measured:
        held_out.legend(fontsize=7)
    figure.savefig(folder / CURVES, dpi=120)
    return folder / CURVES
