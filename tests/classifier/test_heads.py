"""Trained heads, through the port."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from classifier.heads import ClassifierHeads
from core.classifier_types import Abstention, Examples, HeadKind, TrainingOptions
from core.errors import InvalidInput, NotFound
from tests.classifier.heads_data import clusters, several

HEADS = ClassifierHeads()
EXAMPLES = clusters([40, 40, 40])
TEST = clusters([100, 100, 100], seed=9)


def going(share: float) -> None:
    assert 0 <= share <= 1


def accuracy(examples: Examples, scored: np.ndarray) -> float:
    return float((examples.truth == scored).all(axis=1).mean())


@pytest.mark.parametrize("kind", HeadKind)
def test_each_kind_learns_and_its_probabilities_are_honest(kind: HeadKind) -> None:
    trained = HEADS.train(EXAMPLES, TrainingOptions(head=kind), going)
    scores = HEADS.scores(trained.head, TEST.vectors)
    best = scores.probabilities.max(axis=1)
    is_right = (TEST.truth & scores.is_chosen).any(axis=1)
    assert trained.head.kind is kind
    assert np.allclose(scores.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (scores.is_chosen.sum(axis=1) == 1).all()
    assert is_right.mean() > 0.9
    assert abs(best.mean() - is_right.mean()) < 0.05


def test_the_report_is_json_and_names_all_that_was_tried() -> None:
    trained = HEADS.train(EXAMPLES, TrainingOptions(), going)
    report = json.loads(json.dumps(trained.report))
    assert {row["kind"] for row in report["head"]["candidates"]} == set(HeadKind)
    assert report["head"]["kind"] == trained.head.kind.value
    assert len(report["head"]["strengths"]) >= 2
    assert trained.metrics["accuracy"] == report["accuracy"]
    assert report["learning_curve"]
    assert HEADS.plot(report, "calibration").startswith(b"\x89PNG")


def test_neighbours_win_where_no_plane_separates_the_labels() -> None:
    rng = np.random.default_rng(0)
    angles = rng.random(400) * 2 * np.pi
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    truth = np.floor(angles * 4 / np.pi).astype(int)[:, None] % 2 == np.arange(2)
    examples = Examples(("even", "odd"), tuple(map(str, range(400))), vectors, truth)
    assert HEADS.train(examples, TrainingOptions(), going).head.kind is HeadKind.NEIGHBOURS


def test_the_same_seed_gives_the_same_head() -> None:
    first, second = (HEADS.train(EXAMPLES, TrainingOptions(seed=3), going) for _ in range(2))
    assert first.report == second.report
    assert first.head.parameters == second.head.parameters
    for name, values in first.head.arrays.items():
        assert np.array_equal(values, second.head.arrays[name])


def test_examples_with_several_labels_get_thresholds_of_their_own() -> None:
    trained = HEADS.train(several(600), TrainingOptions(), going)
    test = several(400, seed=5)
    scores = HEADS.scores(trained.head, test.vectors)
    assert trained.head.is_multi
    assert trained.head.arrays["thresholds"].shape == (4,)
    assert accuracy(test, scores.is_chosen) > 0.7
    assert np.allclose(scores.probabilities.mean(axis=0), test.truth.mean(axis=0), atol=0.06)
    assert np.array_equal(scores.is_chosen, scores.probabilities >= trained.head.arrays["thresholds"])


@pytest.mark.parametrize("kind", [HeadKind.NEIGHBOURS, HeadKind.PROTOTYPES])
def test_other_kinds_take_several_labels_too(kind: HeadKind) -> None:
    trained = HEADS.train(several(300), TrainingOptions(head=kind), going)
    test = several(300, seed=5)
    found = HEADS.scores(trained.head, test.vectors).is_chosen
    assert ((found == test.truth).mean(axis=0) > 0.7).all()


def test_weights_and_bias_give_the_logit() -> None:
    trained = HEADS.train(EXAMPLES, TrainingOptions(head=HeadKind.LOGISTIC), going)
    linear = HEADS.linear(trained.head, "label 1")
    assert linear is not None
    weights, bias = linear
    logits = HEADS.scores(trained.head, TEST.vectors).logits
    assert np.allclose(TEST.vectors @ weights + bias, logits[:, 1], atol=1e-4)
    assert HEADS.linear(replace(trained.head, kind=HeadKind.NEIGHBOURS), "label 1") is None


def test_answers_that_are_not_abstained_reach_the_target() -> None:
    hard, test = clusters([200] * 4, spread=2.2), clusters([500] * 4, spread=2.2, seed=9)
    trained = HEADS.train(hard, TrainingOptions(target_precision=0.9), going)
    scores = HEADS.scores(trained.head, test.vectors)
    answered = np.array([reason is None for reason in scores.abstentions])
    right = np.asarray((scores.is_chosen & test.truth).any(axis=1))
    assert right.mean() < 0.88
    assert right[answered].mean() >= 0.89
    assert answered.mean() > 0.4
    assert Abstention.LOW_CONFIDENCE in scores.abstentions


def test_a_target_out_of_reach_is_named() -> None:
    trained = HEADS.train(clusters([30, 30], spread=4.0), TrainingOptions(target_precision=0.99), going)
    assert not trained.report["abstention"]["is_target_reached"]
    (told,) = (problem for problem in trained.report["problems"] if "0.99 asked for" in problem)
    assert "takes 268 answers, all right" in told
    assert f"answers {trained.report['abstention']['coverage']:.0%} of them" in told
    assert "ask for a lower target_precision, or set abstain_below" in told


def test_a_given_limit_is_kept() -> None:
    trained = HEADS.train(EXAMPLES, TrainingOptions(abstain_below=0.999), going)
    assert trained.head.parameters["abstain_below"] == 0.999


def test_what_is_unlike_all_examples_is_out_of_scope() -> None:
    trained = HEADS.train(EXAMPLES, TrainingOptions(), going)
    away = -EXAMPLES.vectors.mean(axis=0, keepdims=True)
    away /= np.linalg.norm(away)
    assert HEADS.scores(trained.head, away).abstentions == (Abstention.OUT_OF_SCOPE,)
    reasons = HEADS.scores(trained.head, TEST.vectors).abstentions
    assert sum(reason is Abstention.OUT_OF_SCOPE for reason in reasons) < 0.1 * len(reasons)
    open_to_all = HEADS.train(EXAMPLES, TrainingOptions(out_of_scope=False, abstain_below=0.0), going)
    assert HEADS.scores(open_to_all.head, away).abstentions == (None,)


def test_rare_labels_are_found_by_a_shift_of_the_logits() -> None:
    trained = HEADS.train(clusters([600, 12, 12], spread=1.6), TrainingOptions(head=HeadKind.LOGISTIC), going)
    assert trained.head.parameters["prior_share"] > 0
    assert trained.report["head"]["prior_share"] == trained.head.parameters["prior_share"]


def test_a_training_can_be_ended_half_way() -> None:
    class Stopped(Exception):
        pass

    def ends(share: float) -> None:
        if share > 0:
            raise Stopped

    with pytest.raises(Stopped):
        HEADS.train(EXAMPLES, TrainingOptions(), ends)


@pytest.mark.parametrize(
    ("examples", "options", "words"),
    [
        (clusters([1]), TrainingOptions(), "at least two"),
        (clusters([5]), TrainingOptions(), "'label 0'"),
        (several(20), TrainingOptions(multi_label=False), "exactly one"),
        (clusters([5]), TrainingOptions(multi_label=True), "with and without"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    examples: Examples, options: TrainingOptions, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        HEADS.train(examples, options, going)


def test_one_example_a_label_gives_a_head_and_says_that_nothing_was_held_out() -> None:
    trained = HEADS.train(clusters([1, 1, 1], spread=0.1), TrainingOptions(), going)
    assert any("held out" in problem for problem in trained.report["problems"])
    assert not any("asked for was reached" in problem for problem in trained.report["problems"])
    scores = HEADS.scores(trained.head, TEST.vectors)
    assert accuracy(TEST, scores.is_chosen) > 0.8
    assert np.allclose(scores.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_where_nothing_was_held_out_the_report_has_no_figures(multi_label: bool) -> None:
    options = TrainingOptions(multi_label=multi_label)
    trained = HEADS.train(clusters([1, 1, 1], spread=0.1), options, going)
    report = json.loads(json.dumps(trained.report))
    assert trained.metrics == {}
    assert "cross-validation" not in report["split"]["method"]
    assert {report[name] for name in ("accuracy", "macro_f1", "micro_f1")} == {None}
    assert report["suspicious_labels"] == {"count": 0, "examples": []}
    assert [row["f1"] for row in report["classes"]] == [None] * 3
    assert report["calibration"] == {"bins": [], "ece": None, "ece_before": None}
    assert report["abstention"]["is_chosen_for_target"] is False
    assert report["abstention"]["precision_at_least"] is None
    assert trained.head.parameters["abstain_below"] == 0
    assert report["head"]["candidates"] == report["learning_curve"] == []
    for plot in ("confusion", "calibration", "learning_curve"):
        with pytest.raises(NotFound, match="report holds no"):
            HEADS.plot(report, plot)
    usual = HEADS.train(EXAMPLES, TrainingOptions(), going).report
    assert {name: set(part) for name, part in report.items() if isinstance(part, dict)} == {
        name: set(part) for name, part in usual.items() if isinstance(part, dict)
    } | {"head": set(report["head"])}


def test_a_label_of_one_example_or_none_does_not_stop_the_others() -> None:
    examples = clusters([20, 20, 1])
    labels = (*examples.labels, "never seen")
    truth = np.concatenate([examples.truth, np.zeros((41, 1), np.bool_)], axis=1)
    trained = HEADS.train(Examples(labels, examples.texts, examples.vectors, truth), TrainingOptions(), going)
    assert any("'label 2'" in problem for problem in trained.report["problems"])
    probabilities = HEADS.scores(trained.head, TEST.vectors).probabilities
    assert probabilities[:, 3].max() < 0.5


def test_the_only_example_of_a_label_is_not_called_a_wrong_label() -> None:
    examples = clusters([30] * 4 + [1] * 8, spread=0.5)
    only = set(examples.labels[4:])
    found = HEADS.train(examples, TrainingOptions(), going).report["suspicious_labels"]["examples"]
    assert not [row for row in found if only & {*row["given"], *row["suggested"]}]


def test_a_thousand_labels() -> None:
    trained = HEADS.train(clusters([3] * 1000, spread=0.3), TrainingOptions(head=HeadKind.PROTOTYPES), going)
    test = clusters([1] * 1000, spread=0.3, seed=4)
    assert accuracy(test, HEADS.scores(trained.head, test.vectors).is_chosen) > 0.8


@pytest.mark.parametrize("kind", HeadKind)
def test_a_refit_learns_a_new_label_from_one_example(kind: HeadKind) -> None:
    trained = HEADS.train(EXAMPLES, TrainingOptions(head=kind), going)
    away = -EXAMPLES.vectors.mean(axis=0, keepdims=True)
    away /= np.linalg.norm(away)
    more = Examples(
        ("new", *EXAMPLES.labels),
        ("something else", *EXAMPLES.texts),
        np.concatenate([away, EXAMPLES.vectors]),
        np.block(
            [[np.ones((1, 1), bool), np.zeros((1, 3), bool)], [np.zeros((120, 1), bool), EXAMPLES.truth]]
        ),
    )
    fitted = HEADS.refit(trained.head, more, TrainingOptions())
    scores = HEADS.scores(fitted.head, np.concatenate([away, TEST.vectors]))
    assert fitted.head.kind is kind
    assert fitted.head.parameters["calibration"] == trained.head.parameters["calibration"]
    assert scores.logits.shape[1] == 4
    if kind is not HeadKind.NEIGHBOURS:  # one vote of five or ten changes no majority
        assert scores.is_chosen[0].tolist() == [True, False, False, False]
    assert accuracy(TEST, scores.is_chosen[1:, 1:]) > 0.9
    assert json.loads(json.dumps(fitted.report))["note"]


def test_a_refit_keeps_the_thresholds_of_labels_that_stay() -> None:
    examples = several(300)
    trained = HEADS.train(examples, TrainingOptions(), going)
    turned = Examples(examples.labels[::-1], examples.texts, examples.vectors, examples.truth[:, ::-1])
    fitted = HEADS.refit(trained.head, turned, TrainingOptions())
    assert np.array_equal(fitted.head.arrays["thresholds"], trained.head.arrays["thresholds"][::-1])


def test_serving_loads_none_of_the_large_libraries() -> None:
    code = "import sys, classifier.heads; assert not {'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_preloading_leaves_nothing_for_the_first_refit_to_import() -> None:
    code = (
        "import sys, classifier.heads; classifier.heads.preload(); loaded = set(sys.modules);"
        "assert {'scipy.optimize', 'classifier.refitting'} <= loaded and 'sklearn' not in loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
