"""The numbers that a text states, in digits of any script or as common English and Spanish words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import prod
from typing import Final

# A point may begin a number (".5"); inside, one mark stands between digits.
_NUMBER = re.compile(
    r"(?P<digits>(?:(?<![\w.,])\.)?\d+(?:[.,'’\u00a0\u202f]\d+)*)(?:[eE](?P<exponent>[-−+]?\d{1,2})(?!\w))?"
)
# One character, alone or behind a whole number: ½, 1½, 1 ½.
_FRACTION = re.compile(r"(?:(?<!\d)(\d+)[ \u00a0\u202f]?)?([¼-¾⅐-⅞])")
# A minus stands at a beginning: not between two numbers (3-5, 3 - 5), in a word (B-2) or in a date.
_MINUS = re.compile(r"(?<![\w.,)\-−–])(?:[-−–]|(?:minus|menos)\s+)[$€£]?$", re.IGNORECASE)
_BEHIND_NUMBER = re.compile(r"\d\s*$")
_MARK = re.compile(r"\D")
_GROUP = 3  # digits behind a mark that makes groups of thousands
_LETTERS = re.compile(r"[^\W\d_]+")
_FOLLOWING = re.compile(r"[ -](?:(?:and|y) (?:an? )?)?([^\W\d_]+)")
_GAPS: Final = (" ", "-")  # between words of one number
_LOOK_BACK = 12  # characters in which a sign stands before a number

# "one" and "un" are left out, for they are no numbers most of the time.
_SMALL: Final = {
    word: value
    for value, words in enumerate(
        (
            "two dos", "three tres", "four cuatro", "five cinco", "six seis", "seven siete", "eight ocho",
            "nine nueve", "ten diez", "eleven once", "twelve doce",
        ),
        start=2,
    )
    for word in words.split()
}  # fmt: skip
_HUNDREDS: Final = {"cien": 100} | {
    stem + ending: 100 * value
    for value, stem in enumerate(
        (
            "doscient", "trescient", "cuatrocient", "quinient", "seiscient", "setecient", "ochocient",
            "novecient",
        ),
        start=2,
    )
    for ending in ("os", "as")
}  # fmt: skip
_TIMES: Final = {
    word: 10**zeros
    for zeros, words in (
        (2, "hundred"), (3, "thousand mil"), (6, "million millón millon"), (9, "billion"),
        (12, "trillion billón billon"), (18, "trillón trillon"),
    )
    for word in words.split()
}  # fmt: skip
# Several of these alone are no number unless it is said how many.
_TIMES_BEHIND_NUMBER: Final = _TIMES | {
    word: 10**zeros
    for zeros, words in (
        (2, "cientos"), (6, "millions millones"), (9, "billions"), (12, "trillions billones"),
        (18, "trillones"),
    )
    for word in words.split()
}  # fmt: skip
_ONE: Final = frozenset(("a", "one", "un"))  # which are numbers before these
_CHAIN = re.compile(
    rf"(?:[ \u00a0\u202f-](?:{'|'.join(sorted(_TIMES_BEHIND_NUMBER, key=len, reverse=True))})\b)+",
    re.IGNORECASE,
)
_LONGEST: Final = 28  # digits that are multiplied exactly
_SHORT: Final = {"k": 10**3, "m": 10**6, "bn": 10**9, "tn": 10**12}
_SHORTENED = re.compile(r"(?:[ \u00a0\u202f]?(?:bn|tn)|m|k)\b", re.IGNORECASE)
_UNITS: Final = frozenset(("k", "m"))  # which may mean kelvin and metres too
_HALVES: Final = frozenset(("half", "medio"))  # of a million or the like
# Beside these a small number is part of a larger one, of which nothing is said here.
_TENS: Final = frozenset(
    (
        "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety", "treinta",
        "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa", "ciento", "thirteen",
        "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "trece", "catorce",
        "quince", "dieciséis", "diecisiete", "dieciocho", "diecinueve", "veinte", "veintiuno",
        "veintiún", "veintidós", "veintitrés", "veinticuatro", "veinticinco", "veintiséis",
        "veintisiete", "veintiocho", "veintinueve",
    )
)  # fmt: skip
_AND: Final = frozenset(("and", "y"))
# "once" is eleven in Spanish, and no number in English; the others are often said of no exact number.
_UNSURE: Final = frozenset(("once", *_TIMES)) - {"mil"}
_OTHER_WORDS: Final = {
    "both": 2, "pair": 2, "couple": 2, "twice": 2, "double": 2, "ambos": 2, "ambas": 2, "par": 2, "pareja": 2,
    "half": 0.5, "medio": 0.5, "media": 0.5, "mitad": 0.5, "quarter": 0.25, "cuarto": 0.25,
    "dozen": 12, "docena": 12, "decade": 10, "década": 10, "century": 100, "siglo": 100,
}  # fmt: skip


def numbers(text: str) -> frozenset[str]:
    """Numbers in digits of any script, without marks between thousands, with a decimal point and a minus.

    "1,000" and "1.000" are 1000; "3,5", "3.50" and "3½" are 3.5; "2.5 million" is 2500000, and "2e-3" 0.002.
    One mark before exactly three digits makes thousands.
    """
    return frozenset(readings[-1] for readings in _written(_in_decimals(text)))


def spoken_numbers(text: str) -> frozenset[str]:
    """Numbers that a text surely writes as words: 2 to 12, and these many hundreds, thousands, millions …"""
    return frozenset(str(value) for word, value in _spoken(text) if word not in _UNSURE)


def missing_numbers(wanted: str, text: str) -> list[str]:
    """Numbers of `wanted`, in digits or words, that `text` has in neither."""
    wanted, text = _in_decimals(wanted), _in_decimals(text)
    known = {reading for readings in _written(text) for reading in readings} | _may_speak(text)
    told = (*_written(wanted), *((number,) for number in spoken_numbers(wanted)))
    return sorted({readings[-1] for readings in told if known.isdisjoint(readings)})


def _in_decimals(text: str) -> str:
    """The text with decimals for fractions that are one character, to four places."""

    def decimal(match: re.Match[str]) -> str:
        return f"{match[1] or 0}" + f"{unicodedata.numeric(match[2]):.4f}"[1:]

    return text if text.isascii() else _FRACTION.sub(decimal, text)


def _may_speak(text: str) -> frozenset[str]:
    """All that the words of a text may mean as numbers."""
    others = {str(_OTHER_WORDS[word]) for word in _LETTERS.findall(text.lower()) if word in _OTHER_WORDS}
    return frozenset(str(value) for _, value in _spoken(text)) | others


def _written(text: str) -> Iterator[tuple[str, ...]]:
    """What each number in digits may be worth: of "5m" a million times as much, or what it says."""
    for match in _NUMBER.finditer(text):
        *others, last = _read(match["digits"], text, match.start())
        yield from ((number,) for number in others)
        if exponent := match["exponent"]:
            yield (_product(last, Decimal(10) ** int(exponent.replace("−", "-"))),)
        elif (times := _times(text, match.end())[0]) > 1:
            yield (_product(last, times),)
        elif short := _SHORTENED.match(text, match.end()):
            unit = short.group().strip().lower()
            large = _product(last, _SHORT[unit])
            yield (large, last) if unit in _UNITS else (large,)
        else:
            yield (last,)


def _times(text: str, end: int) -> tuple[int, int]:
    """How many times as much is meant by what is said behind a number, and where that ends."""
    if not (chain := _CHAIN.match(text, end)):
        return 1, end
    return prod(_TIMES_BEHIND_NUMBER[word] for word in _LETTERS.findall(chain.group().lower())), chain.end()


def _product(number: str, times: int | Decimal) -> str:
    if number.count(".") > 1 or len(number) > _LONGEST:  # a version, a date or no number
        return number
    whole, _, fraction = f"{Decimal(number) * times:f}".partition(".")
    return _decimal(whole, fraction)


def _read(written: str, text: str, start: int) -> Iterator[str]:
    """One number, or several that marks stand between ("1,2,3")."""
    *whole, last = parts = _MARK.split(written)
    marks = _MARK.findall(written)
    sign = "-" if _is_negative(text, start) else ""
    digits = [_ascii(part) for part in parts]
    if not marks:
        yield sign + digits[0]
    elif _makes_groups(parts, marks):
        yield sign + "".join(digits)
    elif len(marks) == 1 or (_makes_groups(whole, marks[:-1]) and marks[-1] not in marks[:-1] and last):
        yield sign + _decimal("".join(digits[:-1]) or "0", digits[-1])
    elif set(marks) == {"."}:  # a version, an address or a date
        yield ".".join(digits)
    else:
        yield from digits


def _makes_groups(parts: Sequence[str], marks: Sequence[str]) -> bool:
    first, *others = parts
    return (
        len(set(marks)) == 1
        and 0 < len(first) <= _GROUP
        and _ascii(first)[0] != "0"
        and all(len(part) == _GROUP for part in others)
    )


def _decimal(whole: str, fraction: str) -> str:
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def _ascii(digits: str) -> str:
    return "".join(str(unicodedata.digit(digit)) for digit in digits)


def _is_negative(text: str, start: int) -> bool:
    before = text[max(0, start - _LOOK_BACK) : start]
    sign = _MINUS.search(before)
    return sign is not None and not _BEHIND_NUMBER.search(before[: sign.start()])


def _spoken(text: str) -> Iterator[tuple[str, int]]:
    """Number words with their values, but not those that are part of a larger number."""
    text = text.lower()
    second = before = ""
    last = read_to = 0
    for match in _LETTERS.finditer(text):
        word = match.group()
        if text[last : match.start()] not in _GAPS:
            second = before = ""
        if match.start() >= read_to and not _ends_larger(second, before):
            times, end = _times(text, match.end())
            is_alone = end == match.end()
            if value := _value(word, is_alone, _is_behind_number(text, match.start())):
                read_to = end
                is_half = before in _HALVES and (word in _ONE or word in _TIMES)
                if (is_alone and word in _SMALL) or not _goes_on(text, end):
                    yield word, value * times // (2 if is_half else 1)
        second, before, last = before, word, match.end()


def _value(word: str, is_alone: bool, is_behind_number: bool) -> int:
    """Of a word, without those behind it that say how many times as much is meant; 0 of other words."""
    if word in _ONE:
        return 0 if is_alone else 1
    if word in _TIMES:
        return 0 if is_behind_number else _TIMES[word]
    return _SMALL.get(word) or _HUNDREDS.get(word) or 0


def _is_behind_number(text: str, start: int) -> bool:
    return text[max(0, start - 2) : start].rstrip(" -\u00a0\u202f")[-1:].isdigit()


def _ends_larger(second: str, before: str) -> bool:
    larger = second if before in _AND else before
    return any(larger in part for part in (_TENS, _TIMES_BEHIND_NUMBER, _HUNDREDS))


def _goes_on(text: str, end: int) -> bool:
    following = _FOLLOWING.match(text, end)
    word = following[1] if following else ""
    return any(word in part for part in (_SMALL, _HUNDREDS, _TENS, _HALVES))
