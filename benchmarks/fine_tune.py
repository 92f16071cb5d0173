"""Logistic regression on few examples a label: on the encoder's vectors, and after tuning it on them.

    python -m benchmarks.fine_tune TRAIN.jsonl[.gz] [--test TEST.jsonl[.gz]] [--shots 8] [--seeds 0 1 2]

Each file holds one object a line with `text` and `label`. Without `--test` a part of the training file that
was not drawn is held out. `--names` adds the names of the labels, as words, to the examples.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from core.ports.models import Encoder
from core.types import Int64, PassageText
from encoder.service import load_encoder
from encoder.tuning import AdapterTuner, ModelSource
from evaluation.rows import read_jsonl

C = 10.0  # inverse regularisation of the head, for both encoders
HELD_OUT = 1500

Rows = Sequence[tuple[str, str]]  # text and label


def read(path: Path) -> Rows:
    return [(row["text"], row["label"]) for _, row in read_jsonl(path)]


def draw(rows: Rows, shots: int, seed: int) -> tuple[Rows, Rows]:
    """`shots` rows of each label, and up to HELD_OUT of the others."""
    order = np.random.default_rng(seed).permutation(len(rows))
    taken: dict[str, list[int]] = {}
    for i in order:
        taken.setdefault(rows[i][1], []).append(int(i))
    chosen = {i for of_label in taken.values() for i in of_label[:shots]}
    others = [int(i) for i in order if i not in chosen]
    return [rows[i] for i in sorted(chosen)], [rows[i] for i in others[:HELD_OUT]]


def in_words(label: str) -> str:
    return re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", label)


def accuracy(encoder: Encoder, train: Rows, test: Rows) -> float:
    x, y = (encoder.encode_passages([PassageText("", text) for text, _ in rows]) for rows in (train, test))
    head = LogisticRegression(C=C, max_iter=500).fit(x, [label for _, label in train])
    return float((head.predict(y) == np.array([label for _, label in test])).mean())


def columns(rows: Rows) -> Int64:
    return np.unique([label for _, label in rows], return_inverse=True)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--shots", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--names", action="store_true")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    rows = read(options.train)
    encoder = load_encoder(precision=options.precision, threads=options.threads)
    tuner = AdapterTuner(encoder.info, ModelSource(None, "openvino", options.precision, options.threads))
    gains = []
    for seed in options.seeds:
        train, test = draw(rows, options.shots, seed)
        test = read(options.test) if options.test else test
        before = accuracy(encoder, train, test)
        if options.names:
            train = [*train, *((in_words(label), label) for label in sorted({label for _, label in rows}))]
        named = accuracy(encoder, train, test)
        truth = np.eye(len({label for _, label in train}), dtype=bool)[columns(train)]
        began = time.perf_counter()
        adapters = tuner.tune([text for text, _ in train], truth, seed, lambda _: None)
        seconds = time.perf_counter() - began
        after = accuracy(tuner.encoder(adapters), train, test)
        size = sum(array.nbytes for array in adapters.values())
        gains.append((before, named, after))
        print(
            f"seed {seed}: {before:.4f}, with names {named:.4f}, tuned {after:.4f};"
            f" {seconds:.0f} s, {size // 1024} KiB",
            flush=True,
        )
    print("mean:", " ".join(f"{mean:.4f}" for mean in np.mean(gains, axis=0)))
    tuner.close()
    encoder.close()


if __name__ == "__main__":
    main()
