"""Numbers of a text are compared by what they are worth, however they are written."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.stated_numbers import missing_numbers, numbers, spoken_numbers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,000 of 2.5 at 10:30", {"1000", "2.5", "10", "30"}),
        ("the 20th of 2019-2020", {"20", "2019", "2020"}),
        ("١٢ and 12", {"12"}),
        ("B2B with three", {"2"}),
        ("1,000,000 1.000.000 1'000'000 1\u00a0000\u00a0000", {"1000000"}),
        ("3.5 3,5 3.50", {"3.5"}),
        ("1,234.56 1.234,56", {"1234.56"}),
        ("$1.50", {"1.5"}),
        ("0.5, .5 and 0,500", {"0.5"}),
        ("05", {"05"}),
        ("-5, \u22126 and minus 7, -$8", {"-5", "-6", "-7", "-8"}),
        ("3-5, 3 -5, B-2 on 2020-05-01", {"3", "5", "2", "2020", "05", "01"}),
        ("1,2,3 in version 1.2.3", {"1", "2", "3", "1.2.3"}),
        ("5 million, 5 billion, 5 mil millones", {"5000000", "5000000000"}),
        ("2.5 million 2,5 millones, -5 million", {"2500000", "-5000000"}),
        ("5 hundred, 5 thousand, 5-mil, 5 billones", {"500", "5000", "5000000000000"}),
        ("1.2bn, 2 to 3 million, 1.2.3 million", {"1200000000", "2", "3000000", "1.2.3"}),
        ("5 m, 5m, 5 millionaires", {"5"}),
        ("none", set()),
    ],
)
def test_numbers_in_digits_are_what_they_are_worth(text: str, found: set[str]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Five men, doce perros", {"5", "12"}),
        ("one man, un hombre, una mujer, uno", set()),
        ("he was once a king", set()),
        ("twenty-five, treinta y cinco and a hundred and five", set()),
        ("five hundred men, two thousand men, setecientos hombres, dos mil", {"500", "700", "2000"}),
        ("five hundred and twenty men", set()),
        ("two million of three-quarters", {"2000000", "3"}),
        ("two billion, dos mil millones, mil millones", {"2000000000", "1000000000"}),
        ("a million, un millón, half a million, medio millón", {"1000000", "500000"}),
        ("cinco millones, un billón", {"5000000", "1000000000000"}),
        ("cien, cien mil, quinientos mil", {"100", "100000", "500000"}),
        ("two million and a half, dos millones y medio, five hundred and he left", {"500"}),
        ("several hundred, millions, miles de hombres", set()),
        ("fifty thousand, quince mil, mil quinientas, twenty-one thousand", set()),
        ("two hundred thousand, twelve hundred", {"200000", "1200"}),
    ],
)
def test_numbers_in_words_are_told_where_they_are_surely_numbers(text: str, found: set[str]) -> None:
    assert spoken_numbers(text) == found


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("3 cats, 12 dogs", "three cats, doce perros"),
        ("three cats, twelve dogs", "3 cats, 12 dogs"),
        ("1.000 casas", "1,000 houses"),
        ("3.5 miles", "3,5 millas"),
        ("eleven men", "once hombres"),
        ("two brothers and twelve eggs", "both brothers and a dozen eggs"),
        ("five hundred men", "500 men"),
        ("500 men", "quinientos hombres"),
        ("5 billion euros", "5 mil millones de euros"),
        ("three million men", "tres millones de hombres"),
        ("2.5 million euros", "2,500,000 euros"),
        ("a million dollars", "un millón de dólares"),
        ("a hundred men", "cien hombres"),
        ("otras cien yardas", "another hundred yards"),
        ("ten thousand yen", "10 mil yenes"),
        ("160 million in taxes", "160m in taxes"),
        ("160m in taxes", "160 million in taxes"),
        ("$189bn", "$189 billion"),
        ("one hundred years ago", "a century ago"),
        ("half a million men", "500,000 men"),
    ],
)
def test_a_number_is_not_missing_where_it_is_written_otherwise(wanted: str, text: str) -> None:
    assert missing_numbers(wanted, text) == []


@pytest.mark.parametrize(
    ("wanted", "text", "missing"),
    [
        ("13 cats", "thirteen cats", ["13"]),
        ("3.5 miles", "35 miles", ["3.5"]),
        ("$1.50", "$150", ["1.5"]),
        ("0.5 mg", "05 mg", ["0.5"]),
        ("at -5 degrees", "at 5 degrees", ["-5"]),
        ("Five people died.", "Six people died.", ["5"]),
        ("Six people died.", "5 people died.", ["6"]),
        ("five hundred died", "six hundred died", ["500"]),
        ("5 million euros", "5 billion euros", ["5000000"]),
        ("5 billion euros", "5 millones de euros", ["5000000000"]),
        ("5 million euros", "5 mil millones de euros", ["5000000"]),
        ("5 hundred euros", "5 euros", ["500"]),
        ("5 euros", "5 hundred euros", ["5"]),
        ("two million euros", "two billion euros", ["2000000"]),
        ("a million men", "a billion men", ["1000000"]),
        ("half a million men", "half a billion men", ["500000"]),
        ("5 trillion", "5 billones", []),
        ("5 billion", "5 billones", ["5000000000"]),
        ("½ cup", "a cup", ["0.5"]),
        ("½ cup", "¼ cup", ["0.5"]),
        ("1 ½ cups", "1 cup", ["1.5"]),
        ("1 ½ cups", "1.5 cups", []),
        ("½ cup", "half a cup", []),
        ("½ million", "500,000", []),
        ("10⅔ %", "10⅓ %", ["10.6667"]),
        ("1e-5 a day", "1e5 a day", ["0.00001"]),
        ("1.5E3 volts", "1,500 volts", []),
        ("1e999", "1e99", ["1", "999"]),
        ("$5 bn", "$5", ["5000000000"]),
        ("5 bn", "5 billion", []),
    ],
)
def test_another_number_is_another(wanted: str, text: str, missing: list[str]) -> None:
    assert missing_numbers(wanted, text) == missing


def test_a_text_of_32_kb_is_looked_at_in_a_fraction_of_a_second() -> None:
    started_s = time.process_time()
    for text in (
        "1," * 16_000,
        " " * 32_000 + "1",
        "five hundred 3.5 -1,000 " * 1400,
        "2 million " * 3200,
        "9" * 32_000 + " million",
        "9" * 32_000 + "é",
        "1½" * 16_000,
        "1e99 " * 6_400,
    ):
        assert missing_numbers(text, text) == []
    assert time.process_time() - started_s < 1.0


_words = st.lists(st.sampled_from(["a", "two", "mil", "million", "cien", "and", "5", "half", "3m"])).map(
    " ".join
)


@given(st.text() | st.text("0123456789.,'- $½e−") | st.text("two hundre,once y1") | _words)
def test_any_text_misses_no_number_of_itself(text: str) -> None:
    assert missing_numbers(text, text) == []
