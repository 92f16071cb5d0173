"""What is wrong with the fields of a request, in words that name neither the validator nor its classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from api.dialects import BODY_TAGS

EXPECTED: Final[Mapping[str, str]] = {
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
}
FOUND: Final = {type(None): "null", bool: "a boolean", str: "a string", list: "a list", dict: "an object"}
JSON_NAMES: Final[Mapping[str, str]] = {"True": "true", "False": "false", "None": "null"}
CONSTANT: Final = re.compile(rf"(?<!['\w])({'|'.join(JSON_NAMES)})(?!['\w])")  # not one in quotes
NUMBERS: Final = ("a whole number", "a number")


@dataclass(frozen=True, slots=True)
class _Fault:
    place: tuple[str, ...]
    union: tuple[str, ...] | None  # the place that may hold one of several kinds
    reason: str
    expected: str | None  # of a value of the wrong kind
    found: str


def explain_fields(errors: Sequence[Mapping[str, Any]], body: Any) -> list[dict[str, Any]]:
    """Each validation error as field and reason, without echoing what was sent; `body` is what was parsed."""
    faults = [_fault(item, body) for item in errors]
    deepest: dict[tuple[str, ...], int] = {}
    for fault in faults:
        if fault.union is not None:
            deepest[fault.union] = max(deepest.get(fault.union, 0), len(fault.place))
    # Of the kinds that a value may be, the one that was read furthest is what the caller meant.
    meant = [one for one in faults if one.union is None or len(one.place) == deepest[one.union]]
    return _merged(meant)


def _merged(faults: Sequence[_Fault]) -> list[dict[str, Any]]:
    kinds: dict[tuple[str, ...], dict[str, None]] = {}
    for fault in faults:
        if fault.expected is not None:
            kinds.setdefault(fault.place, {})[fault.expected] = None
    reasons: dict[tuple[tuple[str, ...], str], None] = {}
    for fault in faults:
        reason = fault.reason
        if fault.expected is not None:
            reason = _expecting(tuple(kinds[fault.place]), fault.found)
        reasons[fault.place, reason] = None
    return [{"field": ".".join(place) or "body", "reason": reason} for place, reason in reasons]


def _fault(item: Mapping[str, Any], body: Any) -> _Fault:
    place, union = _place(item, body)
    return _Fault(place, union, _reason(item), EXPECTED.get(item["type"]), _found(item))


def _place(item: Mapping[str, Any], body: Any) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The fields that lead to the fault, and those that lead to the value of several kinds around it.

    What stands in `loc` without being in the body is the validator's name of a kind.
    """
    loc = item["loc"]
    if not loc or loc[0] != "body":
        return tuple(map(str, loc)), None
    place: list[str] = []
    union: tuple[str, ...] | None = None
    at = body
    for i, part in enumerate(loc[1:], start=2):
        is_key = isinstance(at, dict) and part in at
        is_index = isinstance(at, list) and isinstance(part, int) and part < len(at)
        if is_key or is_index:
            at = at[part]
            place.append(str(part))
        elif item["type"] == "missing" and i == len(loc):
            place.append(str(part))
        elif part not in BODY_TAGS and union is None:
            union = tuple(place)
    return tuple(place), union


def _reason(item: Mapping[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx") or {}
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a known field"
        case "string_unicode":
            return "has a lone surrogate (half of a UTF-16 pair); send valid Unicode"
        case "value_error":
            return str(context.get("error", item["msg"]))
        case "too_long":
            return f"has {context['actual_length']:,} items; at most {context['max_length']:,} are allowed"
        case "too_short":
            return f"has {context['actual_length']:,} items; at least {context['min_length']:,} must be sent"
    told = str(item["msg"]).replace("Input should", "must").replace("String should", "must")
    return CONSTANT.sub(lambda found: JSON_NAMES[found[0]], told)


def _expecting(kinds: Sequence[str], found: str) -> str:
    listed = " or ".join(part for part in (", ".join(kinds[:-1]), kinds[-1]) if part)
    is_told = found and not (found == "a number" and set(kinds).intersection(NUMBERS))
    return f"must be {listed}, but is {found}" if is_told else f"must be {listed}"


def _found(item: Mapping[str, Any]) -> str:
    if str(item["type"]).endswith(("_parsing", "_parsing_size")):
        return ""  # a part of the address is always text
    return FOUND.get(type(item.get("input")), "a number")
