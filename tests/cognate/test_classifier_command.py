"""`cognate classify` and `cognate classifier` against an in-process server."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from cognate import classifier_command, classify_command
from cognate.classifier_client import ClassifierClient
from cognate.cli import app
from cognate.client import RequestFailed
from cognate.labelled_files import read_labelled
from core.errors import InvalidInput
from storage.labels import values_as_text
from tests.api.classifying import WORDS, examples, sentences
from tests.cognate.near import bring_near, serving


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """What the commands talk to."""
    with serving(tmp_path) as http:
        bring_near(monkeypatch, http, ClassifierClient, classify_command, classifier_command)
        yield http


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV file of examples, one of them without a label."""
    path = tmp_path / "tickets.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("number", "words", "topic"))
        rows.writerows((i, one["text"], one["label"]) for i, one in enumerate(examples()))
        rows.writerow((99, "nobody knows", ""))
    return path


@pytest.fixture
def topics(server: TestClient, table: Path) -> Result:
    """A trained classifier, and what training it told."""
    return run(
        "classifier",
        "train",
        "topics",
        "--file",
        str(table),
        "--text-field",
        "words",
        "--label-field",
        "topic",
    )


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "160"}, catch_exceptions=False)


def told(*arguments: str) -> str:
    """What a command that succeeds prints."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_training_on_a_file_ends_with_its_report(topics: Result) -> None:
    assert topics.exit_code == 0, topics.output
    assert "1 rows have no text or no label" in topics.stdout
    assert "36 examples of 3 labels" in topics.stdout
    assert "accuracy" in topics.stdout
    for label in WORDS:
        assert label in topics.stdout


def test_a_training_on_one_example_a_label_is_told_without_figures(
    server: TestClient, tmp_path: Path
) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"{label} it is", "label": label}) for label in WORDS))
    shown = told("classifier", "train", "few", "--file", str(path))
    assert "3 examples of 3 labels; nothing held out, head: prototypes" in shown
    assert "! No label has two examples, so nothing could be held out" in shown
    assert "accuracy" not in shown
    assert "look wrong" not in shown
    assert "f1" not in shown


def test_texts_are_classified_by_labels_or_by_a_classifier(topics: Result) -> None:
    assert told("classify", "a cat", "-l", "cat", "-l", "bank").startswith("cat  ")
    assert told("classify", "a cat", "--labels", "bank, cat").startswith("cat  ")
    assert told("classify", "cat dog paw", "--classifier", "topics").startswith("animals  ")
    explained = told("classify", "cat dog paw", "--classifier", "topics", "--evidence")
    assert "like " in explained
    row = json.loads(told("classify", "cat dog paw", "--classifier", "topics", "--json"))
    assert (row["text"], row["label"], row["abstained"]) == ("cat dog paw", "animals", row["abstained"])


def test_labels_without_training_are_compared_as_asked_for(server: TestClient) -> None:
    labels = ("-l", "cats", "-l", "dogs", "-l", "cars")
    assert told("classify", "cats dogs", *labels, "--multi-label").startswith("cats, dogs  ")
    assert "(none_of_these)" in told("classify", "stock prices", *labels, "--none-of-these")
    row = json.loads(told("classify", "cats", *labels, "--template", "{}", "--none-of-these", "--json"))
    assert (row["label"], row["abstained"]) == ("cats", False)
    few = run("classify", "cats", "dogs", *labels, "--transductive")
    assert len(few.stdout.splitlines()) == 2
    assert "transductive did nothing: it needs 5 texts a label, 15 in all, and 2 came" in few.stderr
    assert told("classify", "stock prices", "-l", "cats", "--none-of-these").startswith("none  ")
    with pytest.raises(RequestFailed, match=r"templates\[0\]"):
        run("classify", "cats", *labels, "--template", "no name")


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (10, [10]), (11, [6, 5]), (20, [10, 10]), (33, [10, 10, 7, 6])]
)
def test_texts_that_help_each_other_leave_no_small_rest(count: int, sizes: list[int]) -> None:
    batches = list(classify_command.together(({"id": str(i)} for i in range(count)), 10))
    assert [len(batch) for batch in batches] == sizes
    assert [row["id"] for batch in batches for row in batch] == [str(i) for i in range(count)]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_file_is_classified_into_a_file(topics: Result, table: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"out.{suffix}"
    given = ("--file", str(table), "--text-field", "words", "--classifier", "topics", "-o", str(out))
    assert told("classify", *given) == ""
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file)) if suffix == "csv" else [json.loads(line) for line in file]
    assert len(rows) == 37
    right = [row["label"] == one["label"] for row, one in zip(rows, examples(), strict=False)]
    assert sum(right) >= 34
    assert set(rows[0]) >= {"id", "text", "label", "labels", "score", "abstained"}


def test_a_table_holds_all_labels_of_a_text_and_none_where_none_was_chosen(
    server: TestClient, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    labels = ("-l", "cats", "-l", "dogs", "-l", "cars", "--multi-label", "--none-of-these")
    told("classify", "cats dogs", "stock prices", *labels, "-o", str(out))
    with out.open(newline="") as file:
        both, neither = csv.DictReader(file)
    assert list(both) == ["id", "text", "label", "labels", "score", "abstained"]
    assert both["label"] in ("cats", "dogs")
    assert (both["labels"], both["abstained"]) == ("cats, dogs", "False")
    assert (neither["label"], neither["labels"], neither["abstained"]) == ("", "", "True")
    assert told("classify", "stock prices", *labels).startswith("none  ")


def test_the_label_of_a_row_is_the_most_probable_of_those_given() -> None:
    result = {"label": "a", "labels": ["b", "c"], "score": 0.5, "scores": {"a": 0.5, "b": 0.2, "c": 0.4}}
    row = classify_command.table_row(result)
    assert (row["label"], row["labels"], row["score"]) == ("c", "b, c", 0.4)
    row = classify_command.table_row(result | {"labels": []})
    assert (row["label"], row["labels"], row["score"]) == ("", "", 0.5)


@pytest.mark.parametrize("linked", [False, True])
def test_a_file_is_not_written_over_while_it_is_read(
    server: TestClient, table: Path, tmp_path: Path, linked: bool
) -> None:
    before, out = table.read_bytes(), table
    if linked:
        out = tmp_path / "link.csv"
        out.symlink_to(table)
    labels = ("-l", "cats", "-l", "dogs")
    refused = run("classify", "--file", str(table), "--text-field", "words", *labels, "-o", str(out))
    assert refused.exit_code == 2
    assert "is the file that is read" in refused.output
    assert table.read_bytes() == before


def test_earlier_results_stay_where_no_new_ones_come(server: TestClient, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("of yesterday")
    with pytest.raises(RequestFailed, match="'none'"):
        run("classify", "x", "--classifier", "none", "-o", str(out))
    with pytest.raises(InvalidInput, match="'nothing' is not in the file"):
        run("classify", "--file", str(table), "--text-field", "nothing", "-l", "a", "-l", "b", "-o", str(out))
    assert out.read_text() == "of yesterday"
    told("classify", "cats", "-l", "cats", "-l", "dogs", "-o", str(out))
    assert out.read_text().startswith("id,text,label")


def test_what_cannot_be_meant_is_refused(server: TestClient, tmp_path: Path, table: Path) -> None:
    for arguments in (
        ("classify", "x"),
        ("classify", "x", "-l", "a", "-l", "b", "--classifier", "c"),
        ("classify", "-l", "a", "-l", "b"),
        ("classify", "x", "--file", str(table), "--classifier", "c"),
        ("classify", "x", "-l", "a", "-l", "b", "--evidence"),
        ("classify", "x", "--classifier", "c", "--none-of-these"),
        ("classify", "x", "-l", "a", "-l", "b", "-o", "out.txt"),
        ("classifier", "train", "t", "--file", str(table), "--from-collection", "c"),
    ):
        assert run(*arguments).exit_code == 2, arguments
    with pytest.raises(InvalidInput, match="'nothing' is not in the file"):
        run("classifier", "train", "t", "--file", str(table), "--label-field", "nothing")
    with pytest.raises(RequestFailed, match="'none'"):
        run("classify", "x", "--classifier", "none")


def test_a_training_that_fails_is_told_with_its_reason(server: TestClient) -> None:
    server.put("/v1/collections/news", json={})
    one = [{"id": "1", "text": "a cat", "metadata": {"kind": "animals"}}]
    server.post("/v1/collections/news/documents?wait=true", json={"documents": one})
    result = run("classifier", "train", "t", "--from-collection", "news", "--label-field", "kind")
    assert result.exit_code == 2
    assert "at least two" in " ".join(result.output.split())


def test_several_labels_in_one_cell(server: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "several.jsonl"
    both = [f"{a} {b}" for a, b in zip(sentences("animals", 24), sentences("food", 24), strict=True)]
    rows = examples() + [{"text": text, "label": "animals; food"} for text in both]
    path.write_text("\n".join(map(json.dumps, rows)))
    told("classifier", "train", "t", "--file", str(path), "--multi-label", "--separator", ";")
    assert server.get("/v1/classifiers/t").json()["versions"][0]["multi_label"] is True
    assert told("classify", "cat dog paw toast soup rice", "--classifier", "t").startswith("animals, food  ")


def test_a_report_with_its_plots(topics: Result, tmp_path: Path) -> None:
    shown = told("classifier", "report", "topics", "--png", str(tmp_path / "plots"))
    assert "macro-F1" in shown
    assert (tmp_path / "plots" / "topics-confusion.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(told("classifier", "report", "topics", "--json"))["examples"] == 36


def test_the_report_of_a_version_from_feedback_says_that_it_has_no_figures(
    topics: Result, tmp_path: Path
) -> None:
    told("classifier", "add", "topics", "rain and wind", "-l", "weather")
    shown = told("classifier", "report", "topics", "--png", str(tmp_path / "plots"))
    assert "37 examples of 4 labels; head:" in shown
    assert "Train it for a full report." in shown
    assert "weather" in shown
    assert "accuracy" not in shown
    assert "precision" not in shown
    assert "confusion: " in shown
    assert not list((tmp_path / "plots").iterdir())


def test_examples_are_added_and_removed_and_versions_changed(topics: Result, server: TestClient) -> None:
    assert told("classifier", "add", "topics", "rain and wind", "-l", "weather") == "Version 2 serves.\n"
    assert told("classifier", "add", "topics", "wind", "rain", "-l", "weather") == "Version 3 serves.\n"
    listed = told("classifier", "versions", "topics")
    assert "feedback" in listed
    assert "They differ on" in told("classifier", "compare", "topics", "1", "3")
    assert "only in version 3: weather" in told("classifier", "compare", "topics", "1", "3")
    compared = json.loads(told("classifier", "compare", "topics", "1", "3", "--json"))
    assert (compared["first"], compared["labels_only_in_second"]) == (1, ["weather"])
    removed = told("classifier", "remove", "topics", "wind", "never there")
    assert removed == "1 of 2 were examples and are removed.\nVersion 4 serves.\n"
    assert server.get("/v1/classifiers/topics").json()["examples"] == 38
    assert told("classifier", "activate", "topics", "1") == "Version 1 of topics serves.\n"
    assert "topics" in told("classifier", "list")
    assert told("classifier", "delete", "topics") == "Classifier topics is deleted.\n"
    with pytest.raises(RequestFailed, match="topics"):
        run("classifier", "versions", "topics")


def test_a_collection_is_labelled_and_suggested_from(topics: Result, server: TestClient) -> None:
    server.put("/v1/collections/news", json={})
    documents = [
        {"id": f"d{i}", "text": text} for i, text in enumerate(["cat dog paw", "bank loan cash", "cat bank"])
    ]
    server.post("/v1/collections/news/documents?wait=true", json={"documents": documents})
    assert "d2" in told("classifier", "suggest", "topics", "-c", "news", "-k", "1")
    shown = told("classifier", "label", "topics", "-c", "news", "--write-to", "topic", "--on-arrival")
    assert "3 documents have topic and topic_confidence." in shown
    metadata = server.get("/v1/collections/news/documents/d0").json()["metadata"]
    assert metadata["topic"] == "animals"
    listed = told("classifier", "rules", "-c", "news")
    assert ("topic" in listed, "topics" in listed) == (True, True)
    ended = told("classifier", "rules", "-c", "news", "--remove", "topic")
    assert ended == "topic is no longer labelled on arrival.\n"
    assert server.get("/v1/collections/news/classify").json() == {"rules": []}
    with pytest.raises(RequestFailed, match="topic"):
        run("classifier", "rules", "-c", "news", "--remove", "topic")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", '{"text":"a","labels":["x"]}\n{"text":"b","labels":[]}\n{"text":"c","labels":null}\n'),
        ("rows.csv", "text,labels\na,x\nb,\n"),
    ],
)
def test_an_empty_list_of_labels_says_that_a_text_has_none_if_it_may(
    tmp_path: Path, name: str, content: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    labelled = [{"text": "a", "labels": ["x"]}]
    assert read_labelled(path, None, "labels", "").examples == labelled
    assert read_labelled(path, None, "labels", "", True).examples == [*labelled, {"text": "b", "labels": []}]


def test_labels_of_files_read_as_those_of_metadata_and_white_space_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    values = [True, 1, 2.0, " ", ["x", " ", 0.5]]
    path.write_text("".join(json.dumps({"text": f"t{i}", "label": v}) + "\n" for i, v in enumerate(values)))
    found = read_labelled(path, None, "label", "")
    told_of = {one["text"]: tuple(one["labels"]) for one in found.examples}
    kept = {f"t{i}": values_as_text({"label": v}, "label") for i, v in enumerate(values) if v != " "}
    assert told_of == kept == {"t0": ("true",), "t1": ("1",), "t2": ("2",), "t4": ("x", "0.5")}
    assert found.left_out == 1
