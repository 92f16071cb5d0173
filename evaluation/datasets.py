"""Loads data sets of three kinds, told apart by what a path holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import InvalidInput
from evaluation.rows import JSONL, find_jsonl, need_jsonl, read_jsonl, read_lines, text_of

MAX_GAIN = 10_000  # of a judgement: the measures take memory by it
MAX_SCORE = 1e300

EXPECTED = (
    "Expected a BEIR folder (corpus.jsonl, queries.jsonl, qrels/<split>.tsv), a classification folder"
    " (train.jsonl, test.jsonl, labels.json), or pairs {a, b, score} in a .jsonl file or in"
    " <split>.jsonl of a folder; .jsonl.gz is read too."
)


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Query:
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Queries with at least one relevant document; `judgements` are query id -> document id -> gain > 0.

    A document without text is encoded by its title alone; one with neither is left out.
    """

    name: str
    corpus: tuple[CorpusDocument, ...]
    queries: tuple[Query, ...]
    judgements: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SimilaritySet:
    name: str
    pairs: tuple[tuple[str, str], ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Example:
    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClassificationSet:
    """`is_multi` when an example may have several labels; `dev` may be empty."""

    name: str
    labels: tuple[str, ...]
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    is_multi: bool


DataSet = RetrievalSet | SimilaritySet | ClassificationSet


def load_data_set(path: Path, split: str = "test") -> DataSet:
    """The data set at `path`, of whatever kind. Raises InvalidInput saying what is wrong and where."""
    if not path.exists():
        raise InvalidInput(f"{path} does not exist. {EXPECTED}")
    if path.is_file() and path.name.endswith(JSONL):
        return load_similarity(path, path.name.partition(".jsonl")[0])
    if (path / "qrels").is_dir():
        return load_retrieval(path, split)
    if (path / "labels.json").is_file():
        return load_classification(path, split)
    pairs = find_jsonl(path, split) if path.is_dir() else None
    if pairs is None:
        inside = ", ".join(sorted(p.name for p in islice(path.iterdir(), 8))) if path.is_dir() else "a file"
        raise InvalidInput(f"{path} is no data set of split {split!r} (found: {inside}). {EXPECTED}")
    return load_similarity(pairs, f"{path.resolve().name}/{split}")


def load_retrieval(folder: Path, split: str) -> RetrievalSet:
    """A folder in the layout of BEIR (Thakur et al. 2021). A judgement of 0 or less is not relevant."""
    known = sorted(path.stem for path in (folder / "qrels").glob("*.tsv"))
    if split not in known:
        raise InvalidInput(
            f"{folder} has no qrels/{split}.tsv; choose --split of: {', '.join(known) or 'none there'}."
        )
    texts = _read_texts(need_jsonl(folder, "queries"))
    judgements = _read_judgements(folder / "qrels" / f"{split}.tsv", texts)
    documents = _read_corpus(need_jsonl(folder, "corpus"))
    corpus = tuple(document for document in documents if document.text)
    relevant = {query: gains for query, all_gains in judgements.items() if (gains := _positive(all_gains))}
    if not relevant or not corpus:
        raise InvalidInput(f"{folder} split {split!r} holds no document with text, or no relevant judgement.")
    notes = _notes(documents, corpus, judgements, relevant)
    queries = tuple(Query(query, texts[query]) for query in relevant)
    return RetrievalSet(f"{folder.resolve().name}/{split}", corpus, queries, relevant, notes)


def load_similarity(path: Path, name: str) -> SimilaritySet:
    """Pairs {a, b, score}; a higher score means more alike."""
    pairs, scores = [], []
    for place, row in read_jsonl(path):
        pairs.append((text_of(row, "a", place), text_of(row, "b", place)))
        score = row.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not abs(score) < MAX_SCORE:
            raise InvalidInput(f"{place}: expected a number 'score', found {str(score)[:80]!r}.")
        scores.append(float(score))
    if len(set(scores)) < 2:
        raise InvalidInput(f"{path} holds {len(pairs)} pairs; a correlation needs two scores that differ.")
    return SimilaritySet(name, tuple(pairs), tuple(scores))


def load_classification(folder: Path, split: str) -> ClassificationSet:
    """Examples {text, label} or {text, labels}; every label must be in labels.json."""
    labels = _read_labels(folder / "labels.json")
    dev_path = find_jsonl(folder, "dev")
    train, train_multi = _read_examples(need_jsonl(folder, "train"), labels)
    test, test_multi = _read_examples(need_jsonl(folder, split), labels)
    dev = _read_examples(dev_path, labels)[0] if dev_path else ()
    if train_multi != test_multi:
        raise InvalidInput(f"{folder}: one of train and {split} has 'label', the other 'labels'; use one.")
    seen = {label for example in train for label in example.labels}
    if missing := sorted(set(labels) - seen):
        raise InvalidInput(f"{folder}: no training example has the label {missing[0]!r} of labels.json.")
    return ClassificationSet(f"{folder.resolve().name}/{split}", labels, train, dev, test, train_multi)


def _read_corpus(path: Path) -> list[CorpusDocument]:
    documents = []
    for place, row in read_jsonl(path):
        title, text = (_text_or_none(row, field, place) for field in ("title", "text"))
        document_id = text_of(row, "_id", place)
        documents.append(CorpusDocument(document_id, title if text else "", text or title))
    ids = {document.id for document in documents}
    if len(ids) < len(documents):
        raise InvalidInput(
            f"{path} holds {len(documents):,} documents but {len(ids):,} ids; make them unique."
        )
    return documents


def _text_or_none(row: Mapping[str, Any], field: str, place: str) -> str:
    """Without white space around it; empty where it is absent or null."""
    return "" if row.get(field) is None else text_of(row, field, place).strip()


def _read_texts(path: Path) -> dict[str, str]:
    texts: dict[str, str] = {}
    for place, row in read_jsonl(path):
        query, text = text_of(row, "_id", place), text_of(row, "text", place)
        if texts.setdefault(query, text) != text:
            raise InvalidInput(f"{place}: another query has the id {query!r}, too; make them unique.")
    return texts


def _read_judgements(path: Path, queries: Mapping[str, str]) -> dict[str, dict[str, int]]:
    judgements: dict[str, dict[str, int]] = {}
    for number, (place, line) in enumerate(read_lines(path)):
        try:
            query, document, grade = line.rstrip().split("\t")
            gain = int(grade)
        except ValueError:
            if number == 0:  # names the columns
                continue
            raise InvalidInput(
                f"{place}: expected query id, document id and a whole number, by tabs; found {line[:80]!r}."
            ) from None
        if gain > MAX_GAIN:
            raise InvalidInput(f"{place}: the judgement is {gain}; at most {MAX_GAIN:,} is measured.")
        if query not in queries:
            raise InvalidInput(f"{place}: query {query!r} is not in queries.jsonl; add it or drop the line.")
        judgements.setdefault(query, {})[document] = gain
    return judgements


def _positive(gains: Mapping[str, int]) -> dict[str, int]:
    return {document: gain for document, gain in gains.items() if gain > 0}


def _notes(
    documents: list[CorpusDocument],
    corpus: tuple[CorpusDocument, ...],
    judgements: Mapping[str, Mapping[str, int]],
    relevant: Mapping[str, Mapping[str, int]],
) -> tuple[str, ...]:
    ids = {document.id for document in corpus}
    unknown = {document for gains in relevant.values() for document in gains} - ids
    counts = {
        "documents without title and text were left out": len(documents) - len(corpus),
        "queries without a relevant document were left out": len(judgements) - len(relevant),
        "relevant documents are not in the corpus and count as not found": len(unknown),
    }
    return tuple(f"{count:,} {what}" for what, count in counts.items() if count)


def _read_labels(path: Path) -> tuple[str, ...]:
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}); expected a JSON array of names.") from None
    is_names = isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    if not is_names or len(labels) < 2 or len(set(labels)) < len(labels):
        raise InvalidInput(f"{path}: expected a JSON array of two or more different label names.")
    return tuple(labels)


def _read_examples(path: Path, labels: tuple[str, ...]) -> tuple[tuple[Example, ...], bool]:
    """The examples, and whether they name several labels."""
    known, examples, kinds = frozenset(labels), [], set()
    for place, row in read_jsonl(path):
        names = row["labels"] if "labels" in row else [text_of(row, "label", place)]
        if not isinstance(names, list):
            raise InvalidInput(f"{place}: expected an array 'labels', found {names!r}.")
        if unknown := [name for name in names if not isinstance(name, str) or name not in known]:
            raise InvalidInput(f"{place}: label {unknown[0]!r} is not in labels.json; add or correct it.")
        examples.append(Example(text_of(row, "text", place), tuple(names)))
        kinds.add("labels" in row)
    if len(kinds) != 1:
        raise InvalidInput(f"{path}: expected rows that all have 'label', or all 'labels'.")
    return tuple(examples), kinds.pop()
