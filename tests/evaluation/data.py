"""Tiny made-up data sets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOPICS = (
    "apple pear plum",
    "river lake sea",
    "piano violin drum",
    "copper iron gold",
    "monday friday sunday",
)


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_beir(folder: Path) -> Path:
    """Five documents, one a topic, one of them with a title only, and one that is empty."""
    documents = [{"_id": f"d{i}", "title": f"Topic {i}", "text": text} for i, text in enumerate(TOPICS)]
    documents[4] = {"_id": "d4", "title": TOPICS[4], "text": ""}
    documents.append({"_id": "empty", "title": "", "text": " "})
    write_jsonl(folder / "corpus.jsonl.gz", documents)
    write_jsonl(folder / "queries.jsonl", [{"_id": f"q{i}", "text": text} for i, text in enumerate(TOPICS)])
    lines = [
        "query-id\tcorpus-id\tscore",
        *(f"q{i}\td{i}\t1" for i in (0, 1, 2, 4)),
        "q0\td1\t0",
        "q3\td3\t0",
    ]
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    return folder


def write_pairs(path: Path) -> Path:
    """Pairs that share three words, two, one, none, with scores in that order."""
    others = ["apple pear plum", "apple pear sea", "apple lake sea", "river lake sea"]
    return write_jsonl(path, [{"a": TOPICS[0], "b": other, "score": 5 - i} for i, other in enumerate(others)])


def write_labelled(folder: Path, is_multi: bool = False) -> Path:
    """Fruit, water and music: twelve training examples and two tests each, told apart by their words."""
    names = ["fruit", "water", "music"]
    (folder).mkdir(parents=True, exist_ok=True)
    (folder / "labels.json").write_text(json.dumps(names))
    for split, count in (("train", 12), ("dev", 3), ("test", 2)):
        rows = []
        for i in range(count):
            for label, topic in zip(names, TOPICS, strict=False):
                named: dict[str, Any] = {"labels": [label]} if is_multi else {"label": label}
                rows.append({"text": f"{label} {topic.split()[i % 3]} {split}{i}", **named})
        write_jsonl(folder / f"{split}.jsonl.gz", rows)
    return folder
