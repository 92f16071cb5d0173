"""Whole evaluations with a fake encoder: in this process, and against the whole service in process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from classifier.zero_shot import ZeroShotScorer
from cognate.bootstrap import open_runtime
from cognate.server import make_app
from cognate.settings import Settings
from core.errors import InvalidInput, Unavailable
from core.label_types import Label
from core.types import Float32, Lane
from evaluation.datasets import Query, load_classification, load_data_set, load_retrieval
from evaluation.results import Result
from evaluation.run import evaluate
from evaluation.server import Json, ServerRefused, ServerSystem
from evaluation.systems import EncoderSystem, RememberingEncoder
from tests.evaluation.data import TOPICS, write_beir, write_labelled, write_pairs
from tests.fakes import FakeEncoder, word_vector


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


def in_process() -> EncoderSystem:
    return EncoderSystem("fake", FakeEncoder(), lambda encoder: ZeroShotScorer(encoder, 0.05))


def values(result: Result) -> dict[str, float]:
    return {measure.name: measure.value for measure in result.measures}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(data_dir=tmp_path / "data")
    with (
        open_runtime(settings, FakeEncoder(refuse=lambda text: "copper" in text)) as services,
        TestClient(make_app(services, settings), base_url="http://127.0.0.1") as running,
    ):
        yield running


@pytest.fixture
def server(client: TestClient) -> ServerSystem:
    return ServerSystem("server", lambda method, path, body: client.request(method, path, json=body))


def test_a_model_that_finds_everything_has_full_marks(tmp_path: Path) -> None:
    data = load_data_set(write_beir(tmp_path / "tiny"))

    report = evaluate(in_process(), [data], quiet)

    assert values(report.results[0]) == dict.fromkeys(["nDCG@10", "recall@100", "MAP@1000", "MRR@10"], 1.0)
    assert report.results[0].measures[0].items == {"q0": 1.0, "q1": 1.0, "q2": 1.0, "q4": 1.0}


def test_the_report_so_far_is_given_after_each_data_set(tmp_path: Path) -> None:
    data = [load_data_set(write_beir(tmp_path / name)) for name in ("one", "two")]
    seen: list[list[str]] = []

    evaluate(in_process(), data, quiet, lambda report: seen.append([r.data_set for r in report.results]))

    assert seen == [["one/test"], ["one/test", "two/test"]]


def test_a_document_is_encoded_as_title_then_text(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "tiny")
    queries = [Query("q", "Topic 3")]
    data = load_retrieval(folder, "test")

    rankings, _ = in_process().rank(data.corpus, queries, 5, quiet)

    assert rankings[0][0] == "d3"
    assert word_vector("Topic 3") @ word_vector(f"Topic 3 {TOPICS[3]}") > 0.5


def test_a_server_gives_the_same_marks_and_keeps_nothing(
    tmp_path: Path, client: TestClient, server: ServerSystem
) -> None:
    data = load_data_set(write_beir(tmp_path / "tiny"))

    report = evaluate(server, [data], quiet)

    assert values(report.results[0]) == dict.fromkeys(["nDCG@10", "recall@100", "MAP@1000", "MRR@10"], 1.0)
    assert any(note.startswith("1 documents failed, first:") for note in report.results[0].notes)
    assert client.get("/v1/collections").json()["collections"] == []


def test_a_refused_search_mode_is_told_and_the_collection_is_still_deleted(
    tmp_path: Path, client: TestClient
) -> None:
    def send(method: str, path: str, body: Json | None) -> httpx.Response:
        return client.request(method, path, json=body)  # type: ignore[return-value]  # alike

    data = load_data_set(write_beir(tmp_path / "tiny"))

    with pytest.raises(ServerRefused, match=r"server answered 4\d\d: .*guessing"):
        evaluate(ServerSystem("server", send, mode="guessing"), [data], quiet)
    assert client.get("/v1/collections").json()["collections"] == []


def test_queries_that_a_server_refuses_count_as_nothing_found_and_are_named(
    tmp_path: Path, server: ServerSystem
) -> None:
    folder = write_beir(tmp_path / "tiny")
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    wrong = {"q1": " ", "q4": "x" * 40_000}
    rows = [row | {"text": wrong.get(row["_id"], row["text"])} for row in queries]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    result = evaluate(server, [load_data_set(folder)], quiet).results[0]

    assert result.measures[0].items == {"q0": 1.0, "q1": 0.0, "q2": 1.0, "q4": 0.0}
    (note,) = [note for note in result.notes if "queries were refused" in note]
    assert note.startswith("2 queries were refused and count as 0, first: query 'q1': server answered 422: ")
    assert "empty" in note


def test_a_query_is_named_when_a_server_refuses_all(tmp_path: Path, server: ServerSystem) -> None:
    folder = write_beir(tmp_path / "tiny")
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row | {"text": ""}) + "\n" for row in queries))

    with pytest.raises(ServerRefused, match=r"^tiny/test: query 'q0': server answered 422: .*empty"):
        evaluate(server, [load_data_set(folder)], quiet)


def test_the_text_that_a_server_refuses_is_named(tmp_path: Path, server: ServerSystem) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl")
    with path.open("a") as file:
        file.write(json.dumps({"a": "some words", "b": "many " * 400, "score": 1}) + "\n")

    with pytest.raises(ServerRefused, match=r"^pairs: text 'many many .*…': .* 400: Input 0 has 402 tokens"):
        evaluate(server, [load_data_set(path)], quiet)
    with pytest.raises(ServerRefused, match=r"^text ' ': .* 422: texts\[0\] is empty"):
        server.scorer.classify(["a", "b", " ", "c"], [Label("x"), Label("y")])


def test_a_busy_server_is_asked_again_after_the_time_it_states() -> None:
    answers = [httpx.Response(429, headers={"Retry-After": "3"}), httpx.Response(503), httpx.Response(404)]
    waits: list[float] = []
    system = ServerSystem("server", lambda *_: answers.pop(0), sleep=waits.append)

    with pytest.raises(InvalidInput, match=r"has no /v1/models"):
        system.embed(["a"], quiet)
    assert waits == [3.0, 1.0]


def test_a_server_that_stays_busy_is_given_up() -> None:
    system = ServerSystem("server", lambda *_: httpx.Response(429), sleep=lambda _: None)

    with pytest.raises(Unavailable, match="still busy"):
        system.embed(["a"], quiet)


def test_embeddings_of_a_server_are_put_in_order_and_normalised() -> None:
    rows = [{"index": 1, "embedding": [0.0, 2.0]}, {"index": 0, "embedding": "AAAAQAAAAAA="}]
    answers = [{"data": [{"id": "some-model"}]}, {"data": rows}]
    system = ServerSystem("server", lambda *_: httpx.Response(200, json=answers.pop(0)))

    assert system.embed(["a", "b"], quiet).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_pairs_in_the_judged_order_correlate_fully(tmp_path: Path) -> None:
    data = load_data_set(write_pairs(tmp_path / "pairs.jsonl"))

    report = evaluate(in_process(), [data], quiet)

    assert values(report.results[0]) == {"Spearman": pytest.approx(1.0)}


@pytest.mark.parametrize("is_multi", [False, True])
def test_classes_told_by_their_words_are_all_found(tmp_path: Path, is_multi: bool) -> None:
    data = load_data_set(write_labelled(tmp_path / "labelled", is_multi))

    result = evaluate(in_process(), [data], quiet).results[0]

    names = ["full", "8 a class", "16 a class", "zero-shot"]
    expected = [f"{measure}, {name}" for name in names for measure in ("accuracy", "macro-F1")]
    assert values(result) == dict.fromkeys(expected, 1.0)
    assert [measure.std for measure in result.measures] == [None, None, 0.0, 0.0, 0.0, 0.0, None, None]
    assert len(result.measures[0].items) == 6


def test_zero_shot_of_a_server_is_its_own(tmp_path: Path, server: ServerSystem) -> None:
    data = load_classification(write_labelled(tmp_path / "labelled"), "test")

    results = server.scorer.classify(
        [example.text for example in data.test], [Label(name) for name in ("fruit", "water", "music")]
    )

    assert [result.label for result in results] == ["fruit", "water", "music"] * 2


def test_a_text_is_encoded_once_until_forgotten() -> None:
    calls: list[list[str]] = []

    class Counting(FakeEncoder):
        def encode_queries(self, texts: Sequence[str], lane: Lane = Lane.INTERACTIVE) -> Float32:
            calls.append(list(texts))
            return super().encode_queries(texts)

    encoder = RememberingEncoder(Counting())
    first = encoder.encode_queries(["a", "b", "a"])
    encoder.encode_queries(["b", "c"])
    encoder.forget()
    encoder.encode_queries(["a"])

    assert calls == [["a", "b"], ["c"], ["a"]]
    assert (first[0] == first[2]).all()
