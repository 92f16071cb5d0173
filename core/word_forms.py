"""Whether two English words are forms of one, told by their endings or by a list of irregular verbs."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

Stem = tuple[int, str]  # which endings it may have, and what stands before them

# Endings that forms of one word may have, behind the fewest letters that must stand before them. "e" and
# nothing never stand together: "plan" is no form of "plane".
_FORMS: Final = (
    (3, ("", "s", "es", "ed", "ing")),
    (2, ("e", "es", "ed", "ing")),
    (3, ("y", "ies", "ied")),
    (4, ("", "ful", "ness")),
    (4, ("e", "er", "ers")),
    (4, ("y", "ily", "ier", "iest")),
    (5, ("", "s", "ly", "al", "ally", "ity", "ment", "ments", "fully")),
    (5, ("", "s", "ed", "ing", "er", "ers", "or", "ors", "ion", "ions", "ive", "able", "ation", "ations")),
    (5, ("e", "es", "ed", "ing", "er", "ers", "or", "ors", "ion", "ions", "ive", "able", "ation", "ations")),
    (5, ("ant", "ance", "antly")),
    (5, ("ent", "ence", "ently")),
    (5, ("is", "es", "e", "ed", "ing")),
)
# Verbs whose forms their endings do not tell, the base first; with those in -ing and -s of the shortest.
_IRREGULAR: Final = """
be am is are was were been being; become became; begin began begun; bear bore born borne; bind bound
bite bit bitten; bleed bled; blow blew blown; break broke broken; bring brought; build built; buy bought
catch caught; choose chose chosen; come came; deal dealt; dig dug; draw drew drawn; drink drank drunk
drive drove driven; eat ate eaten; fall fell fallen; feed fed; feel felt; fight fought; find found
flee fled; fly flies flew flown; forbid forbade forbidden; forget forgot forgotten; freeze froze frozen
get got gotten; give gave given; go goes going went gone; grow grew grown; hang hung; have has had; hear heard
hide hid hidden; hold held; keep kept; know knew known; lay laid; lead led; leave left; lend lent
lose lost; make made; mean meant; meet met; pay paid; ride rode ridden; ring rang rung; rise rose risen
run ran; say said; see saw seen; sell sold; send sent; shake shook shaken; shine shone; shoot shot
shrink shrank shrunk; sing sang sung; sink sank sunk; sit sat; sleep slept; speak spoke spoken
spend spent; spin spun; stand stood; steal stole stolen; stick stuck; strike struck stricken
swear swore sworn; swim swam swum; swing swung; take took taken; teach taught; tear tore torn; tell told
think thought; throw threw thrown; understand understood; wake woke woken; wear wore worn
weave wove woven; win won; withdraw withdrew withdrawn; write wrote written
"""
_BASES: Final = {
    form: forms.split()[0] for forms in _IRREGULAR.replace("\n", ";").split(";") for form in forms.split()
}
_DOUBLED: Final = ("ed", "ing", "er", "ers")  # endings before which a consonant may be doubled
_REMEMBERED: Final = 8192


@lru_cache(maxsize=_REMEMBERED)
def stems(word: str) -> frozenset[Stem]:
    """What a folded word may be without its ending; forms of one word have one of these in common."""
    found: set[Stem] = {(-1, word)}
    if (base := _BASES.get(word, word)) != word:
        found |= stems(base)
    for kind, (least, endings) in enumerate(_FORMS):
        for ending in endings:
            stem = word.removesuffix(ending)
            if len(stem) < least or not word.endswith(ending):
                continue
            found.add((kind, stem))
            if ending in _DOUBLED and len(stem) > least and stem[-1] == stem[-2]:
                found.add((kind, stem[:-1]))
    return frozenset(found)


def are_forms(one: str, other: str) -> bool:
    """Whether two folded words differ at most in their endings, as "walks" and "walked" do."""
    return not stems(one).isdisjoint(stems(other))
