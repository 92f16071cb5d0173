"""Loaders: kinds are told apart, and damage is named with its place and what to do."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from core.errors import InvalidInput
from evaluation.datasets import ClassificationSet, RetrievalSet, SimilaritySet, load_data_set
from tests.evaluation.data import TOPICS, write_beir, write_jsonl, write_labelled, write_pairs


def test_each_kind_is_told_by_what_the_path_holds(tmp_path: Path) -> None:
    assert isinstance(load_data_set(write_beir(tmp_path / "beir")), RetrievalSet)
    assert isinstance(load_data_set(write_labelled(tmp_path / "labelled")), ClassificationSet)
    assert isinstance(load_data_set(write_pairs(tmp_path / "pairs.jsonl.gz")), SimilaritySet)
    write_pairs(tmp_path / "sts" / "test.jsonl")
    assert load_data_set(tmp_path / "sts").name == "sts/test"


def test_a_beir_folder_keeps_only_relevant_judgements_and_says_what_it_left_out(tmp_path: Path) -> None:
    data = load_data_set(write_beir(tmp_path / "tiny"))

    assert isinstance(data, RetrievalSet)
    assert data.name == "tiny/test"
    assert data.judgements == {"q0": {"d0": 1}, "q1": {"d1": 1}, "q2": {"d2": 1}, "q4": {"d4": 1}}
    assert [document.id for document in data.corpus] == ["d0", "d1", "d2", "d3", "d4"]
    assert (data.corpus[4].title, data.corpus[4].text) == ("", TOPICS[4])
    assert data.notes == (
        "1 documents without title and text were left out",
        "1 queries without a relevant document were left out",
    )


def test_relevant_documents_that_are_missing_from_the_corpus_are_noted(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "tiny")
    with (folder / "qrels" / "test.tsv").open("a") as file:
        file.write("q3\tgone\t1\n")

    data = load_data_set(folder)

    assert isinstance(data, RetrievalSet)
    assert "1 relevant documents are not in the corpus and count as not found" in data.notes


def test_an_unknown_split_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no qrels/dev.tsv; choose --split of: test"):
        load_data_set(write_beir(tmp_path / "tiny"), "dev")


@pytest.mark.parametrize("line", ["q1\td1", "q1 d1 1", "q1\td1\tgood", "q1\t0\t7\t1"])
def test_a_damaged_judgement_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    folder = write_beir(tmp_path / "tiny")
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\nq0\td0\t1\n{line}\n")

    with pytest.raises(InvalidInput, match=r"test.tsv:3: expected query id, document id and a whole number"):
        load_data_set(folder)


def test_judgements_may_have_no_line_of_column_names(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "tiny")
    (folder / "qrels" / "test.tsv").write_text("q0\td0\t1\nq1\td1\t2\t\n")

    data = load_data_set(folder)

    assert isinstance(data, RetrievalSet)
    assert data.judgements == {"q0": {"d0": 1}, "q1": {"d1": 2}}


def test_a_judgement_that_would_take_gigabytes_is_refused(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "tiny")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td0\t2147483647\n")

    with pytest.raises(InvalidInput, match=r"test.tsv:2: the judgement is 2147483647; at most 10,000"):
        load_data_set(folder)


def test_a_judgement_of_an_unknown_query_is_refused(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "tiny")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq9\td0\t1\n")

    with pytest.raises(InvalidInput, match=r"test.tsv:2: query 'q9' is not in queries.jsonl"):
        load_data_set(folder)


def test_ids_that_occur_twice_in_a_corpus_are_refused(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "tiny")
    write_jsonl(folder / "corpus.jsonl.gz", [{"_id": "d0", "text": "x"}] * 2)

    with pytest.raises(InvalidInput, match="2 documents but 1 ids"):
        load_data_set(folder)


def test_two_queries_of_one_id_are_refused_unless_they_are_the_same(tmp_path: Path) -> None:
    folder = write_beir(tmp_path / "tiny")
    rows = [{"_id": f"q{i}", "text": f"Topic {i}"} for i in (0, 1, 2, 3, 4, 0)]
    write_jsonl(folder / "queries.jsonl", rows)
    load_data_set(folder)
    write_jsonl(folder / "queries.jsonl", [*rows, {"_id": "q3", "text": "Something else"}])
    with pytest.raises(InvalidInput, match=r"queries.jsonl:7: another query has the id 'q3', too"):
        load_data_set(folder)


@pytest.mark.parametrize("field", ["title", "text"])
def test_what_is_no_text_in_a_corpus_is_refused_and_null_is_none(tmp_path: Path, field: str) -> None:
    folder = write_beir(tmp_path / "tiny")
    (path,) = folder.glob("corpus.jsonl*")
    write_jsonl(path, [{"_id": "d0", "title": "a", "text": "b"} | {field: None}])
    load_data_set(folder)
    write_jsonl(path, [{"_id": "d0", "title": "a", "text": "b"} | {field: ["b"]}])
    with pytest.raises(InvalidInput, match=rf"corpus.jsonl.*:1: expected a string '{field}', found a list"):
        load_data_set(folder)


def test_half_a_surrogate_pair_is_read_as_encoders_read_it(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "p.jsonl", [{"a": "x\ud800", "b": "ä", "score": i} for i in range(2)])
    data = load_data_set(path)
    assert isinstance(data, SimilaritySet)
    assert data.pairs[0] == ("x\ufffd", "ä")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": "x", "b": "y", "score": 1}\n{"a": "x",\n', r"pairs.jsonl:2 is not JSON"),
        (b'["x"]\n', r"pairs.jsonl:1 holds a list; expected one JSON object"),
        (b'{"a": "x", "score": 1}\n', r"expected a string 'b', found only a, score"),
        (b'{"a": "x", "b": "y", "score": "5"}\n', r"expected a number 'score', found '5'"),
        (b'{"a": "x", "b": "y", "score": NaN}\n', r"expected a number 'score', found 'nan'"),
        (b'{"a": "x", "b": "y", "score": 1' + b"0" * 400 + b"}\n", r"expected a number 'score', found '100"),
        (b'{"a": "x", "b": "\xff", "score": 5}\n', r"pairs.jsonl:1 is not UTF-8"),
        (b"", r"0 pairs; a correlation needs two scores that differ"),
    ],
)
def test_damaged_pairs_are_refused_with_the_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(content)

    with pytest.raises(InvalidInput, match=message):
        load_data_set(path)


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"not gzip", lambda data: data[:30]])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: object) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl.gz")
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]  # one of the lambdas above

    with pytest.raises(InvalidInput, match=r"pairs.jsonl.gz cannot be read"):
        load_data_set(path)


def test_labels_that_labels_json_does_not_hold_are_refused(tmp_path: Path) -> None:
    folder = write_labelled(tmp_path / "labelled")
    (folder / "labels.json").write_text(json.dumps(["fruit", "water"]))

    with pytest.raises(InvalidInput, match=r"train.jsonl.gz:3: label 'music' is not in labels.json"):
        load_data_set(folder)


def test_a_label_that_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = write_labelled(tmp_path / "labelled")
    write_jsonl(folder / "train.jsonl.gz", [{"text": "x", "labels": [["fruit"]]}])

    with pytest.raises(InvalidInput, match=r"train.jsonl.gz:1: label \['fruit'\] is not in labels.json"):
        load_data_set(folder)


def test_labels_without_any_training_example_are_refused(tmp_path: Path) -> None:
    folder = write_labelled(tmp_path / "labelled")
    (folder / "labels.json").write_text(json.dumps(["fruit", "water", "music", "metal"]))

    with pytest.raises(InvalidInput, match="no training example has the label 'metal'"):
        load_data_set(folder)


def test_a_folder_of_no_known_kind_says_what_was_found_and_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(InvalidInput, match=r"found: notes.txt.*Expected a BEIR folder"):
        load_data_set(tmp_path)
    with pytest.raises(InvalidInput, match=r"does not exist"):
        load_data_set(tmp_path / "nowhere")


def test_lines_end_at_a_line_feed_only(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl.gz"
    rows = [{"a": "one\u2028two", "b": "x", "score": i} for i in range(2)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()))

    data = load_data_set(path)

    assert isinstance(data, SimilaritySet)
    assert data.pairs == (("one\u2028two", "x"),) * 2
