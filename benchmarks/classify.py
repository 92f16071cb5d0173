"""Quality and speed of trained heads beside plain logistic regression on the same embeddings.

    python -m benchmarks.classify --data FOLDER [--sets banking77 snips goemotions] [--seeds 5] [--speed]

FOLDER holds a folder a set with train, test and, of several labels, maybe dev `.jsonl[.gz]` files (`text` and
`label` or `labels`) and labels.json. Vectors of the shipped encoder in int8 are kept in a temporary folder.
Heads see train parts alone; test parts are only scored. Rows: full, 16 and 8 examples a class.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.calibrators import error
from classifier.heads import ClassifierHeads
from classifier.measures import accuracy, macro_f1
from classifier.scoring import choose
from classifier.thresholds import best_thresholds
from core.classifier_types import Abstention, Bools, Examples, HeadScores, TrainingOptions
from core.types import Float32, Int64, Lane, PassageText
from encoder.service import load_encoder
from evaluation.rows import read_jsonl

SETS = ("banking77", "snips", "goemotions")
SHOTS = (0, 16, 8)  # examples a class; 0 is all
PLAIN_C = {0: 30.0, 16: 1.0, 8: 1.0}  # of the plain regression, as `cognate eval` has them
SPEED_EXAMPLES = 10_000
SINGLES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """`vectors` (n, d) and `truth` (n, c) of `texts`."""

    texts: tuple[str, ...]
    vectors: Float32
    truth: Bools

    def examples(self, labels: tuple[str, ...], rows: Int64) -> Examples:
        texts = tuple(self.texts[row] for row in rows)
        return Examples(labels, texts, self.vectors[rows], self.truth[rows])


def read(folder: Path, labels: Sequence[str], part: str, cache: Path) -> Part | None:
    """A part of a set with its vectors, from the cache or encoded now; None when there is no file."""
    path = next((p for p in (folder / f"{part}.jsonl.gz", folder / f"{part}.jsonl") if p.exists()), None)
    if path is None:
        return None
    rows = [row for _, row in read_jsonl(path)]
    columns = {label: column for column, label in enumerate(labels)}
    truth = np.zeros((len(rows), len(labels)), np.bool_)
    for number, row in enumerate(rows):
        truth[number, [columns[label] for label in row.get("labels") or [row["label"]]]] = True
    texts = tuple(row["text"] for row in rows)
    return Part(texts, _vectors(texts, cache / f"{folder.name}-{part}.npy"), truth)


def _vectors(texts: Sequence[str], path: Path) -> Float32:
    if not path.exists():
        encoder = load_encoder(precision="int8")
        np.save(path, encoder.encode_passages([PassageText("", text) for text in texts], Lane.BULK))
        encoder.close()
    return np.asarray(np.load(path), dtype=np.float32)


def few_of_each(truth: Bools, shots: int, seed: int) -> Int64:
    """Rows of `shots` random examples of each class, as `cognate eval` draws them; all rows for 0."""
    if not shots:
        return np.arange(len(truth))
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(column))[:shots] for column in truth.T]
    return np.unique(np.concatenate(chosen))


def measured(scores: HeadScores, truth: Bools, is_multi: bool) -> dict[str, float]:
    """Of a test part; precision and coverage are of what was not abstained."""
    answered = np.array([reason is None for reason in scores.abstentions])
    right = (scores.is_chosen & truth)[answered].sum()
    outside = np.mean([reason is Abstention.OUT_OF_SCOPE for reason in scores.abstentions])
    return {
        "accuracy": accuracy(truth, scores.is_chosen),
        "macro_f1": macro_f1(truth, scores.is_chosen),
        "ece": error(scores.probabilities, truth, is_multi),
        "precision": float(right / max(1, scores.is_chosen[answered].sum())),
        "coverage": float(answered.mean()),
        "out_of_scope": float(outside),
    }


def plain(train: Part, rows: Int64, dev: Part | None, test: Part, shots: int) -> dict[str, float]:
    """Logistic regression of scikit-learn; with several labels its thresholds are tuned on dev."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    model = LogisticRegression(C=PLAIN_C[shots], max_iter=1000)
    if dev is None:
        model.fit(train.vectors[rows], train.truth[rows].argmax(axis=1))
        probabilities, thresholds = model.predict_proba(test.vectors), None
    else:
        many = OneVsRestClassifier(model).fit(train.vectors[rows], train.truth[rows])
        thresholds = best_thresholds(many.predict_proba(dev.vectors), dev.truth)
        probabilities = many.predict_proba(test.vectors)
    is_chosen = choose(probabilities, thresholds)
    return {
        "accuracy": accuracy(test.truth, is_chosen),
        "macro_f1": macro_f1(test.truth, is_chosen),
        "ece": error(probabilities.astype(np.float32), test.truth, dev is not None),
    }


def quality(folder: Path, cache: Path, seeds: int, shots: Sequence[int], with_plain: bool) -> None:
    """Prints a row for each number of examples a class: means over seeds."""
    labels = tuple(json.loads((folder / "labels.json").read_text()))
    train, dev, test = (read(folder, labels, part, cache) for part in ("train", "dev", "test"))
    assert train is not None, f"{folder} needs a train part."
    assert test is not None, f"{folder} needs a test part."
    is_multi = bool((train.truth.sum(axis=1) != 1).any())
    heads = ClassifierHeads()
    for count in shots:
        ours, theirs, kinds = [], [], []
        for seed in range(seeds if count else 1):
            rows = few_of_each(train.truth, count, seed)
            options = TrainingOptions(multi_label=is_multi, seed=seed)
            started = time.perf_counter()
            trained = heads.train(train.examples(labels, rows), options, lambda share: None)
            took = {"train_s": time.perf_counter() - started}
            ours.append(measured(heads.scores(trained.head, test.vectors), test.truth, is_multi) | took)
            kinds.append(_kind(trained.report["head"]))
            if with_plain:
                theirs.append(plain(train, rows, dev if is_multi else None, test, count))
        name = f"{folder.name}, {f'{count} a class' if count else 'full'}"
        print(f"{name}: {_means(ours)} [{', '.join(kinds)}]")
        if theirs:
            print(f"{name}, plain logistic regression: {_means(theirs)}", flush=True)


def scope(folders: Sequence[Path], cache: Path) -> None:
    """Prints how much of another set's test part each head takes for out of scope, or abstains on."""
    heads = ClassifierHeads()
    for folder in folders:
        labels = tuple(json.loads((folder / "labels.json").read_text()))
        train = read(folder, labels, "train", cache)
        assert train is not None
        options = TrainingOptions(multi_label=False)
        everything = train.examples(labels, np.arange(len(train.texts)))
        head = heads.train(everything, options, lambda share: None).head
        for other in folders:
            names = json.loads((other / "labels.json").read_text())
            test = read(other, names, "test", cache)
            assert test is not None
            reasons = heads.scores(head, test.vectors).abstentions
            far = np.mean([reason is Abstention.OUT_OF_SCOPE for reason in reasons])
            unsure = np.mean([reason is Abstention.LOW_CONFIDENCE for reason in reasons])
            print(f"{folder.name} on {other.name}: out of scope {far:.3f}, unsure {unsure:.3f}", flush=True)


def speed(folder: Path, cache: Path) -> None:
    """Prints the seconds of a training on 10,000 examples, of a refit with a new class, and of one text."""
    labels = tuple(json.loads((folder / "labels.json").read_text()))
    train = read(folder, labels, "train", cache)
    assert train is not None
    rows = np.arange(min(SPEED_EXAMPLES, len(train.texts)))
    examples, heads, options = train.examples(labels, rows), ClassifierHeads(), TrainingOptions()
    gaps = [time.perf_counter()]
    trained = heads.train(examples, options, lambda share: gaps.append(time.perf_counter()))
    took = time.perf_counter() - gaps[0]
    print(
        f"training on {len(rows):,} of {len(labels)} labels: {took:.2f} s, longest silence {_gap(gaps):.2f} s"
    )
    more = _with_new_class(examples)
    started = time.perf_counter()
    heads.refit(trained.head, more, options)
    print(f"refit with one more example of a new label: {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    for row in range(SINGLES):
        heads.scores(trained.head, examples.vectors[row : row + 1])
    print(f"scores of one text: {(time.perf_counter() - started) / SINGLES * 1000:.3f} ms")
    started = time.perf_counter()
    heads.scores(trained.head, np.tile(examples.vectors, (6, 1)))
    print(f"scores of {6 * len(rows):,} vectors: {time.perf_counter() - started:.2f} s")


def _with_new_class(examples: Examples) -> Examples:
    vector = -examples.vectors.mean(axis=0, keepdims=True)
    truth = np.zeros((len(examples.texts) + 1, len(examples.labels) + 1), np.bool_)
    truth[:-1, :-1] = examples.truth
    truth[-1, -1] = True
    vectors = np.concatenate([examples.vectors, vector / np.linalg.norm(vector)])
    return Examples((*examples.labels, "a new label"), (*examples.texts, "a new text"), vectors, truth)


def _gap(times: Sequence[float]) -> float:
    return float(np.diff(np.array(times)).max())


def _kind(head: dict[str, Any]) -> str:
    numbers = " ".join(f"{head[name]:g}" for name in ("c", "neighbours", "prior_share") if name in head)
    return f"{head['kind']} {numbers} {head['calibration']['method']}"


def _means(rows: Sequence[dict[str, float]]) -> str:
    table: npt.NDArray[np.float64] = np.array([list(row.values()) for row in rows])
    return ", ".join(f"{name} {value:.3f}" for name, value in zip(rows[0], table.mean(axis=0), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder for each set")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shots", type=int, nargs="+", default=SHOTS)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cognate-classify")
    parser.add_argument("--no-plain", action="store_true", help="ours alone")
    parser.add_argument(
        "--scope", action="store_true", help="the sets' test parts against each other's heads"
    )
    parser.add_argument("--speed", action="store_true", help="times, instead of quality, on the first set")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # scikit-learn's, of the plain regression
    arguments.cache.mkdir(parents=True, exist_ok=True)
    folders = [arguments.data / name for name in arguments.sets]
    if arguments.speed:
        speed(folders[0], arguments.cache)
    elif arguments.scope:
        scope(folders, arguments.cache)
    else:
        for folder in folders:
            quality(folder, arguments.cache, arguments.seeds, arguments.shots, not arguments.no_plain)


if __name__ == "__main__":
    main()
