"""Trained classifiers in production: workers train and label, this process serves what they made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cognate.bootstrap import open_runtime
from cognate.settings import Settings
from core.classifier_types import LabelledText, Labelling, TrainRequest
from core.job_types import Job, JobState
from core.services import Services
from tests.production.conftest import Standing
from tests.production.traffic import create, job_of, post
from tests.waiting import wait_until

pytestmark = pytest.mark.integration

GOALS = ("The striker scored twice in the final.", "The match ended in a draw.", "Our team won the cup.")
RATES = (
    "The bank raised its interest rate.",
    "Shares fell on the stock market.",
    "She repaid the loan early.",
)
TOPICS = [LabelledText(text, ("sports",)) for text in GOALS] + [
    LabelledText(text, ("money",)) for text in RATES
]
ARRIVED = {
    "a": "The goalkeeper saved a penalty in the cup final.",
    "b": "The bank offers loans at a low rate.",
}


@pytest.fixture
def services(standing: Standing, tmp_path: Path) -> Iterator[Services]:
    """A third serving process beside the two APIs: this one."""
    deployment = standing.deployment
    settings = Settings(
        database_url=deployment.database_url,
        redis_url=deployment.redis.url,
        data_dir=tmp_path / "here",
        threads=1,
    )
    with open_runtime(settings) as services:
        yield services


def ended(services: Services, job: Job) -> Job:
    wait_until(lambda: services.jobs.get(job.id).state.is_final, f"{job.kind} is over")
    return services.jobs.get(job.id)


def test_workers_train_and_label_and_every_process_serves_the_result(
    standing: Standing, services: Services
) -> None:
    classifiers = services.classifiers
    job = ended(services, classifiers.put("topic", TrainRequest(tuple(TOPICS)), "r1"))
    assert (job.state, job.done) == (JobState.SUCCEEDED, len(TOPICS)), job.errors
    texts = list(ARRIVED.values())
    assert [one.label for one in classifiers.classify("topic", texts).predictions] == ["sports", "money"]
    worker_logs = [process.output() for process in standing.others]
    assert any("classifier version active" in output for output in worker_logs), "a worker trained it"

    create(standing.first.http, "topics")
    labelled = classifiers.label_collection("topics", Labelling("topic", "topic", on_arrival=True))
    assert ended(services, labelled).state is JobState.SUCCEEDED
    documents = [{"id": id_, "text": text} for id_, text in ARRIVED.items()]
    sent = post(standing.first.http, documents, "topics")["id"]
    wait_until(lambda: job_of(standing.first.http, sent)["state"] == "succeeded", "all are searchable")
    assert topics(standing) == {"a": "sports", "b": "money"}

    told = classifiers.change_examples("topic", [LabelledText("Rain and sun all day.", ("weather",))])
    assert told.version is not None
    assert classifiers.classify("topic", ["It will rain."]).version == told.version.number


def test_a_training_whose_worker_dies_is_taken_up_by_another(standing: Standing, services: Services) -> None:
    examples = [LabelledText(f"{one.text} Number {i}.", one.labels) for one in TOPICS for i in range(200)]
    job = services.classifiers.put("large", TrainRequest(tuple(examples)))
    wait_until(lambda: any(job.id in process.output() for process in standing.others), "a worker has it")
    killed = next(process for process in standing.others if job.id in process.output())
    killed.kill()
    try:
        assert ended(services, job).state is JobState.SUCCEEDED
        lines = [line for process in standing.others for line in process.output().splitlines()]
        assert len([line for line in lines if "job begun" in line and job.id in line]) == 2
    finally:
        killed.start()


def topics(standing: Standing) -> dict[str, str]:
    listed = (
        standing.first.http.get("/v1/collections/topics/documents").raise_for_status().json()["documents"]
    )
    return {document["id"]: document["metadata"].get("topic") for document in listed}
