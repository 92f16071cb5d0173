"""Pictures of a report. matplotlib, which is large, is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np

from core.errors import NotFound

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_DRAWN = 100  # labels; more could not be read
MAX_NAME = 28
DPI = 120
_DRAWING = Lock()  # matplotlib shares fonts and a parser between figures


def plot(report: Mapping[str, Any], name: str) -> bytes:
    """A PNG: confusion, calibration or learning_curve. Raises NotFound for another name or no data."""
    if name not in _PLOTS:
        raise NotFound(f"There is no plot {name!r}; there are {', '.join(sorted(_PLOTS))}.")
    if not _DATA[name](report):
        raise NotFound(
            f"This version's report holds no {name.replace('_', ' ')}: it was made by feedback, or of too few"
            " examples to hold some out. Train on at least two, better eight or more, of each label."
        )
    with _DRAWING, catch_warnings():
        simplefilter("ignore", UserWarning)  # letters that the font lacks are drawn as boxes
        return _PLOTS[name](report)


def _draw_confusion(report: Mapping[str, Any]) -> bytes:
    from matplotlib.colors import PowerNorm

    labels, counts, title = _drawn_labels(report["confusion"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.5, 0.17 * len(labels) + 3.0)
    figure, axes = _canvas(side, side)
    image = axes.imshow(
        shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1)
    )  # the root makes few mistakes visible
    figure.colorbar(image, ax=axes, shrink=0.6, label="share of the given label's examples")
    size = 9 if len(labels) <= 20 else 6
    names = [_short(label) for label in labels]
    axes.set_xticks(range(len(labels)), names, rotation=90, fontsize=size)
    axes.set_yticks(range(len(labels)), names, fontsize=size)
    axes.set(xlabel="predicted", ylabel="given", title=title)
    if len(labels) <= 20:
        _write_counts(axes, counts, shares)
    return _png(figure)


def _drawn_labels(confusion: Mapping[str, Any]) -> tuple[list[str], Any, str]:
    """Labels, counts (c, c) and title; of too many labels those that are mistaken most."""
    labels, counts = list(confusion["labels"]), np.array(confusion["counts"], dtype=np.int64)
    if len(labels) <= MAX_DRAWN:
        return labels, counts, "Confusion (cross-validated)"
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    rows = np.sort(np.argsort(-mistakes, kind="stable")[:MAX_DRAWN])
    title = f"Confusion (cross-validated): the {MAX_DRAWN} of {len(labels):,} labels mistaken most"
    return [labels[i] for i in rows], counts[np.ix_(rows, rows)], title


def _write_counts(axes: Axes, counts: Any, shares: Any) -> None:
    for row, column in zip(*np.nonzero(counts), strict=True):
        color = "white" if shares[row, column] > 0.3 else "black"
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color, fontsize=8)


def _draw_calibration(report: Mapping[str, Any]) -> bytes:
    bins = report["calibration"]["bins"]
    figure, (above, below) = _canvas(5, 6.5, 2)
    left, width = [row["from"] for row in bins], [row["to"] - row["from"] for row in bins]
    above.bar(left, [row["accuracy"] for row in bins], width, align="edge", edgecolor="white", label="right")
    above.plot(
        [row["confidence"] for row in bins], [row["accuracy"] for row in bins], "o", color="black", ms=3
    )
    above.plot([0, 1], [0, 1], "--", color="grey", label="perfect")
    error, before = report["calibration"]["ece"], report["calibration"]["ece_before"]
    above.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    above.set_title(f"Calibration error {error:.3f} (before calibration {before:.3f})")
    above.legend(loc="upper left")
    below.bar(left, [row["count"] for row in bins], width, align="edge", edgecolor="white")
    below.set(xlabel="confidence", ylabel="predictions", xlim=(0, 1))
    return _png(figure)


def _draw_learning_curve(report: Mapping[str, Any]) -> bytes:
    rows = report["learning_curve"]
    figure, axes = _canvas(6, 4)
    for key, label in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        axes.plot([row["examples"] for row in rows], [row[key] for row in rows], marker="o", label=label)
    axes.set(xlabel="examples trained on", title="Learning curve (held-out examples)", ylim=(None, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return _png(figure)


def _canvas(width: float, height: float, rows: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    ratios = (3, 1) if rows == 2 else (1,)
    return figure, figure.subplots(rows, 1, height_ratios=ratios)


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def _short(label: str) -> str:
    """As drawn: cut, and with $ as a letter and not as the beginning of a formula."""
    cut = label if len(label) <= MAX_NAME else f"{label[: MAX_NAME - 1]}…"
    return cut.replace("$", r"\$")


_PLOTS: dict[str, Callable[[Mapping[str, Any]], bytes]] = {
    "confusion": _draw_confusion,
    "calibration": _draw_calibration,
    "learning_curve": _draw_learning_curve,
}
_DATA: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "confusion": lambda report: report.get("confusion", {}).get("counts"),
    "calibration": lambda report: report.get("calibration", {}).get("bins"),
    "learning_curve": lambda report: report.get("learning_curve"),
}
