"""Measures of generated texts, against values worked out by hand and against baselines."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from core.errors import InvalidInput
from core.generation_types import (
    FinishReason,
    Generated,
    GenerationOptions,
    GenerationTask,
    GeneratorInfo,
    Piece,
)
from evaluation.generation import (
    BLEU,
    EXACT,
    ROUGE,
    SARI,
    Sources,
    evaluate_task,
    judge,
    measure,
    read_generation_rows,
)


class Phrasebook:
    """Implements core.ports.generation.Generator by looking texts up; what it does not know is left out."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self._answers = answers
        self.info = GeneratorInfo("phrasebook", "f", "e", max_source_tokens=6, max_new_tokens=5, tasks=())

    def source_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def generate(
        self, task: GenerationTask, sources: Sequence[str], options: GenerationOptions
    ) -> list[list[Generated]]:
        return [
            [Generated(self._answers[s], 0.0, FinishReason.STOP, 1)] if s in self._answers else []
            for s in sources
        ]

    def stream(
        self,
        task: GenerationTask,
        source: str,
        options: GenerationOptions,
        ended: Callable[[], None] | None = None,
    ) -> Iterator[Piece]:
        yield Piece(self._answers[source], FinishReason.STOP)


def sources_of(task: GenerationTask, pairs: Mapping[str, tuple[str, ...]]) -> Sources:
    return Sources(task, tuple(pairs), tuple(pairs.values()))


def test_rows_are_grouped_by_task_and_source_and_explaining_tasks_become_one(tmp_path: Path) -> None:
    rows = [
        {"task": "split", "source": "a", "target": "b"},
        {"task": "split", "source": "a", "target": "c"},
        {"task": "esnli", "source": "d", "target": "e"},
    ]
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))

    assert read_generation_rows(path) == [
        Sources(GenerationTask.SPLIT, ("a",), (("b", "c"),)),
        Sources(GenerationTask.EXPLAIN, ("d",), (("e",),)),
    ]


def test_a_row_of_no_known_task_is_refused_and_no_explanation(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"task": "simplfy", "source": "a", "target": "b"}))
    with pytest.raises(InvalidInput, match="the task 'simplfy'; known are clean_query"):
        read_generation_rows(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"task": "split", "source": "a b."}', r"rows.jsonl:1: expected a string 'target', found only"),
        ('{"task": "split", "source": "a b.", "target": null}', r"rows.jsonl:1: expected a string 'target'"),
        ('{"task": "split", "source": " ", "target": "x"}', r"rows.jsonl:1 has an empty source or target"),
        ("", r"rows.jsonl has no rows"),
    ],
)
def test_rows_that_cannot_be_measured_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=message):
        read_generation_rows(path)


def test_an_explanation_of_empty_parts_is_compared_with_its_source() -> None:
    data = Sources(GenerationTask.EXPLAIN, ("premise: | hypothesis: ",), (("It is so.",),))
    result = evaluate_task(Phrasebook({}), data, GenerationOptions())
    assert set(result.baselines) == {"first part", "second part"}


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("nothing")
    with pytest.raises(InvalidInput, match=r"rows\.jsonl:1 is not JSON"):
        read_generation_rows(path)


def test_a_packed_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    rows = [{"task": "split", "source": f"a {i}", "target": f"b {i * 7919 % 1013}"} for i in range(200)]
    packed = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    (tmp_path / "rows.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InvalidInput, match=r"rows\.jsonl\.gz cannot be read"):
        read_generation_rows(tmp_path / "rows.jsonl.gz")


def test_the_best_of_several_targets_counts() -> None:
    data = sources_of(
        GenerationTask.EXPLAIN, {"x": ("a cat sat there today", "the dog ran home"), "y": ("no",)}
    )
    measures = measure(["the dog ran home", "yes"], data)
    assert measures[EXACT] == 0.5
    assert measures[ROUGE] == pytest.approx(0.5)


def test_the_same_texts_have_a_bleu_of_100_and_others_less() -> None:
    data = sources_of(GenerationTask.SPLIT, {"x": ("the cat sat on the mat .",)})
    assert measure(["the cat sat on the mat ."], data)[BLEU] == pytest.approx(100)
    assert 20 < measure(["the cat sat on a mat ."], data)[BLEU] < 80


def test_a_task_with_two_lines_is_stable_only_above_both() -> None:
    task = GenerationTask.CLEAN_QUERY
    assert judge(task, {EXACT: 0.5, BLEU: 80.0, ROUGE: 0, SARI: 0}, {}).is_stable
    missed = judge(task, {EXACT: 0.5, BLEU: 70.0, ROUGE: 0}, {})
    assert (missed.is_stable, missed.measure, missed.value, missed.required) == (False, BLEU, 70.0, 75.0)


def test_a_task_without_a_line_must_beat_copying_and_the_first_sentence() -> None:
    data = sources_of(GenerationTask.SIMPLIFY, {"They utilise it. So.": ("They use it.",)})
    copied = evaluate_task(
        Phrasebook({"They utilise it. So.": "They utilise it. So."}), data, GenerationOptions()
    )
    simpler = evaluate_task(Phrasebook({"They utilise it. So.": "They use it."}), data, GenerationOptions())
    assert simpler.standing.measure == SARI
    assert set(copied.baselines) == {"copy", "lead sentence"}
    assert not copied.standing.is_stable
    assert simpler.standing.is_stable
    assert simpler.standing.required == max(values[SARI] for values in simpler.baselines.values())


def test_a_split_reaches_its_line_and_needs_not_be_nearer_to_people_than_copies() -> None:
    copied = {"copy": {BLEU: 73.0, ROUGE: 0.9, SARI: 31.0}}
    better = judge(GenerationTask.SPLIT, {EXACT: 0, BLEU: 70.0, ROUGE: 0.8, SARI: 50.0}, copied)
    short = judge(GenerationTask.SPLIT, {EXACT: 0, BLEU: 50.0, ROUGE: 0.8, SARI: 50.0}, copied)
    like_copies = judge(GenerationTask.SPLIT, {EXACT: 0, BLEU: 73.0, ROUGE: 0.9, SARI: 31.0}, copied)
    assert better.is_stable
    assert (short.is_stable, short.measure, short.required) == (False, BLEU, 60.0)
    assert (like_copies.is_stable, like_copies.measure, like_copies.required) == (False, SARI, 31.0)


def test_an_explanation_must_beat_each_part_of_its_source() -> None:
    data = sources_of(GenerationTask.EXPLAIN, {"claim: Fish fly. | verdict: false": ("Fish swim.",)})
    result = evaluate_task(
        Phrasebook({"claim: Fish fly. | verdict: false": "Fish swim."}), data, GenerationOptions()
    )
    assert set(result.baselines) == {"first part", "second part"}
    assert result.baselines["first part"][ROUGE] == pytest.approx(0.5)
    assert result.standing.is_stable


def test_a_source_that_is_too_long_counts_as_an_empty_text() -> None:
    data = sources_of(
        GenerationTask.SPLIT, {"one two three four five six seven": ("x",), "short": ("a b c d",)}
    )
    result = evaluate_task(Phrasebook({"short": "a b c d"}), data, GenerationOptions())
    assert result.measures[EXACT] == 0.5
    assert [text for _, text, _ in result.samples] == ["", "a b c d"]


def test_reaching_the_line_is_not_enough_where_copying_does_better() -> None:
    task = GenerationTask.TRANSLATE_EN_ES
    standing = judge(task, {BLEU: 34.0}, {"copy": {BLEU: 43.0}})
    assert (standing.is_stable, standing.required) == (False, 43.0)
    assert judge(task, {BLEU: 34.0}, {"copy": {BLEU: 20.0}}).is_stable
