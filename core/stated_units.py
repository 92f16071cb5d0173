"""What a text states beside numbers: units and currencies, places in an order ("third"), tens in words."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from core.facts import straight

# Names of one unit, the first of which is told. A pound is money or a weight.
_UNITS: Final = {
    name: names.split()[0]
    for names in (
        "euro euros eur €", "dollar dollars usd $", "pound pounds gbp £ lb lbs", "yen jpy ¥",
        "cent cents ¢", "rupee rupees inr ₹", "percent % pct",
        "kilometre kilometres kilometer kilometers km kms", "metre metres meter meters", "mile miles",
        "centimetre centimetres centimeter centimeters cm",
        "millimetre millimetres millimeter millimeters mm", "inch inches", "foot feet ft", "yard yards",
        "kilogram kilograms kilogramme kilogrammes kilo kilos kg kgs", "gram grams gramme grammes",
        "ton tons tonne tonnes", "ounce ounces oz", "litre litres liter liters", "gallon gallons",
        "byte bytes", "kilobyte kilobytes kb", "megabyte megabytes mb", "gigabyte gigabytes gb",
        "terabyte terabytes tb", "seconds second sec secs", "minute minutes min mins",
        "hour hours hr hrs", "day days", "week weeks", "month months", "year years yr yrs",
        "am a.m morning", "pm p.m afternoon evening noon tonight", "fahrenheit °f",
        "celsius centigrade °c",
    )
    for name in names.split()
}  # fmt: skip
_PLACES: Final = {
    name: value
    for value, names in enumerate(
        (
            "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th", "seventh 7th", "eighth 8th", "ninth 9th",
            "tenth 10th", "eleventh 11th", "twelfth 12th",
        ),
        start=3,
    )
    for name in names.split()
}  # fmt: skip
# As words alone, with the digits that a number begins with which may stand for them.
_TENS: Final = {
    "thirteen": "13", "fourteen": "14", "fifteen": "15", "sixteen": "16", "seventeen": "17",
    "eighteen": "18", "nineteen": "19", "twenty": "2", "thirty": "3", "forty": "4", "fifty": "5",
    "sixty": "6", "seventy": "7", "eighty": "8", "ninety": "9",
}  # fmt: skip
_SIGNS: Final = r"[€$£¥¢₹%]"
_NAME: Final = rf"°[cf]\b|{_SIGNS}|[ap]\.m\b|[^\W\d_]+"
_NUMBER: Final = (
    r"((?<!\d)(?<!\d[.,:])\d++(?:[.,:]\d++)*+|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty"
    r"|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion)\b)"
)
_BEHIND: Final = re.compile(rf"{_NUMBER}[ \u00a0\u202f-]?({_NAME})")
_BEFORE: Final = re.compile(r"([€$£¥₹])[ \u00a0\u202f]?(\d++(?:[.,]\d++)*+)")
_ANY: Final = re.compile(rf"\d+(?:(?:rd|th)\b)?|{_NAME}")
_PER_CENT: Final = re.compile(r"\bper[ -]cent\b")
_AGE: Final = re.compile(r"\b(?:old|aged?|turn(?:s|ed|ing)?)\b", re.IGNORECASE)


def new_units(text: str, source: str) -> list[str]:
    """Units beside numbers of `text` that `source` has nowhere: kilometres, say, where it speaks of miles."""
    return sorted({unit for _, unit in _beside_numbers(text)} - _units(source))


def lost_units(source: str, text: str) -> list[str]:
    """Units beside numbers of `source` that `text` has nowhere: "5 pm" is not "5". Years of an age may go."""
    lost = {unit for _, unit in _beside_numbers(source)} - _units(text)
    return sorted(lost - {"year"} if _AGE.search(f"{text} {source}") else lost)


def swapped_unit(source: str, text: str) -> str:
    """A number that each has once beside a unit, with that of `text`, if `source` has another; "" if none."""
    told, said = _beside_numbers(source), _beside_numbers(text)
    units, often = (
        dict(told),
        {n for one in (told, said) for n, c in Counter(n for n, _ in one).items() if c > 1},
    )
    swapped = (f"{n} {unit}" for n, unit in said if units.get(n, unit) != unit and n not in often)
    return next(swapped, "")


def _beside_numbers(text: str) -> list[tuple[str, str]]:
    """(number as it is written, unit) of all units that stand beside a number."""
    text = _plain(text)
    found = [match.groups() for match in _BEHIND.finditer(text)]
    found += [(match[2], match[1]) for match in _BEFORE.finditer(text)]
    return [(number, _UNITS[name]) for number, name in found if name in _UNITS]


def _units(text: str) -> set[str]:
    return {_UNITS[name] for name in _ANY.findall(_plain(text)) if name in _UNITS}


def missing_places(wanted: str, text: str) -> list[str]:
    """Places of `wanted`, from the third to the twelfth, that `text` has neither as such nor as a number."""
    told = _ANY.findall(_plain(text))
    known = {_PLACES[name] for name in told if name in _PLACES} | {
        int(name) for name in told if name.isdecimal()
    }
    places = dict.fromkeys(name for name in _ANY.findall(_plain(wanted)) if name in _PLACES)
    return [name for name in places if _PLACES[name] not in known]


def missing_tens(wanted: str, text: str) -> list[str]:
    """Words of `wanted` from thirteen to ninety for which `text` has neither the word nor such digits."""
    told = _ANY.findall(_plain(text))
    tens = dict.fromkeys(name for name in _ANY.findall(_plain(wanted)) if name in _TENS)
    return [
        word for word in tens if word not in told and not any(one.startswith(_TENS[word]) for one in told)
    ]


def _plain(text: str) -> str:
    return _PER_CENT.sub("percent", straight(text).lower())
