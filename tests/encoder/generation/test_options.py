"""Options out of their limits are refused, and the refusal names the limits."""

from __future__ import annotations

import math

import pytest

from core.errors import InvalidInput
from core.generation_types import GenerationOptions
from encoder.generation.options import check_options

BAD = [
    ("n", 0, "from 1 to 16"),
    ("n", 100, "from 1 to 16"),
    ("n", 1.5, "whole number"),
    ("n", True, "whole number"),
    ("beams", 0, "from 1 to 16"),
    ("beams", 17, "from 1 to 16"),
    ("length_penalty", -1.0, "from 0.0 to 5.0"),
    ("length_penalty", math.nan, "from 0.0 to 5.0"),
    ("temperature", -0.1, "from 0.0 to 5.0"),
    ("temperature", math.inf, "from 0.0 to 5.0"),
    ("temperature", "hot", "a number"),
    ("top_k", -1, "from 0 to 8192"),
    ("top_k", 9000, "from 0 to 8192"),
    ("top_p", 0.0, "above 0"),
    ("top_p", 1.1, "at most 1"),
    ("top_p", math.nan, "at most 1"),
    ("repetition_penalty", 0.5, "from 1.0 to 5.0"),
    ("no_repeat_ngram", -1, "from 0 to 32"),
    ("max_new_tokens", 0, "from 1 to 128"),
    ("max_new_tokens", 129, "from 1 to 128"),
    ("stop", "text", "a list of texts"),
    ("stop", ("",), "1 to 64 characters"),
    ("stop", ("x" * 65,), "1 to 64 characters"),
    ("stop", ("a",) * 9, "at most 8"),
    ("seed", -1, "from 0 to"),
    ("seed", 2**63, "from 0 to"),
]


@pytest.mark.parametrize(("name", "value", "limit"), BAD)
def test_an_option_out_of_its_limits_is_refused_with_them(name: str, value: object, limit: str) -> None:
    options = GenerationOptions(**{name: value})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(InvalidInput, match=rf"'{name}'.*{limit}") as refusal:
        check_options(options, 128, 8192)
    assert [error["field"] for error in refusal.value.errors] == [name]


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_options(GenerationOptions(n=0, beams=99, top_p=2.0), 128, 8192)
    assert [error["field"] for error in refusal.value.errors] == ["n", "beams", "top_p"]


def test_the_defaults_and_the_limits_themselves_are_taken() -> None:
    check_options(GenerationOptions(), 128, 8192)
    check_options(
        GenerationOptions(16, 16, 5.0, 5.0, 8192, 1.0, 5.0, 32, 128, ("x" * 64,) * 8, 2**63 - 1), 128, 8192
    )
