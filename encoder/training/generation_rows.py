"""Rows that a generator learns from: files of {task, source, target}, and damaged copies of plain texts."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InvalidInput
from core.generation_types import EXPLANATION_SETS, GenerationTask
from core.text_lines import read_lines
from encoder.tokenizer import readable
from encoder.training.generation_settings import DENOISE, TASKS, GeneratorSettings

_MAX_NOISED_WORDS = 45
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'])")
_SLIPS = (
    "no",
    "no wait",
    "or rather",
    "sorry",
    "I mean",
    "uh",
    "um no",
    "no make that",
    "wait",
    "scratch that",
)


@dataclass(frozen=True, slots=True)
class Row:
    """What is asked, of which source, and the text that answers it."""

    task: str
    source: str
    target: str


def read_rows(settings: GeneratorSettings) -> list[Row]:
    """All rows of the files in their order, then those made from plain texts. Raises InvalidInput."""
    rows = [_row(path, content) for path in settings.rows for _, content in _lines(path)]
    texts = readable(
        [_text(path, number, content) for path in settings.texts for number, content in _lines(path)]
    )
    rng = random.Random(settings.seed)
    rng.shuffle(texts)
    return rows + list(_noised_rows(texts[: settings.max_texts], rng))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in read_lines(path):
        try:
            content = json.loads(line)
        except ValueError as error:
            raise InvalidInput(f"{path}, line {number} cannot be read as JSON: {error}.") from None
        if not isinstance(content, dict):
            raise InvalidInput(f"{path}, line {number}: expected an object, found {line[:40]!r}.")
        yield number, content


def _text(path: Path, number: int, content: dict[str, Any]) -> str:
    text = content.get("text")
    if not isinstance(text, str):
        raise InvalidInput(
            f'{path}, line {number}: expected {{"text": "…"}}, found {json.dumps(content)[:80]}.'
        )
    return text


def _row(path: Path, content: dict[str, Any]) -> Row:
    fields = [content.get(name) for name in ("task", "source", "target")]
    if not all(isinstance(value, str) and value.strip() for value in fields):
        raise InvalidInput(f"{path} has a row without task, source or target: {str(content)[:120]}.")
    task, source, target = readable([str(value) for value in fields])
    if task in EXPLANATION_SETS:
        task = str(GenerationTask.EXPLAIN)
    if task not in TASKS:
        raise InvalidInput(f"{path} has a row of the task {task!r}; known are {', '.join(TASKS)}.")
    return Row(task, source, target)


def _noised_rows(texts: Sequence[str], rng: random.Random) -> Iterator[Row]:
    """A sentence or two of each text and a damaged copy; of questions, copies with slips of the tongue."""
    questions = [text for text in texts if text.endswith("?") and len(text.split()) <= 25]
    for text in texts:
        piece = _piece(text, rng)
        if not piece:
            continue
        if piece.endswith("?") and questions:
            yield Row(str(GenerationTask.CLEAN_QUERY), slip(piece, rng.choice(questions), rng), piece)
        else:
            yield Row(DENOISE, damage(piece, rng), piece)


def _piece(text: str, rng: random.Random) -> str:
    sentences = _SENTENCE_END.split(text)
    first = rng.randrange(len(sentences))
    piece = sentences[first]
    if first + 1 < len(sentences) and rng.random() < 0.3:
        piece = f"{piece} {sentences[first + 1]}"
    return piece if 3 <= len(piece.split()) <= _MAX_NOISED_WORDS else ""


def damage(text: str, rng: random.Random) -> str:
    """Words left out or moved, sometimes no capitals or no punctuation (Lewis et al. 2020, "BART", 2.2)."""
    words = [word for word in text.split() if rng.random() > 0.1] or text.split()[:1]
    moved = sorted(range(len(words)), key=lambda i: i + rng.uniform(0, 2.5 if rng.random() < 0.3 else 0.9))
    damaged = " ".join(words[i] for i in moved)
    if rng.random() < 0.4:
        damaged = damaged.lower()
    return re.sub(r"[,.;:]", "", damaged) if rng.random() < 0.3 else damaged


def slip(question: str, other: str, rng: random.Random) -> str:
    """The question with a false start or a wrong phrase that is taken back, as people speak."""
    words, wrong, sign = question.rstrip("?").split(), other.rstrip("?").split(), rng.choice(_SLIPS)
    if rng.random() < 0.35:  # a false start of another question
        return " ".join([*wrong[: rng.randint(1, min(6, len(wrong)))], sign, question])
    at = rng.randrange(1, len(words)) if len(words) > 1 else 0
    begin = rng.randrange(len(wrong))
    phrase = wrong[begin : begin + rng.randint(1, 4)]
    again = words[max(0, at - rng.randint(0, 1)) : at]  # people repeat a word when they start again
    spoken = [*words[:at], *phrase, sign, *again, *words[at:]]
    return " ".join(spoken) + ("?" if rng.random() < 0.8 else "")
