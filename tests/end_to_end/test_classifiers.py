"""Trained classifiers with the shipped encoder, real heads and a real database, in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cognate.bootstrap import open_runtime
from cognate.settings import Settings
from core.classifier_types import HeadKind, LabelledText, Predictions, TrainingOptions, TrainRequest
from core.job_types import JobState
from core.services import Services
from core.types import PassageText
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

SUBJECTS = {
    "sports": ("The striker scored", "Our team won", "The goalkeeper saved", "The coach praised the runner"),
    "money": ("The bank raised its rate", "Shares fell", "She repaid the loan", "The fund lost value"),
    "weather": ("Heavy rain fell", "The sun shone", "Snow covered the hills", "A storm came up"),
}
WHEN = ("today.", "last night.", "on Monday.", "in the morning.", "after a long wait.")
EXAMPLES = tuple(
    LabelledText(f"{subject} {when}", (label,))
    for label, subjects in SUBJECTS.items()
    for subject in subjects
    for when in WHEN
)
ASKED = ["A late penalty decided the match.", "Interest on loans is high.", "Fog and frost are expected."]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", threads=2)


def train(services: Services) -> None:
    options = TrainingOptions(head=HeadKind.LOGISTIC, abstain_below=0.0)
    job = services.classifiers.put("topic", TrainRequest(EXAMPLES, options=options))
    wait_until(lambda: services.jobs.get(job.id).state.is_final, "the training is over")
    ended = services.jobs.get(job.id)
    assert (ended.state, ended.done) == (JobState.SUCCEEDED, len(EXAMPLES)), ended.errors


def ask(services: Services, evidence: bool = False) -> Predictions:
    return services.classifiers.classify("topic", ASKED, evidence)


def test_a_classifier_is_trained_explained_corrected_and_survives_a_restart(settings: Settings) -> None:
    with open_runtime(settings) as services:
        train(services)
        told = ask(services, evidence=True)
        assert [one.label for one in told.predictions] == ["sports", "money", "weather"]
        assert_contributions_add_up(services, told)
        before = ask(services).predictions
        feedback = services.classifiers.change_examples(
            "topic", [LabelledText("Buy flour and eggs.", ("food",))]
        )
        assert feedback.version is not None
        assert feedback.version.labels == ("food", "money", "sports", "weather")
        services.classifiers.activate("topic", 1)
        assert ask(services).predictions == before
        assert services.classifiers.report("topic")["accuracy"] > 0.9
        assert services.classifiers.plot("topic", None, "confusion").startswith(b"\x89PNG")
    with open_runtime(settings) as services:
        again = ask(services)
        assert (again.version, again.predictions) == (1, before)


def assert_contributions_add_up(services: Services, told: Predictions) -> None:
    """They do to the reported logit, and that is the head's for the encoder's exact vectors."""
    served = services.classifiers.serving.active.get("topic")
    parts = services.encoder.passage_parts([PassageText("", text) for text in ASKED])  # type: ignore[attr-defined]  # the shipped encoder's
    vectors = np.stack([one.vectors.sum(axis=0) for one in parts])
    logits = services.classifiers.heads.scores(served.head, vectors).logits
    for row, prediction in enumerate(told.predictions):
        evidence = prediction.evidence
        assert evidence is not None
        assert evidence.bias is not None
        total = evidence.bias + sum(token.contribution for token in evidence.tokens)
        assert total == pytest.approx(evidence.logit, rel=1e-4)
        assert total == pytest.approx(logits[row, served.head.labels.index(evidence.label)], rel=1e-4)
        assert evidence.neighbours[0].labels == (prediction.label,)
