"""How good generated texts are, by task, beside baselines that generate nothing.

BLEU by sacrebleu (Post 2018), ROUGE-L by rouge-score (Lin 2004), SARI (`evaluation.sari`), exact match of
texts without outer space.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from core.errors import InvalidInput
from core.generation_types import EXPLANATION_SETS, GenerationOptions, GenerationTask, TaskStanding
from core.ports.generation import Generator
from evaluation.rows import read_jsonl, text_of
from evaluation.sari import corpus_sari

EXACT, BLEU, ROUGE, SARI = "exact match", "sacreBLEU", "ROUGE-L", "SARI"
_BLOCK = 64
_SENTENCE = re.compile(r".*?[.!?](?=\s|$)")
_PART = re.compile(r"(?:^|\| )\w+: ")

# What a task must reach on held-out rows to be relied on: (measure, least value).
REQUIRED: Final[Mapping[GenerationTask, tuple[tuple[str, float], ...]]] = MappingProxyType(
    {
        GenerationTask.TRANSLATE_EN_ES: ((BLEU, 30.0),),
        GenerationTask.CLEAN_QUERY: ((EXACT, 0.45), (BLEU, 75.0)),
        GenerationTask.SPLIT: ((BLEU, 60.0),),
    }
)
_COMPARED: Final[Mapping[GenerationTask, str]] = MappingProxyType(
    {
        GenerationTask.TRANSLATE_EN_ES: BLEU,
        GenerationTask.CLEAN_QUERY: BLEU,
        GenerationTask.SPLIT: SARI,
        GenerationTask.SIMPLIFY: SARI,
    }
)


@dataclass(frozen=True, slots=True)
class Sources:
    """The different sources of a task, each with all its targets."""

    task: GenerationTask
    sources: tuple[str, ...]
    targets: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class TaskResult:
    """Measures of the generated texts and of each baseline, by name.

    ROUGE-L and exact match go from 0 to 1, BLEU and SARI to 100.
    """

    task: GenerationTask
    texts: int
    measures: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    standing: TaskStanding
    samples: tuple[tuple[str, str, str], ...]  # source, generated, target


def read_generation_rows(path: Path, limit: int | None = None) -> list[Sources]:
    """Rows {task, source, target} of a JSONL file (also .gz), at most `limit` sources a task.

    Rows of public collections of explanations keep their own names in the file; all are `explain` here.
    Raises InvalidInput, for rows of any other task, rows without a source or target, and no rows too.
    """
    found: dict[GenerationTask, dict[str, list[str]]] = {}
    for place, row in read_jsonl(path):
        task = _task(path, str(row.get("task")))
        source, target = (text_of(row, field, place) for field in ("source", "target"))
        if not (source.strip() and target.strip()):
            raise InvalidInput(f"{place} has an empty source or target; drop the row.")
        found.setdefault(task, {}).setdefault(source, []).append(target)
    if not found:
        raise InvalidInput(f"{path} has no rows; expected lines of {{task, source, target}}.")
    return [
        Sources(task, tuple(by_source)[:limit], tuple(map(tuple, by_source.values()))[:limit])
        for task, by_source in found.items()
    ]


def _task(path: Path, named: str) -> GenerationTask:
    if named in EXPLANATION_SETS:
        return GenerationTask.EXPLAIN
    if named not in list(GenerationTask):
        known = ", ".join((*GenerationTask, *EXPLANATION_SETS))
        raise InvalidInput(f"{path} has a row of the task {named!r}; known are {known}.")
    return GenerationTask(named)


def evaluate_task(
    generator: Generator,
    data: Sources,
    options: GenerationOptions,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TaskResult:
    """Generates one text a source and measures it; sources that are too long count as empty texts."""
    texts: list[str] = []
    longest = generator.info.max_source_tokens
    for start in range(0, len(data.sources), _BLOCK):
        block = data.sources[start : start + _BLOCK]
        fits = [count <= longest for count in generator.source_tokens(block)]
        readable = [source for source, is_short in zip(block, fits, strict=True) if is_short]
        answers = iter(generator.generate(data.task, readable, options) if readable else [])
        for is_short in fits:
            found = next(answers) if is_short else []
            texts.append(found[0].text if found else "")
        on_progress(len(texts), len(data.sources))
    baselines = {name: measure(made, data) for name, made in _baselines(data).items()}
    measures = measure(texts, data)
    samples = tuple(zip(data.sources, texts, (targets[0] for targets in data.targets), strict=True))
    standing = judge(data.task, measures, baselines)
    return TaskResult(data.task, len(texts), measures, baselines, standing, samples[:50])


def measure(texts: Sequence[str], data: Sources) -> dict[str, float]:
    """All measures of one text a source.

    With several targets the best counts; BLEU and SARI take all together.
    """
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import corpus_bleu

    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    rouge = [
        max(scorer.score(target, text)["rougeL"].fmeasure for target in targets)
        for text, targets in zip(texts, data.targets, strict=True)
    ]
    exact = [
        text.strip() in {t.strip() for t in targets}
        for text, targets in zip(texts, data.targets, strict=True)
    ]
    most = max(map(len, data.targets))
    references = [[t[i] if i < len(t) else None for t in data.targets] for i in range(most)]
    return {
        EXACT: sum(exact) / len(exact),
        BLEU: float(corpus_bleu(list(texts), references).score),
        ROUGE: sum(rouge) / len(rouge),
        SARI: corpus_sari(data.sources, texts, data.targets),
    }


def compared_by(task: GenerationTask) -> str:
    """The measure by which a task must be better than every baseline.

    References of `split` and `simplify` are the source but for a few words, so that copying it is hard to
    beat by measures that compare with references alone.
    """
    return _COMPARED.get(task, ROUGE)


def judge(
    task: GenerationTask, measures: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]
) -> TaskStanding:
    """Stable is what reaches all that is required and beats every baseline."""
    compared = compared_by(task)
    best = max((values[compared] for values in baselines.values()), default=0.0)
    least_by = dict(REQUIRED.get(task, ()))
    least_by[compared] = max(least_by.get(compared, 0.0), best)
    required = list(least_by.items())
    is_stable = all(measures[name] >= least for name, least in required) and measures[compared] > best
    worst, least = min(required, key=lambda one: measures[one[0]] / one[1] if one[1] else math.inf)
    return TaskStanding(task, is_stable, worst, measures[worst], least)


def _baselines(data: Sources) -> dict[str, list[str]]:
    """Texts that need no model: the source, its first sentence, and of named parts each one alone."""
    made = {"copy": list(data.sources), "lead sentence": [_lead(source) for source in data.sources]}
    if data.task is GenerationTask.EXPLAIN:
        named = ([part.strip() for part in _PART.split(source) if part.strip()] for source in data.sources)
        parts = [found or [source] for found, source in zip(named, data.sources, strict=True)]
        made = {
            "first part": [part[0] for part in parts],
            "second part": [part[min(1, len(part) - 1)] for part in parts],
        }
    return made


def _lead(source: str) -> str:
    found = _SENTENCE.match(source)
    return found.group() if found else source
