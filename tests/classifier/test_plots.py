"""Pictures of a report."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from classifier.plots import plot
from core.errors import NotFound


def report_of(c: int) -> dict[str, Any]:
    rng = np.random.default_rng(c)
    return {
        "confusion": {
            "labels": [
                f"label $_{i} 取消" if i % 2 else f"a rather long name of label {i}" for i in range(c)
            ],
            "counts": rng.integers(0, 9, (c, c)).tolist(),
        },
        "calibration": {
            "bins": [{"from": 0.8, "to": 0.9, "count": 7, "confidence": 0.85, "accuracy": 0.8}],
            "ece": 0.05,
            "ece_before": 0.1,
        },
        "learning_curve": [
            {"examples": 10, "accuracy": 0.5, "macro_f1": 0.4},
            {"examples": 100, "accuracy": 0.8, "macro_f1": 0.7},
        ],
    }


@pytest.mark.parametrize("name", ["calibration", "learning_curve"])
def test_a_plot_is_a_picture_with_something_in_it(name: str) -> None:
    pixels = imread(BytesIO(plot(report_of(3), name)))
    assert min(pixels.shape[:2]) > 300
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10


@pytest.mark.integration
@pytest.mark.parametrize("c", [2, 77, 130])
def test_confusion_of_many_labels_with_any_names_is_drawn(c: int) -> None:
    pixels = imread(BytesIO(plot(report_of(c), "confusion")))
    assert 500 < pixels.shape[0] < 3000


def test_plots_can_be_drawn_side_by_side() -> None:
    with ThreadPoolExecutor(4) as threads:
        drawn = list(threads.map(lambda _: plot(report_of(3), "learning_curve"), range(4)))
    assert len(set(drawn)) == 1


def test_an_unknown_plot_is_not_found_and_the_known_ones_are_told() -> None:
    with pytest.raises(NotFound, match="calibration, confusion, learning_curve"):
        plot(report_of(2), "roc")


def test_a_report_without_the_data_has_no_plot() -> None:
    with pytest.raises(NotFound, match="no learning curve"):
        plot({**report_of(2), "learning_curve": []}, "learning_curve")
