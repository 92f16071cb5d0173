"""How a public model is used: the prompts of tasks, where texts begin and end, how long they may be.

A user's `cognate.json` in the model's folder says so; without it the defaults of the family stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import CheckpointError
from core.generation_types import GenerationTask
from encoder.json_files import read_json

USE = "cognate.json"
GENERATION_CONFIG = "generation_config.json"
SOURCE = "{}"  # stands in a prompt where the source goes

_INSTRUCTIONS = {
    GenerationTask.CLEAN_QUERY: "Rewrite as a clear question without slips of the tongue: {}",
    GenerationTask.CONTEXTUAL_QUERY: "Rewrite the last question so that it stands alone: {}",
    GenerationTask.SHORTEN_QUESTION: "Summarize the question in a few words: {}",
    GenerationTask.ASK: "Ask a question that this passage answers: {}",
    GenerationTask.SPLIT: "Split into two sentences: {}",
    GenerationTask.SIMPLIFY: "Simplify: {}",
    GenerationTask.PARAPHRASE: "Paraphrase: {}",
    GenerationTask.TRANSLATE_EN_ES: "translate English to Spanish: {}",
    GenerationTask.EXPLAIN: "Explain in one sentence how the texts are related. {}",
}
_CONTINUATIONS = {
    GenerationTask.SIMPLIFY: "{}\nIn simple words:",
    GenerationTask.PARAPHRASE: "{}\nIn other words:",
    GenerationTask.ASK: "{}\nQuestion:",
    GenerationTask.TRANSLATE_EN_ES: "English: {}\nSpanish:",
}
_PROMPTS: Mapping[str, Mapping[GenerationTask, str]] = {
    "bart": {GenerationTask.PARAPHRASE: SOURCE},
    "gpt2": _CONTINUATIONS,
    "marian": {GenerationTask.TRANSLATE_EN_ES: SOURCE},
    "t5": _INSTRUCTIONS,
}
_STOPS: Mapping[str, tuple[str, ...]] = {"gpt2": ("\n",)}
_FIELDS = ("id", "prompts", "stop", "max_source_tokens", "max_new_tokens")


@dataclass(frozen=True, slots=True)
class PublicUse:
    """`prompts` are texts with one `{}` where the source goes; generation also ends at each of `stops`.

    `starts` are the tokens before every text, none where prompts are gone on with; `ends` are tokens that end
    one, `silent` never appear in one. `max_tokens` of a source with its prompt are read, 0 for no limit.
    """

    id: str
    prompts: Mapping[GenerationTask, str]
    stops: tuple[str, ...]
    starts: tuple[int, ...]
    ends: frozenset[int]
    silent: tuple[int, ...]
    padding: int
    max_tokens: int
    max_source_tokens: int | None
    max_new_tokens: int


def read_use(folder: Path, raw: Mapping[str, Any]) -> PublicUse:
    """Of the folder's files; `raw` is its config. Raises CheckpointError naming a field that does not fit."""
    own = read_json(folder / USE, default={})
    unknown = sorted(set(own) - set(_FIELDS))
    if unknown:
        raise CheckpointError(f"{folder / USE} has {', '.join(unknown)}; known are {', '.join(_FIELDS)}.")
    kind = raw["model_type"]
    generation = read_json(folder / GENERATION_CONFIG, default={})
    told = {name: value for name, value in (raw | generation).items() if value is not None}
    padding = told.get("pad_token_id", 0)
    ends = _ends(folder, told)
    try:
        read, new = _limits(kind, raw)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder}: config.json does not say how long texts may be: {error}."
        ) from error
    return PublicUse(
        str(own.get("id", folder.resolve().name)),
        _prompts(folder, own.get("prompts", _PROMPTS[kind])),
        _stops(folder, own.get("stop", _STOPS.get(kind, ()))),
        _starts(folder, kind, told),
        ends,
        () if padding in ends or "pad_token_id" not in told else (padding,),
        padding,
        read,
        _whole(folder, own, "max_source_tokens", None),
        _most_new(folder, own, new, is_bound=kind != "t5"),
    )


def _prompts(folder: Path, given: Any) -> dict[GenerationTask, str]:
    if not isinstance(given, Mapping) or not given:
        raise CheckpointError(f"{folder / USE}: 'prompts' must be an object of a prompt by task.")
    prompts = {}
    for task, prompt in given.items():
        if task not in list(GenerationTask):
            raise CheckpointError(
                f"{folder / USE} has a prompt for the task {task!r}; known are {', '.join(GenerationTask)}."
            )
        if not isinstance(prompt, str) or prompt.count(SOURCE) != 1:
            raise CheckpointError(
                f"{folder / USE}: the prompt of {task} is {prompt!r}; it needs one '{SOURCE}' for the source."
            )
        prompts[GenerationTask(task)] = prompt
    return prompts


def _stops(folder: Path, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(stop, str) and stop for stop in given):
        raise CheckpointError(f"{folder / USE}: 'stop' is {given!r}; it must be a list of texts.")
    return tuple(given)


def _ends(folder: Path, told: Mapping[str, Any]) -> frozenset[int]:
    found = told.get("eos_token_id", [])
    ends: list[int] = found if isinstance(found, list) else [found]
    if not ends:
        raise CheckpointError(f"{folder} names no 'eos_token_id' in config.json or {GENERATION_CONFIG}.")
    if not all(isinstance(end, int) for end in ends):
        raise CheckpointError(
            f"{folder}: 'eos_token_id' is {found!r}; it must be a token or a list of tokens."
        )
    return frozenset(ends)


def _starts(folder: Path, kind: str, told: Mapping[str, Any]) -> tuple[int, ...]:
    if kind == "gpt2":
        return ()
    start = told.get("decoder_start_token_id", told.get("pad_token_id"))
    if start is None:
        raise CheckpointError(f"{folder} names no 'decoder_start_token_id' in config.json.")
    forced = told.get("forced_bos_token_id")
    return (int(start),) if forced is None else (int(start), int(forced))


def _limits(kind: str, raw: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens that are read, and new tokens at most."""
    if kind == "gpt2":  # both share the positions
        return raw["n_positions"] // 2, raw["n_positions"] - raw["n_positions"] // 2
    if kind == "t5":  # any length; it was trained on so many
        return int(raw.get("n_positions") or 512), 512
    return raw["max_position_embeddings"], raw["max_position_embeddings"] - 2


def _most_new(folder: Path, own: Mapping[str, Any], most: int, is_bound: bool) -> int:
    """`is_bound`: the model has no positions beyond `most`."""
    wanted = _whole(folder, own, "max_new_tokens", most) or most
    if is_bound and wanted > most:
        raise CheckpointError(
            f"{folder / USE}: 'max_new_tokens' is {wanted}; the model has {most} positions."
        )
    return wanted


def _whole(folder: Path, own: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = own.get(name, default)
    if value is not None and (not isinstance(value, int) or value < 1):
        raise CheckpointError(f"{folder / USE}: {name!r} is {value!r}; it must be a whole number above 0.")
    return value
