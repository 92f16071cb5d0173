"""Fits the constants of zero-shot classification on labelled texts and reports quality elsewhere.

    python -m benchmarks.zero_shot --fit TRAIN.jsonl[.gz] … --test TEST.jsonl[.gz] …

Each file holds one object a line with `text` and `label` (or `labels`); label names are the classes. The
temperature is the median of those fitted on the `--fit` files, the other constants fit all of them. Texts
that fit no label are those of the other files.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.calibration import expected_calibration_error, fit_temperature
from classifier.measures import macro_f1, micro_f1
from classifier.zero_shot import ZeroShotScorer, given_of_several, one_of, prior_odds, several_of, softmax
from core.classifier_types import Bools
from core.classify import ClassifyLimits
from core.label_types import Label, ZeroShotOptions
from core.types import Float32
from encoder.service import load_encoder
from evaluation.rows import read_jsonl
from evaluation.systems import RememberingEncoder

LIMIT = 4000
FEW = (2, 3, 5)
DRAWS = 20
SKEWED = 1000  # texts in a call of labels that are not equally common
ALONE = ZeroShotOptions()
NAME_ONLY = ZeroShotOptions(templates=("{}",))
TOGETHER = ZeroShotOptions(transductive=True)
SEVERAL = ZeroShotOptions(multi_label=True)
SEVERAL_TOGETHER = ZeroShotOptions(multi_label=True, transductive=True)
MAY_BE_NONE = ZeroShotOptions(none_of_these=True)
MAY_BE_NONE_TOGETHER = ZeroShotOptions(none_of_these=True, transductive=True)


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """`truth` (n, c) over `labels`."""

    name: str
    texts: list[str]
    labels: list[Label]
    truth: Bools

    @property
    def is_single(self) -> Bools:
        return np.asarray(self.truth.sum(axis=1) == 1)


def read(path: Path, limit: int = LIMIT) -> LabelledSet:
    """At most `limit` texts, spread over the file."""
    rows = [row for _, row in read_jsonl(path)]
    rows = rows[:: -(-len(rows) // limit)]
    given = [row["labels"] if "labels" in row else [row["label"]] for row in rows]
    names = sorted({name for labels in given for name in labels})
    truth = np.array([[name in labels for name in names] for labels in given])
    return LabelledSet(
        f"{path.parent.name}/{path.name}", [row["text"] for row in rows], [Label(n) for n in names], truth
    )


def similarities(
    scorer: ZeroShotScorer, data: LabelledSet, options: ZeroShotOptions, texts: Sequence[str] | None = None
) -> Float32:
    """(n, c), in calls as large as the service takes them, each of texts from all over the file."""
    texts = data.texts if texts is None else texts
    calls = -(-len(texts) // ClassifyLimits().max_texts)
    found = np.empty((len(texts), len(data.labels)), np.float32)
    for i in range(calls):
        found[i::calls] = scorer.similarities(texts[i::calls], data.labels, options)
    return found


def fit_logistic(scores: Sequence[Float32], truths: Sequence[Bools]) -> tuple[float, float]:
    """(middle, temperature) of `several_of` that make the truth most likely, every set counting the same.

    Of each set (n, c) similarities and truth. Newton's method.
    """
    x = np.concatenate([np.stack([s.ravel(), np.ones(s.size)], axis=1) for s in scores]).astype(np.float64)
    offset = np.concatenate([np.full(s.size, -prior_odds(s.shape[1])) for s in scores])
    weight = np.concatenate([np.full(s.size, 1 / len(s)) for s in scores])
    y = np.concatenate([truth.ravel() for truth in truths])
    w = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ w - offset))
        w += np.linalg.solve((x * (weight * p * (1 - p))[:, None]).T @ x, x.T @ (weight * (y - p)))
    return float(-w[1] / w[0]), float(1 / w[0])


def fit_none(inside: Sequence[Float32], outside: Sequence[Float32]) -> float:
    """The similarity of "none of these" that tells best, in the mean over sets, which texts have a label.

    Of each set (n, c) similarities of its texts and (m, c) of texts outside, which count the same.
    """
    candidates = np.arange(0, 1, 0.01)
    told = [
        [(own.max(axis=1) >= none).mean() + (far.max(axis=1) < none).mean() for none in candidates]
        for own, far in zip(inside, outside, strict=True)
    ]
    return float(candidates[np.mean(told, axis=0).argmax()])


def fit_chosen(probabilities: Sequence[Float32], sets: Sequence[LabelledSet]) -> float:
    """The probability from which labels are given that has the highest macro-F1, in the mean over sets."""
    candidates = np.arange(0.02, 0.6, 0.02)
    f1 = [
        [macro_f1(data.truth, p >= candidate) for candidate in candidates]
        for p, data in zip(probabilities, sets, strict=True)
    ]
    return float(candidates[np.mean(f1, axis=0).argmax()])


def fit(scorer: ZeroShotScorer, sets: Sequence[LabelledSet]) -> float:
    """Prints the constants and returns the temperature."""
    scores = [similarities(scorer, data, ALONE) for data in sets]
    singles = [
        (s[d.is_single], d.truth[d.is_single].argmax(axis=1)) for s, d in zip(scores, sets, strict=True)
    ]
    temperatures = [fit_temperature(*single) for single in singles]
    together = [
        fit_temperature(similarities(scorer, d, TOGETHER)[d.is_single], columns)
        for d, (_, columns) in zip(sets, singles, strict=True)
    ]
    temperature = float(np.median(temperatures))
    outside = []
    for data in sets:
        others = [text for other in sets if other is not data for text in other.texts[::4]]
        outside.append(similarities(scorer, data, ALONE, others))
    middle, width = fit_logistic(scores, [data.truth for data in sets])
    _show("temperature", temperatures)
    _show("temperature, transductive", together)
    print(f"none of these {fit_none(scores, outside):.4f}")
    print(f"multi-label: middle {middle:.4f}, temperature {width:.4f}")
    against = [(middle - s) / width + prior_odds(s.shape[1]) for s in scores]
    print(f"multi-label: given from {fit_chosen([1 / (1 + np.exp(a)) for a in against], sets):.2f}")
    return temperature


def _show(name: str, values: Sequence[float]) -> None:
    print(f"{name}: {', '.join(f'{value:.4f}' for value in values)}; median {np.median(values):.4f}")


def report(scorer: ZeroShotScorer, data: LabelledSet, outside: Sequence[str]) -> None:
    print(f"\n{data.name}: {len(data.texts):,} texts, {len(data.labels)} labels")
    for name, options in (("name only", NAME_ONLY), ("default", ALONE), ("transductive", TOGETHER)):
        scores = similarities(scorer, data, options)
        best = np.arange(len(data.labels)) == scores.argmax(axis=1)[:, None]
        right = float((best & data.truth).sum(axis=1)[data.is_single].mean())
        columns = data.truth[data.is_single].argmax(axis=1)
        error = expected_calibration_error(softmax(scores[data.is_single] / scorer.temperature), columns)
        f1 = macro_f1(data.truth, best)
        print(f"  {name}: accuracy {right:.3f}, macro-F1 {f1:.3f}, calibration error {error:.3f}")
    if data.is_single.all():
        report_skewed(scorer, data)
    for name, options in (("default", SEVERAL), ("transductive", SEVERAL_TOGETHER)):
        report_several(scorer, data, name, options)
    for name, options in (("default", MAY_BE_NONE), ("transductive", MAY_BE_NONE_TOGETHER)):
        report_none(scorer, data, outside, name, options)


def report_several(scorer: ZeroShotScorer, data: LabelledSet, name: str, options: ZeroShotOptions) -> None:
    """Every label by itself; and of a few labels, where half of the texts have none."""
    scores = similarities(scorer, data, options)
    p, _ = several_of(scores)
    given = given_of_several(scores, p)
    pairs = np.stack([1 - p.ravel(), p.ravel()], axis=1)
    gap = expected_calibration_error(pairs, data.truth.ravel().astype(np.int64))
    f1s = f"macro-F1 {macro_f1(data.truth, given):.3f}, micro-F1 {micro_f1(data.truth, given):.3f}"
    labels = f"{given.sum(axis=1).mean():.2f} labels a text"
    print(f"  multi-label, {name}: {f1s}, {labels}, calibration error {gap:.3f}")
    few = ", ".join(f"{c}: {of_few_labels(scorer, data, c, options):.3f}" for c in FEW)
    print(f"  multi-label, {name}, macro-F1 of so many of the labels, half of the texts without any: {few}")


def report_none(
    scorer: ZeroShotScorer, data: LabelledSet, outside: Sequence[str], name: str, options: ZeroShotOptions
) -> None:
    """What is said of a call's texts when those `outside` are half of them and fit no label."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(np.flatnonzero(data.is_single))[: len(outside)]
    outside = [outside[i] for i in rng.permutation(len(outside))[: len(rows)]]
    scores = scorer.similarities([data.texts[i] for i in rows] + outside, data.labels, options)
    is_none = _is_none(scores, scorer.temperature)
    far, own = is_none[len(rows) :], is_none[: len(rows)]
    right = ~own & (scores[: len(rows)].argmax(axis=1) == data.truth[rows].argmax(axis=1))
    shares = f"of {len(far):,} texts of other sets {far.mean():.3f}, of its own {own.mean():.3f}"
    accuracy = (right.sum() + far.sum()) / len(is_none)
    print(f"  none of these, {name}: {shares}; right of all {accuracy:.3f}")


def report_skewed(scorer: ZeroShotScorer, data: LabelledSet) -> None:
    """Accuracy in calls whose labels are not equally common: that of the default, then transductive."""
    for name, weights in skews(len(data.labels)).items():
        rng, found = np.random.default_rng(len(name)), []
        for _ in range(DRAWS):
            rows = draw(data, rng.permutation(weights), rng)
            texts, columns = [data.texts[i] for i in rows], data.truth[rows].argmax(axis=1)
            ways = [scorer.similarities(texts, data.labels, options) for options in (ALONE, TOGETHER)]
            found.append([len(rows), *(float((s.argmax(axis=1) == columns).mean()) for s in ways)])
        texts_a_call, alone, together = np.mean(found, axis=0)
        worst = min(after - before for _, before, after in found)
        told = f"{alone:.3f}, transductive {together:.3f} (in the worst call {worst:+.3f})"
        print(f"  {name}, {texts_a_call:.0f} texts a call: accuracy {told}")


def skews(c: int) -> dict[str, NDArray[np.float64]]:
    """How common c labels are in a call, by a name for it: (c,) each, not normalised."""
    rank = np.arange(c)
    return {
        "labels as common as 1 / rank": 1 / (1 + rank),
        "half of the labels have texts": (rank < c // 2).astype(np.float64),
        "a tenth of the labels, two at least": (rank < max(2, c // 10)).astype(np.float64),
    }


def draw(data: LabelledSet, weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a call of at most SKEWED texts: as many of each label as its weight says, or as there are."""
    counts = rng.multinomial(SKEWED, weights / weights.sum())
    of_label = [rng.permutation(np.flatnonzero(column)) for column in data.truth.T]
    return np.concatenate([rows[:count] for rows, count in zip(of_label, counts, strict=True)])


def of_few_labels(scorer: ZeroShotScorer, data: LabelledSet, count: int, options: ZeroShotOptions) -> float:
    """Mean macro-F1 over draws of `count` labels; as many texts have none of them as have one."""
    rng, found = np.random.default_rng(count), []
    for _ in range(DRAWS):
        columns = np.sort(rng.permutation(len(data.labels))[:count])
        has_one = data.truth[:, columns].any(axis=1)
        inside, others = np.flatnonzero(has_one), np.flatnonzero(~has_one)
        rows = np.concatenate([inside, rng.permutation(others)[: len(inside)]])
        scores = scorer.similarities(
            [data.texts[i] for i in rows],
            [data.labels[j] for j in columns],
            options,
        )
        given = given_of_several(scores, several_of(scores)[0])
        found.append(macro_f1(data.truth[np.ix_(rows, columns)], given))
    return float(np.mean(found))


def _is_none(scores: Float32, temperature: float) -> Bools:
    probabilities, none = one_of(scores, temperature, may_be_none=True)
    return np.asarray(none > probabilities.max(axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    parser.add_argument("--test", type=Path, nargs="+", required=True)
    parser.add_argument("--precision", default="int8")
    arguments = parser.parse_args()
    engine = load_encoder(precision=arguments.precision)
    encoder = RememberingEncoder(engine)  # several ways are tried on the same texts
    temperature = fit(ZeroShotScorer(encoder, 1.0), [read(path) for path in arguments.fit])
    tests = [read(path, 2 * LIMIT) for path in arguments.test]
    for data in tests:
        others = [text for other in tests if other is not data for text in other.texts[:700]]
        report(ZeroShotScorer(encoder, temperature), data, others)
    engine.close()


if __name__ == "__main__":
    main()
