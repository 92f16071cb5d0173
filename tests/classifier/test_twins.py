"""Examples that are the same text but for case and white space flatter no figure and shrink no scope."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.fitting import Recipe, Trainable, fit_and_predict
from classifier.folds import fold_count, seen_elsewhere, stratified_folds
from classifier.heads import ClassifierHeads
from classifier.progress import Progress
from core.classifier_types import Abstention, Examples, HeadKind, TrainingOptions
from core.twins import first_rows, twin_groups
from core.types import Float32
from tests.classifier.heads_data import clusters, several, with_copies

HEADS = ClassifierHeads()
HARD = clusters([30, 30, 30], spread=2.0)
TEST = clusters([100, 100, 100], spread=2.0, seed=9)


def going(share: float) -> None:
    """Nobody waits."""


def outside(trained_on: Examples, texts: Examples) -> float:
    """The share of `texts` that a head takes for out of scope."""
    head = HEADS.train(trained_on, TrainingOptions(), going).head
    return float(
        np.mean([a is Abstention.OUT_OF_SCOPE for a in HEADS.scores(head, texts.vectors).abstentions])
    )


def test_twins_have_the_number_of_the_text_that_came_first() -> None:
    groups = twin_groups(["Where?", "What", " where? ", "WHAT", "why", "Caf\u00e9", "cafe\u0301"])
    assert groups.tolist() == [0, 1, 0, 1, 2, 3, 3]
    assert first_rows(groups).tolist() == [0, 1, 4, 5]


def test_twins_are_held_out_together_and_move_no_other_example() -> None:
    copied = with_copies(HARD, range(0, 90, 3))
    data, alone = Trainable.of(copied, is_multi=False), Trainable.of(HARD, is_multi=False)
    count = fold_count(data.truth, data.groups)
    folds = stratified_folds(data.truth, data.groups, count, seed=3)
    assert count == fold_count(alone.truth, alone.groups)
    assert (folds[:90] == stratified_folds(alone.truth, alone.groups, count, seed=3)).all()
    assert (folds[90:] == folds[0:90:3]).all()


def test_a_label_of_twins_alone_is_seen_by_no_head_that_predicts_it() -> None:
    truth = np.eye(2, dtype=np.bool_)[[0, 0, 1, 1]]
    assert (seen_elsewhere(truth, np.array([0, 1, 1, 1])) == truth & [True, False]).all()


def test_copies_do_not_raise_the_figures_of_a_report() -> None:
    alone = HEADS.train(HARD, TrainingOptions(), going).report
    copied = HEADS.train(with_copies(HARD, range(90)), TrainingOptions(), going).report
    assert alone["accuracy"] < 0.95  # copies held out apart are all predicted rightly
    assert copied["accuracy"] < alone["accuracy"] + 0.03
    assert copied["abstention"]["precision_at_least"] < alone["abstention"]["precision_at_least"] + 0.05
    assert copied["learning_curve"][-1]["accuracy"] < 0.98
    assert any("repeat the text of another" in problem for problem in copied["problems"])


def test_copies_are_no_more_evidence_that_the_target_is_reached() -> None:
    easy = clusters([15, 15], spread=0.3)
    for examples in (easy, with_copies(easy, range(30))):  # 30 right of 30 may be 0.92 of all, 60 of 60 0.957
        report = HEADS.train(examples, TrainingOptions(target_precision=0.95), going).report
        assert report["accuracy"] == 1
        assert report["abstention"]["is_target_reached"] is False


def test_copies_do_not_put_other_texts_out_of_scope() -> None:
    assert outside(HARD, TEST) < 0.05
    assert outside(with_copies(HARD, range(90)), TEST) < 0.05


def test_a_refit_leaves_twins_out_of_each_others_distance_too() -> None:
    trained = HEADS.train(HARD, TrainingOptions(), going)
    fitted = HEADS.refit(trained.head, with_copies(HARD, range(90)), TrainingOptions())
    assert fitted.head.parameters["scope"]["far"] == pytest.approx(trained.head.parameters["scope"]["far"])


def test_an_example_is_in_scope_also_where_all_have_the_same_vector() -> None:
    vectors = np.repeat(HARD.vectors[[0, 30]], 300, axis=0)
    truth = np.repeat(HARD.truth[[0, 30], :2], 300, axis=0)
    examples = Examples(HARD.labels[:2], tuple(map(str, range(600))), vectors, truth)
    scope = HEADS.train(examples, TrainingOptions(), going).head.parameters["scope"]
    assert scope["far"] <= scope["doubtful"] < 0.9999


@pytest.mark.parametrize("multi_label", [False, True])
def test_of_one_text_alone_nothing_can_be_held_out(multi_label: bool) -> None:
    examples = clusters([1, 1])
    vectors = np.repeat(examples.vectors[:1], 2, axis=0)
    one_text = Examples(examples.labels, ("Where is it?", "where  is it?"), vectors, examples.truth)
    trained = HEADS.train(one_text, TrainingOptions(multi_label=multi_label), going)
    assert trained.report["accuracy"] is None
    assert any("nothing could be held out" in problem for problem in trained.report["problems"])
    assert HEADS.scores(trained.head, vectors).probabilities == pytest.approx(0.5, abs=0.5)


def test_many_copies_of_one_text_move_neither_landmarks_nor_thresholds() -> None:
    examples = clusters([200, 200, 200], spread=2.0)
    scope = HEADS.train(examples, TrainingOptions(), going).head.parameters["scope"]
    copied = HEADS.train(with_copies(examples, [0] * 3000), TrainingOptions(), going).head
    assert len(copied.arrays["landmarks"]) == 600, "every text is one"
    assert copied.parameters["scope"]["far"] == pytest.approx(scope["far"])
    assert copied.parameters["scope"]["doubtful"] == pytest.approx(scope["doubtful"])
    assert copied.parameters["scope"]["unsure"] == pytest.approx(scope["unsure"], abs=0.15)


@pytest.mark.parametrize("kind", HeadKind)
@pytest.mark.parametrize("multi_label", [False, True])
def test_of_one_text_in_two_spellings_each_kind_of_head_learns(kind: HeadKind, multi_label: bool) -> None:
    both = Examples(("a", "b"), ("ok", "OK"), HARD.vectors[[0, 0]], np.eye(2, dtype=np.bool_))
    trained = HEADS.train(both, TrainingOptions(kind, multi_label), going)
    assert trained.report["accuracy"] is None
    assert np.isfinite(HEADS.scores(trained.head, TEST.vectors).probabilities).all()


@pytest.mark.parametrize("kind", HeadKind)
@pytest.mark.parametrize("examples", [HARD, several(90)], ids=["one label", "several"])
def test_copies_weigh_no_more_than_one_example(kind: HeadKind, examples: Examples) -> None:
    is_multi = examples.labels[0] == "a"
    recipe, vectors = Recipe(kind), TEST.vectors
    copied = with_copies(examples, [*range(0, 90, 3), *range(30)])

    def logits(of: Examples) -> Float32:
        return fit_and_predict(recipe, Trainable.of(of, is_multi), vectors, Progress(going))

    assert logits(copied) == pytest.approx(logits(examples), abs=1e-4)


def test_copies_with_another_label_both_count() -> None:
    truth = np.eye(2, dtype=np.bool_)[[0, 1, 1, 0, 1]]
    data = Trainable(HARD.vectors[:5], truth, twin_groups(["a", "A", " a", "b", "c"]), is_multi=False)
    assert (data.once().vectors == data.vectors[[0, 1, 3, 4]]).all()


def test_a_refit_counts_copies_once_too() -> None:
    trained = HEADS.train(HARD, TrainingOptions(HeadKind.LOGISTIC), going)
    alone, copied = (
        HEADS.refit(trained.head, of, TrainingOptions()) for of in (HARD, with_copies(HARD, range(90)))
    )
    assert copied.head.arrays["weights"] == pytest.approx(alone.head.arrays["weights"], abs=1e-4)
