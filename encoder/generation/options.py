"""Which options a generator takes: limits, and their refusal with the limits named."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import InvalidInput
from core.generation_types import GenerationOptions

# Lowest and highest value of each; `max_new_tokens` and `top_k` depend on the model.
_WHOLE = {"n": (1, 16), "beams": (1, 16), "no_repeat_ngram": (0, 32), "seed": (0, 2**63 - 1)}
_REAL = {"length_penalty": (0.0, 5.0), "temperature": (0.0, 5.0), "repetition_penalty": (1.0, 5.0)}
MAX_STOPS = 8
MAX_STOP_CHARACTERS = 64


def check_options(options: GenerationOptions, max_new_tokens: int, vocab_size: int) -> None:
    """Raises InvalidInput that lists every option out of its limits, with the limits."""
    problems = list(_problems(options, max_new_tokens, vocab_size))
    if problems:
        message = "; ".join(f"'{name}' {problem}" for name, problem in problems)
        errors: list[dict[str, object]] = [{"field": name, "reason": problem} for name, problem in problems]
        raise InvalidInput(f"Options of the generation: {message}.", errors)


def _problems(options: GenerationOptions, max_new_tokens: int, vocab_size: int) -> Iterator[tuple[str, str]]:
    limits = _WHOLE | {"max_new_tokens": (1, max_new_tokens), "top_k": (0, vocab_size)}
    for name, (low, high) in limits.items():
        value = getattr(options, name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            yield name, f"is {value!r}; expected a whole number from {low} to {high}"
    for name, (least, most) in _REAL.items():
        value = getattr(options, name)
        if not _is_real(value) or not least <= value <= most:
            yield name, f"is {value!r}; expected a number from {least} to {most}"
    if not _is_real(options.top_p) or not 0 < options.top_p <= 1:
        yield "top_p", f"is {options.top_p!r}; expected a number above 0, at most 1"
    yield from _stop_problems(options.stop)


def _stop_problems(stops: object) -> Iterator[tuple[str, str]]:
    if isinstance(stops, str) or not isinstance(stops, tuple | list):
        yield "stop", f"is {stops!r}; expected a list of texts"
    elif len(stops) > MAX_STOPS:
        yield "stop", f"has {len(stops)} texts; expected at most {MAX_STOPS}"
    elif not all(isinstance(stop, str) and 0 < len(stop) <= MAX_STOP_CHARACTERS for stop in stops):
        yield "stop", f"holds {stops!r}; expected texts of 1 to {MAX_STOP_CHARACTERS} characters"


def _is_real(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
