"""Words of two texts that say contrary things: "first" where the other says "second", or "after" "before"."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from core.facts import straight, words
from core.telling_words import telling
from core.word_forms import Stem, stems

# A line is a group whose sides exclude each other; the first word of a side names it.
_GROUPS: Final = """
first, 1st / second, 2nd
first, 1st / final, the last
always / sometimes, occasionally, often
all, every, everyone, everybody, everything / some, someone, somebody
most / fewest, least
north, northern, northwards / south, southern / east, eastern / west, western
increase, increased, increases, increasing, rise, rises, rose, risen, grew, grow, grows
/ decrease, decreased, decreases, decreasing, fall, falls, fell, fallen, decline, declined, declines, shrank
open, opened, opens, opening / closed, closes, closing, shut
high, highest / low, lowest
maximum / minimum
majority / minority
best / worst
good / bad, poor
right, correct / wrong, incorrect
true / false
hot, hottest / cold, coldest
easy, easiest / difficult, hard, hardest
cheap, cheapest / expensive, dear
rich, richest / poor, poorest
strong, strongest / weak, weakest
fast, fastest, quick, quickly / slow, slowest, slowly
wet / dry
full / empty
clean / dirty
happy / sad
large, largest, big, biggest, huge / small, smallest, tiny
oldest / youngest, newest
earliest / latest
tallest, longest / shortest
thick / thin
wide / narrow
the left, left hand, left-hand, left side, to left / the right, right hand, right-hand, right side, to right
inside, indoors / outside, outdoors
upper, top / lower, bottom
import, imports, imported / export, exports, exported
yesterday / today / tomorrow
morning / afternoon, evening, night
day, daytime / night, nighttime
noon / midnight
sunrise, dawn / sunset, dusk
spring / summer / autumn / winter
monday / tuesday / wednesday / thursday / friday / saturday / sunday
red / blue / green / yellow / black / white / brown / pink / purple / grey, gray
began, begin, begins, started, starts / ended, ends, stopped, stops, finished, finishes
arrive, arrives, arrived, arriving / depart, departs, departed, left, leave, leaves
love, loves, loved, like, likes, liked / hate, hates, hated
accept, accepts, accepted / reject, rejects, rejected, refuse, refuses, refused
allow, allows, allowed, permitted / forbid, forbids, forbidden, ban, bans, banned, prohibited
caused / prevented, cured
include, includes, included / exclude, excludes, excluded
remember, remembers, remembered / forget, forgets, forgot, forgotten
success, succeeded, succeeds / failure, failed, fails
alive / dead
born, birth / death, died
guilty / innocent
positive / negative
public / private
legal / illegal
because / although
if / unless
man, men, boy, boys / woman, women, girl, girls
male / female
father / mother
son, sons / daughter, daughters
brother, brothers / sister, sisters
king / queen
friend, friends / enemy, enemies
sunny / rainy
"""
# Whoever turns a sentence round says the other side of these: "he left before she came", "she came after …".
_TURNED_ROUND: Final = """
before, until, prior to / after, since, following
more, no less than, no fewer than / less, fewer, no more than, not more than
above / below, beneath
ahead / behind
older / younger, newer
larger, bigger, greater / smaller
higher / lower
taller, longer / shorter
faster, quicker / slower
better / worse
stronger / weaker
richer / poorer
hotter, warmer / colder, cooler
earlier / later
north of / south of
east of / west of
won, win, wins, beat, beats, beaten / lost, lose, loses
parent, parents / child, children
husband / wife
"""
# In these the words say something else; what they say of numbers is judged by core.stated_limits.
_IDIOMS: Final = (
    "at least", "at most", "before long", "more or less", "after all", "first of all", "at first", "if only",
    "in short", "all right", "all over", "day after day", "in the end", "no longer",
    "not all", "not every", "not everyone", "not everybody", "not everything", "not always",
)  # fmt: skip
_OBJECT: Final = 3  # telling words behind a word that may be what it is said of
_CLAUSE: Final = re.compile(r"[^,;:.!?()]*")


def _sides() -> dict[str, list[tuple[int, int, bool]]]:
    """Phrase -> the groups and sides that it belongs to, and whether it may be turned round."""
    found: dict[str, list[tuple[int, int, bool]]] = {}
    lines = [(line, False) for line in _GROUPS.replace("\n/", " /").strip().splitlines()]
    lines += [(line, True) for line in _TURNED_ROUND.strip().splitlines()]
    for group, (line, may_turn) in enumerate(lines):
        for side, phrases in enumerate(line.split("/")):
            for phrase in phrases.split(","):
                found.setdefault(phrase.strip(), []).append((group, side, may_turn))
    return found | {idiom: [] for idiom in _IDIOMS}


_SIDES: Final = _sides()
_PHRASE: Final = re.compile(rf"\b(?:{'|'.join(sorted(_SIDES, key=len, reverse=True))})\b")


def contrary(source: str, text: str) -> tuple[str, str] | None:
    """A word of `text` and the one of `source` whose contrary it is, or None.

    The text has nothing of the side that the source has, and the source nothing of the text's. A comparison
    that is turned round, with what it was compared to, says the same.
    """
    source, text = straight(source).lower(), straight(text).lower()
    told, said = _found(source), _found(text)
    for (group, side, may_turn), match in said.items():
        others = [key for key in told if key[0] == group]
        if not others or (group, side, may_turn) in told or any(key in said for key in others):
            continue
        before = told[others[0]]
        if not (may_turn and _is_turned_round(source, before, text, match)):
            return match.group(), before.group()
    return None


def _found(text: str) -> dict[tuple[int, int, bool], re.Match[str]]:
    """The first phrase of each side of each group."""
    found: dict[tuple[int, int, bool], re.Match[str]] = {}
    for match in _PHRASE.finditer(text):
        for key in _SIDES[match.group()]:
            found.setdefault(key, match)
    return found


def _is_turned_round(source: str, before: re.Match[str], text: str, after: re.Match[str]) -> bool:
    """Whether what the text's word is said of is in the source, and the source's is said of another."""
    own, others = _said_of(text, after), _said_of(source, before)
    if not own:
        return False
    known = {stem for word in words(source) for stem in stems(word)}
    return not known.isdisjoint(own[0]) and all(own[0].isdisjoint(other) for other in others)


def _said_of(text: str, match: re.Match[str]) -> list[frozenset[Stem]]:
    """The stems of the telling words and numbers behind a match in its clause, of each word."""
    clause = _CLAUSE.match(text, match.end())
    told = words(clause.group()) if clause else []
    return [stems(word) for word in islice((w for w in told if w.isdigit() or telling(w)), _OBJECT)]
