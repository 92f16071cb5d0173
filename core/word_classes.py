"""English words by what they do in a sentence: as many as the rules that use these lists need, no grammar."""

from __future__ import annotations

from typing import Final


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


BE: Final = _set("is was are")
AUXILIARIES: Final = BE | _set(
    """
    were am be been has have had can could may might must will would shall should do does did isn't aren't
    wasn't weren't hasn't haven't hadn't can't cannot won't don't doesn't didn't
    """
)
# Words that are finite verbs wherever they stand.
VERBS: Final = AUXILIARIES | _set(
    """
    occurs includes contains prevents reduces provides requires produces inhibits becomes remains consists
    belongs describes depends went came took gave knew became began wrote broke grew fell ate drank drove flew
    rose spoke chose sat stood ran
    """
)
# Verbs behind "that" or "who", which may be nouns elsewhere.
RELATIVE_VERBS: Final = VERBS | _set(
    """
    affects attacks begins breaks builds carries causes connects controls converts covers damages
    develops flows forms gives goes grows happens helps holds involves joins keeps lasts leads lives makes
    moves protects results runs sells serves shows spreads stands starts stores supplies supports
    surrounds takes treats turns uses varies weakens works
    """
)
ARTICLES: Final = _set("a an")
DETERMINERS: Final = ARTICLES | _set("the this these those its his her their our all each some many")
RELATIVES: Final = _set("that which who whom whose where")
PRONOUNS: Final = _set(
    "it its this that these those there he his him she her they their them we you i here one such"
)
PREPOSITIONS: Final = _set(
    """
    about above across after against along among around as at before behind below beneath beside besides
    between beyond by despite down during for from in inside into like near of off on onto out outside over
    past per since through throughout to toward towards under up upon with within without
    """
)
SUBORDINATORS: Final = _set(
    """
    if unless when whenever wherever because although though albeit while whereas until till whether lest once
    provided given granted taken suppose assume imagine say let consider considering notwithstanding insofar
    inasmuch what whatever whoever whichever why how however even just only so now rather unlike except
    according contrary and or but nor than no not never neither either
    """
)
# Nouns and comparatives that begin a subordinate clause without another word: "the moment it was sold".
CLAUSE_OPENERS: Final = _set(
    "moment instant minute day night week month year time place way more less sooner later"
)
ADVERBS: Final = _set("also often usually sometimes always most more very well best better now then")
# Of these, or with these, a sentence does not speak plainly of one thing or one kind of things.
SCOPES: Final = _set(
    """
    every each all any most least some many much more less few fewer little several both half almost nearly
    another first second third last next best worst sole main chief same such too enough zero
    dozen hundred thousand million billion quarter tenth
    """
)
# "A type of cancer" is a cancer, a "part of a boat" is no boat.
CLASS_NOUNS: Final = _set("one type kind form group class family species variety subtype subset")
