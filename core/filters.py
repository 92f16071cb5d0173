"""Filters over the attributes of documents: their language, read from JSON and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard

from core.documents import check_text
from core.errors import InvalidInput

MAX_FILTER_DEPTH = 16
MAX_CONDITIONS = 256
MAX_IN_VALUES = 10_000
MAX_FIELDS = 1_000  # of a collection, not declared; values of further ones are not indexed
MAX_FIELD_BYTES = 512  # UTF-8; values of longer names are not indexed
MAX_KEYWORD_BYTES = 1024  # UTF-8; longer strings of documents are not indexed, so none can equal them

Number: TypeAlias = int | float
Scalar: TypeAlias = str | bool | int | float

GROUPS = ("and", "or")
RANGES = ("gt", "gte", "lt", "lte")
OPERATORS = ("eq", "ne", "in", *RANGES, "exists")


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Documents of which some value of the field equals some value here.

    The kinds are apart because Python takes True for 1. Whole numbers are ints, whatever was sent.
    """

    field: str
    keywords: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    bools: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range: a number, or a date as it was sent."""

    value: Number | str
    is_inclusive: bool


@dataclass(frozen=True, slots=True)
class Range:
    """Documents of which one value of the field lies within both bounds; at least one bound is there."""

    field: str
    lower: Bound | None = None
    upper: Bound | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """Documents that have a value, not null, in the field."""

    field: str


@dataclass(frozen=True, slots=True)
class Not:
    part: Filter


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Filter, ...]


Filter: TypeAlias = And | Or | Not | AnyOf | Range | Exists


def joined_path(path: str, key: str) -> str:
    """The name of the field that `key` is in the object at `path`, which is empty for the whole metadata."""
    return f"{path}.{key}" if path else key


def parse_filter(body: object) -> Filter:
    """The filter in `body`, decoded JSON of the contract's form.

    Several operators in one condition must all hold; gt, gte, lt and lte of one condition hold for the same
    value. Equal filters are equal objects. Raises InvalidInput that names the place (`filter.and[1].eq`),
    what was found there and what is expected.
    """
    return _Parser().parse(body, "filter", MAX_FILTER_DEPTH)


class _Parser:
    """Counts conditions over the whole filter."""

    def __init__(self) -> None:
        self._conditions = 0

    def parse(self, body: object, path: str, depth: int) -> Filter:
        if depth == 0:
            raise InvalidInput(f"{path}: nested deeper than {MAX_FILTER_DEPTH} levels; flatten the filter.")
        if not isinstance(body, Mapping) or not body:
            raise InvalidInput(
                f"{path} is {_describe(body)}; expected an object: and, or, not, or field with operators."
            )
        keys = [key for key in body if key in (*GROUPS, "not")]
        if not keys:
            return self._condition(body, path)
        if len(body) > 1:
            raise InvalidInput(
                f"{path} has {_listed(body)}; {keys[0]!r} stands alone in its object: combine with and."
            )
        inner = f"{path}.{keys[0]}"
        if keys[0] == "not":
            return Not(self.parse(body["not"], inner, depth - 1))
        return self._group(keys[0], body[keys[0]], inner, depth - 1)

    def _group(self, name: str, parts: object, path: str, depth: int) -> Filter:
        if not isinstance(parts, Sequence) or isinstance(parts, str) or not parts:
            raise InvalidInput(f"{path} is {_describe(parts)}; expected an array of one or more filters.")
        if len(parts) > MAX_CONDITIONS:
            raise InvalidInput(f"{path} has {len(parts):,} filters; the limit is {MAX_CONDITIONS:,}.")
        read = tuple(self.parse(part, f"{path}[{i}]", depth) for i, part in enumerate(parts))
        if len(read) == 1:
            return read[0]
        return And(read) if name == "and" else Or(read)

    def _condition(self, body: Mapping[str, object], path: str) -> Filter:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise InvalidInput(
                f"{path}: more than {MAX_CONDITIONS} conditions, which is the limit of a filter."
            )
        field = _field(body, path)
        operators = [key for key in body if key != "field"]
        unknown = [key for key in operators if key not in OPERATORS]
        if unknown or not operators:
            found = f"the unknown operator {_shortened(unknown[0])}" if unknown else "no operator"
            raise InvalidInput(f"{path} has {found}; expected one or more of {', '.join(OPERATORS)}.")
        parts = [
            _single(field, name, body[name], f"{path}.{name}") for name in operators if name not in RANGES
        ]
        bounds = {name: _bound(body[name], f"{path}.{name}", name) for name in RANGES if name in body}
        if bounds:
            parts.append(_range(field, bounds, path))
        return parts[0] if len(parts) == 1 else And(tuple(parts))


def _field(body: Mapping[str, object], path: str) -> str:
    field = body.get("field")
    if "field" not in body:
        raise InvalidInput(
            f"{path}.field is missing; found {_listed(body)}, expected and, or, not, or field with operators."
        )
    if not isinstance(field, str) or not field:
        raise InvalidInput(f"{path}.field is {_describe(field)}; expected the name of a metadata field.")
    check_text(field, f"{path}.field")
    return field


def _single(field: str, operator: str, value: object, path: str) -> Filter:
    if operator == "exists":
        if not isinstance(value, bool):
            raise InvalidInput(f"{path} is {_describe(value)}; expected true or false.")
        return Exists(field) if value else Not(Exists(field))
    if operator == "in":
        return _any_of(field, _listed_values(value, path))
    found = _any_of(field, [_scalar(value, path)])
    return Not(found) if operator == "ne" else found


def _listed_values(value: object, path: str) -> list[Scalar]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidInput(f"{path} is {_describe(value)}; expected an array of values.")
    if len(value) > MAX_IN_VALUES:
        raise InvalidInput(f"{path} has {len(value):,} values; the limit is {MAX_IN_VALUES:,}.")
    return [_scalar(item, f"{path}[{i}]") for i, item in enumerate(value)]


def _any_of(field: str, values: Sequence[Scalar]) -> AnyOf:
    return AnyOf(
        field,
        tuple(sorted({value for value in values if isinstance(value, str)})),
        tuple(sorted({value for value in values if is_number(value)})),
        tuple(sorted({value for value in values if isinstance(value, bool)})),
    )


def _range(field: str, bounds: Mapping[str, Bound], path: str) -> Range:
    for strict, wide in (("gt", "gte"), ("lt", "lte")):
        if strict in bounds and wide in bounds:
            raise InvalidInput(f"{path} has both {strict} and {wide}; use one of them.")
    return Range(field, bounds.get("gt") or bounds.get("gte"), bounds.get("lt") or bounds.get("lte"))


def _bound(value: object, path: str, operator: str) -> Bound:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidInput(f"{path} is {_describe(value)}; expected a number or an ISO 8601 date.")
    checked = _scalar(value, path)
    return Bound(checked, is_inclusive=operator.endswith("e"))


def _scalar(value: object, path: str) -> Scalar:
    """A value that a document's field can equal. Raises InvalidInput."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        size = len(check_text(value, path))
        if size > MAX_KEYWORD_BYTES:
            raise InvalidInput(
                f"{path} has {size:,} bytes; longer strings than {MAX_KEYWORD_BYTES:,} are not indexed."
            )
        return value
    if isinstance(value, int | float):
        return _number(value, path)
    hint = ' ("exists": false finds what has no value)' if value is None else ""
    raise InvalidInput(f"{path} is {_describe(value)}; expected a string, a number or a boolean{hint}.")


def _number(value: Number, path: str) -> Number:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidInput(f"{path} is an integer beyond 64 bits; expected one within, or a string.")
    if not math.isfinite(value):
        raise InvalidInput(f"{path} is {value}; numbers must be finite.")
    return exact_number(value)


def exact_number(value: Number) -> Number:
    """An int where that is the same number within 64 bits, so that equal numbers are of equal type."""
    if isinstance(value, float) and value.is_integer() and -(2.0**63) <= value < 2.0**63:
        return int(value)
    return value


def is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _describe(value: object) -> str:
    """What was found, by kind, short, and never a long echo."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"the string {_shortened(value)}"
    if isinstance(value, int | float):
        return "a number"
    kind = "object" if isinstance(value, Mapping) else "array"
    return f"an {kind}" if value else f"an empty {kind}"


def _listed(body: Mapping[str, object]) -> str:
    return " and ".join(_shortened(key) for key in list(body)[:3])


def _shortened(text: object) -> str:
    return repr(text if not isinstance(text, str) or len(text) <= 60 else text[:60] + "…")
