"""Fits the zero-shot temperature on labelled texts and reports accuracy and calibration elsewhere.

    python -m benchmarks.zero_shot --fit TRAIN.jsonl[.gz] … --test TEST.jsonl[.gz] …

Each file holds one object a line with `text` and `label`; label names are the classes. The temperature is
the median of those fitted on the `--fit` files.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from classifier.calibration import expected_calibration_error, fit_temperature
from classifier.zero_shot import ZeroShotScorer, softmax
from core.types import Float32, Int64, Label, Lane
from encoder.service import EncoderService, load_encoder

LIMIT = 5000


def read(path: Path) -> tuple[list[str], list[str]]:
    """At most LIMIT texts, spread over the file, and their labels."""
    opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    rows = rows[:: max(1, len(rows) // LIMIT)]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def cosines(encoder: EncoderService, path: Path) -> tuple[Float32, Int64]:
    """(n, c) cosines of texts to label prototypes, and (n,) true columns."""
    texts, labels = read(path)
    names = sorted(set(labels))
    prototypes = ZeroShotScorer(encoder, 1.0).prototypes([Label(name) for name in names])
    vectors = encoder.encode_queries(texts, Lane.BULK)
    return vectors @ prototypes.T, np.array([names.index(label) for label in labels])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    parser.add_argument("--test", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    encoder = load_encoder()
    fitted = []
    for path in arguments.fit:
        fitted.append(fit_temperature(*cosines(encoder, path)))
        print(f"{path.parent.name}/{path.name}: fitted temperature {fitted[-1]:.4f}")
    temperature = float(np.median(fitted))
    print(f"temperature {temperature:.4f}")
    for path in arguments.test:
        scores, labels = cosines(encoder, path)
        accuracy = float((scores.argmax(axis=1) == labels).mean())
        error = expected_calibration_error(softmax(scores / temperature), labels)
        print(f"{path.parent.name}/{path.name}: accuracy {accuracy:.3f}, calibration error {error:.3f}")
    encoder.close()


if __name__ == "__main__":
    main()
