"""Deletion check of explanations: removing the words that contribute most must hurt more than random ones.

    python -m benchmarks.explain BEIR_FOLDER [--split test] [--pairs 200] [--words 5]

For pairs of a query and a relevant document: the score, the score without the words of largest contribution,
and without as many random words (the mean of five draws).
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.explain import Contribution, ExplainService
from core.token_types import TokenField
from core.types import PassageText
from encoder.service import EncoderService, load_encoder
from evaluation.rows import need_jsonl, read_jsonl
from indexer.chunking import sentence_starts

DRAWS = 5


def read_pairs(folder: Path, split: str, limit: int) -> list[tuple[str, PassageText]]:
    """Queries with one relevant document each, spread over the split."""
    corpus = {row["_id"]: row for row in _rows(folder, "corpus")}
    queries = {row["_id"]: row["text"] for row in _rows(folder, "queries")}
    with (folder / "qrels" / f"{split}.tsv").open() as file:
        judged = {
            row["query-id"]: row["corpus-id"]
            for row in csv.DictReader(file, delimiter="\t")
            if row["score"] > "0"
        }
    pairs = [
        (queries[query], PassageText(corpus[document].get("title", ""), corpus[document]["text"]))
        for query, document in sorted(judged.items())
    ]
    return pairs[:: max(1, len(pairs) // limit)][:limit]


def _rows(folder: Path, name: str) -> Iterator[Mapping[str, Any]]:
    return (row for _, row in read_jsonl(need_jsonl(folder, name)))


def without(passage: PassageText, words: Sequence[Contribution]) -> PassageText:
    """The passage with these words of its text cut out."""
    text = passage.text
    for word in sorted(words, key=lambda word: -word.start):
        text = text[: word.start] + text[word.end :]
    return PassageText(passage.title, text)


def score(encoder: EncoderService, query: str, passages: Sequence[PassageText]) -> list[float]:
    vectors = encoder.encode_passages(passages)
    return [float(s) for s in vectors @ encoder.encode_queries([query])[0]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--words", type=int, default=5)
    parser.add_argument("--precision", default="f32")
    arguments = parser.parse_args()
    encoder = load_encoder(precision=arguments.precision)
    service = ExplainService(encoder, None, sentence_starts)  # type: ignore[arg-type]  # no documents are read
    rng = random.Random(0)
    drops_top, drops_random, errors = [], [], []
    for query, passage in read_pairs(arguments.folder, arguments.split, arguments.pairs):
        explanation = service.explain_text(query, passage).explanation
        words = [word for word in explanation.words if word.field is TokenField.TEXT]
        if len(words) < 4 * arguments.words:
            continue
        top = sorted(words, key=lambda word: -word.contribution)[: arguments.words]
        draws = [rng.sample(words, arguments.words) for _ in range(DRAWS)]
        whole, *cut = score(encoder, query, [passage, *(without(passage, w) for w in (top, *draws))])
        drops_top.append(whole - cut[0])
        drops_random.append(whole - float(np.mean(cut[1:])))
        errors.append(abs(sum(c.contribution for c in explanation.tokens) - whole))
    top_mean, random_mean = np.mean(drops_top), np.mean(drops_random)
    wins = np.mean(np.array(drops_top) > np.array(drops_random))
    print(f"{len(drops_top)} pairs, {arguments.words} words removed from each")
    print(f"score drops by {top_mean:.4f} without the top words, by {random_mean:.4f} without random ones")
    print(f"top words matter more in {wins:.1%} of pairs")
    print(f"contributions differ from the score by at most {max(errors):.2e}")
    encoder.close()


if __name__ == "__main__":
    main()
