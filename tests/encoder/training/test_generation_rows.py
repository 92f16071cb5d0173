"""Rows of files and of damaged texts, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from encoder.training.generation_rows import Row, damage, read_rows, slip
from encoder.training.generation_settings import DENOISE, GeneratorSettings
from tests.encoder.training.tiny import cut_short, write_rows

WORD = st.text("abcdefgh", min_size=1, max_size=5)
SENTENCE = st.lists(WORD, min_size=1, max_size=12).map(" ".join)


def settings(*rows: Path, **changes: Any) -> GeneratorSettings:
    return GeneratorSettings(encoder=Path("none"), rows=rows, out=Path("none"), **changes)


def test_rows_of_files_come_in_their_order(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "a.jsonl", [{"task": "ask", "source": "s", "target": "t", "more": 1}])
    two = write_rows(tmp_path / "b.jsonl.gz", [{"task": "denoise", "source": " s", "target": "ü"}])
    assert read_rows(settings(one, two)) == [Row("ask", "s", "t"), Row("denoise", " s", "ü")]


def test_rows_of_collections_of_explanations_are_explanations(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [{"task": "esnli", "source": "s", "target": "t"}])
    assert read_rows(settings(file)) == [Row("explain", "s", "t")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task": "sing", "source": "s", "target": "t"}, "the task 'sing'; known are clean_query"),
        ({"task": "ask", "source": " ", "target": "t"}, "without task, source or target"),
        ({"task": "ask", "source": "s"}, "without task, source or target"),
        ({"task": "ask", "source": "s", "target": 3}, "without task, source or target"),
    ],
)
def test_bad_rows_are_refused_with_their_file(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    file = write_rows(tmp_path / "bad.jsonl", [row])
    with pytest.raises(InvalidInput, match=rf"bad\.jsonl .*{message}"):
        read_rows(settings(file))


@pytest.mark.parametrize(
    ("content", "message"), [("[1]", "line 1: expected an object"), ("{", "line 1 cannot be read")]
)
def test_lines_that_are_no_objects_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "bad.jsonl").write_text(content)
    with pytest.raises(InvalidInput, match=message):
        read_rows(settings(tmp_path / "bad.jsonl"))


@pytest.mark.parametrize("row", [{"text": None}, {"text": 3}, {"content": "one two three four"}])
def test_plain_texts_that_are_none_are_refused_with_their_line(tmp_path: Path, row: dict[str, Any]) -> None:
    texts = write_rows(tmp_path / "plain.jsonl", [{"text": "one two three four"}, row])
    rows = write_rows(tmp_path / "rows.jsonl", [{"task": "ask", "source": "s", "target": "t"}])
    with pytest.raises(InvalidInput, match=r"plain\.jsonl, line 2: expected"):
        read_rows(settings(rows, texts=(texts,)))


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.jsonl cannot be read"):
        read_rows(settings(tmp_path / "none.jsonl"))


def test_packed_files_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    rows = [{"task": "ask", "source": f"s {i}", "target": f"t {i * 7919 % 1013}"} for i in range(200)]
    whole = write_rows(tmp_path / "rows.jsonl.gz", rows)
    plain = [{"text": row["target"]} for row in rows]
    texts = cut_short(write_rows(tmp_path / "texts.jsonl.gz", plain))
    with pytest.raises(InvalidInput, match=r"texts\.jsonl\.gz cannot be read"):
        read_rows(settings(whole, texts=(texts,)))
    with pytest.raises(InvalidInput, match=r"rows\.jsonl\.gz cannot be read"):
        read_rows(settings(cut_short(whole)))


def test_half_a_surrogate_pair_is_read_as_a_replacement_character(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "a.jsonl", [{"task": "ask", "source": "a \ud800", "target": "\udc00 b"}])
    texts = write_rows(tmp_path / "b.jsonl", [{"text": "one two \ud83d three"}])
    row, denoised = read_rows(settings(rows, texts=(texts,)))
    assert row == Row("ask", "a \ufffd", "\ufffd b")
    assert denoised.target == "one two \ufffd three"


def test_plain_texts_become_damaged_copies_and_questions_with_slips(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [{"task": "ask", "source": "s", "target": "t"}])
    plain = ["The quick brown fox jumps over the dog.", "Who wrote this very long book?", "Too short."]
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": text} for text in plain])
    made = read_rows(settings(file, texts=(texts,)))[1:]
    assert {(row.task, row.target) for row in made} == {(DENOISE, plain[0]), ("clean_query", plain[1])}
    assert read_rows(settings(file, texts=(texts,)))[1:] == made  # the same seed
    limited = read_rows(settings(file, texts=(texts,), max_texts=0))
    assert len(limited) == 1


@given(SENTENCE, st.integers())
def test_damage_only_loses_and_moves_words(text: str, seed: int) -> None:
    words = damage(text, random.Random(seed)).split()
    assert words
    left = text.split()
    for word in words:
        left.remove(word)  # raises for a word that was not there


@given(SENTENCE, SENTENCE, st.integers())
def test_a_slip_keeps_the_words_of_the_question_in_order(question: str, other: str, seed: int) -> None:
    spoken = iter(slip(f"{question}?", f"{other}?", random.Random(seed)).rstrip("?").split())
    assert all(word in spoken for word in question.split())


def test_noise_is_the_same_for_the_same_seed_and_differs_between_seeds() -> None:
    text = "One, two, three, four, five; six, seven and eight more."
    copies = [damage(text, random.Random(seed)) for seed in (1, 1, *range(20))]
    assert copies[0] == copies[1]
    assert len(set(copies)) > 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps=0"),
        ({"batch_tokens": 0}, "batch_tokens=0"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0 must be above 0"),
        ({"max_seconds": 0.0}, "max_seconds=0.0 must be above 0"),
        ({"shares": {"ask": -1.0}}, "must be 0 or more"),
        ({"shares": {"ask": float("nan")}}, "must be 0 or more"),
        ({"shares": {"translate": 1.0}}, "the task 'translate'; known are clean_query"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        settings(Path("a"), **changes)


def test_a_run_without_rows_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one file"):
        settings()


def test_runs_that_differ_in_their_limits_alone_may_continue_each_other() -> None:
    plain = settings(Path("a"))
    assert plain.key == settings(Path("a"), steps=7, max_seconds=3.0, threads=2, dev_every=5).key
    assert plain.key != settings(Path("a"), seed=1).key
    assert plain.key != settings(Path("a"), batch_tokens=7).key
