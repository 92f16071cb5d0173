"""Words that begin sentences and are no names, though they are written with a capital there.

Function words of English and Spanish, greetings, and verbs that begin commands. A word in -ing, a long one in
-ly and one shortened with n't are taken for common too, unless they must not be missing elsewhere: then only
forms of common verbs and words that end like adverbs are.
"""

from __future__ import annotations

import re
from typing import Final

from core.word_forms import stems

_LONG: Final = 8  # letters from which a word in -ly is no name: "Emily" is one
_PARTICIPLE: Final = 6
_ADVERB: Final = re.compile(  # from an adjective, by its ending
    r".{2,}(?:al|ous|ive|ful|less|[aeou]nt|[aeiu]te?|[aei]n?ct|ing|ed|ar|ib|ab|[ai]de?|is[ht]|en|i?om|ain|ick|eet"
    r"|ight|ose|[ae]rse|ense|ost|ort|old|ound|eep)ly"
)
_MARKS: Final = "'’"

_ENGLISH: Final = """
a about above according accordingly across actually add after afterward afterwards again against agreed ah
ahh albeit all almost alone along already alright also although altogether always am amazing amid among
amongst an and another any anybody anyone anything anyway anywhere apart apparently are aren around as ask
at away awesome back based be because become been before beginning behind being believe below beneath beside
besides best better between beyond both bring but buy by bye call called can check children choose close
come compare consider contact contrary cool could couldn daily dear define describe despite did didn discuss
do does doesn don done double down due during each earlier early eight eighteen either eleven else elsewhere
enough especially even eventually ever every everybody everyone everything everywhere evidence except excuse
explain facing fair far few fewer fifteen fifth fifty finally find first five follow following for forget
former fortunately forty four fourteen fourth from further furthermore generally get give given go god good
got great greater had hadn half hang happy hardly has hasn have haven having he hello help hence her here
hers herself hey hi high highly him himself his hmm hold hope how however hundreds hurry hush i iam if
ignore im imagine in incidentally include included incredible indeed initially inside instead interesting
into is isn it its itself ive just keep kind kindly know largely last late lately later latter least leave
less let lets like likewise list little living locals located long longer look lots low lower mainly make
many maybe me meanwhile men mmm more moreover most mostly much must mustn my myself name namely near nearby
nearly neither never nevertheless new next nice nine nineteen no nobody none nonetheless nope nor normally
not notably nothing now nowadays nowhere obviously of off officials often oh ok okay old on once one ones
only onto open opposite or originally other others otherwise ought our ours ourselves out outside over
overall own pardon part partly past people per perhaps please plenty plus possibly presumably previously
prior probably provide pull push put question quick quickly quite raise rarely rather read really recently
regarding regardless regards relax remember remind remove run sadly same save say seeing seldom send sent
seriously seven seventeen seventh several shall she should shouldn show shut similar similarly simply since
sincerely sir sit six sixteen sixth slowly so some somebody somehow someone something sometimes somewhere
soon sorry speak stand start started starting stay step still stop strangely subject such suddenly suggest
suppose sure surely take talk taste tell ten than thank thanks that the their theirs them themselves then
there thereafter thereby therefore theres these they thing things think third thirteen thirty this those
though thousands three through throughout thus till to today together tomorrow tonight too toward towards
translate try turn twelve twenty twice two typically ultimately um under underneath unfortunately unless
unlike until up upon us use used usually various very wait wake want was wasn watch we welcome well went
were weren what whatever when whence whenever where whereas whereby wherever whether which whichever while
who whoever whole whom whose why wide will wish with within without women won would wouldn wow write yeah
year years yep yes yesterday yet you your youre yours yourself yourselves
"""
_SPANISH: Final = """
a ademas ahora al algo alguien alguno algunos alli ante antes aqui asi aun aunque bajo bien cada casi como
con contra cual cuando cuanto cuantos de del desde despues donde dos durante el ella ellas ello ellos en
entonces entre era eran es esa esas ese eso esos esta estaba estan estas este esto estos fue fueron gracias
ha habia han hasta hay he hola hoy la las le les lo los mas me mi mientras mis mucho muchos muy nada nadie
ni ninguno no nos nosotros nunca o otra otro para pero poco por porque pues que quien quienes se segun ser
si siempre sin sobre solo son su sus tal tambien tampoco tan te tenia tiene tienen toda todas todo todos
tras tres tu tus un una unas uno unos usted ustedes y ya yo
"""
# Verbs whose forms in -ing begin sentences, and nouns in -ing; none of which a family is named after.
_VERBS: Final = """
accept accord achieve act adapt add address admit adopt advance advertise affect agree aim allow analyse
analyze announce answer appear apply approach argue arrange arrive ask assess assume attack attempt attend
avoid base bear beat become beg begin believe belong bend blame block blow boil borrow break breathe bring
build burn buy calculate call cancel care carry catch cause change charge check chew choose cite claim clean
clear climb close clothe collect combine come compare compete complete comprise concern conclude confirm
connect consider consist contain continue contribute control convert convince cook cope copy cost cover
create criticise criticize cross cry cut dance date deal decide declare decline defeat defend define delay
deliver demand deny depend describe design desire destroy determine develop die dine direct disappear
discover discuss display divide draw dream dress drink drive drop earn eat effect emerge emphasise emphasize
enable end engage enjoy ensure enter establish evaluate even examine excite exercise exist expand expect
experience explain explore express extend face fail fall fear feed feel fight fill find finish fit fix fly
follow force forget form found gain gather generate get give go govern grant grow guess hand handle happen
have hear help hide hit hope hunt hurt identify ignore imagine implement improve include increase indicate
influence inform inherit install intend interpret introduce invest investigate invite involve issue join
judge jump keep kill kiss know land last laugh launch lay lead learn leave lend let lie lift light like
limit link listen live locate look lose love maintain make manage mark marry match mean measure meet mention
migrate miss mix monitor mount move multiply name need note notice obey observe obtain occupy occur offer
open operate oppose order organise organize originate own pack paint participate pass pay perform permit
pick place plan plant play point possess practice practise prepare prescribe present prevent print process
produce promise protect provide publish pull push put rain raise range reach realise realize receive
recognise recognize record reduce refer reflect refuse regard relate release rely remain remember remind
remove repair repeat replace report represent require rescue research resign resolve respond rest result
retire return reveal rise rob rule run save say score search see seek seem select sell send separate serve
set settle shake share shine shoot shop show shut sign sing sit sleep smell smile smoke snow solve sound
speak spend spin spread stand start state stay steal step stick stop strike stroke struggle study succeed
suffer suggest supply support surround survive swim switch take talk target taste teach tell test thank
think throw touch tour track trade train translate transport travel treat try turn understand update urge
use vary visit vote wait wake walk want warn wash waste watch wear wed weigh win wonder work worry write
"""
_NOUNS: Final = frozenset(
    (
        "anything", "awning", "ceiling", "earring", "evening", "everything", "housing",
        "lightning", "morning", "nothing", "offspring", "sibling", "something", "spring", "string",
        "wellbeing",
    )
)  # fmt: skip
_VERB_STEMS: Final = frozenset(stem for verb in _VERBS.split() for stem in stems(verb))
_OPENERS: Final = frozenset((*_ENGLISH.split(), *_SPANISH.split()))


def is_opener(word: str) -> bool:
    """Whether a folded word may begin a sentence without being a name."""
    return (
        _is_listed(word)
        or (word.endswith("ing") and len(word) >= _PARTICIPLE)
        or (word.endswith("ly") and len(word) >= _LONG)
    )


def is_surely_opener(word: str) -> bool:
    """The same without words in -ing and -ly that may be names, as Beijing and Kimberly are."""
    if _is_listed(word) or word in _NOUNS:
        return True
    if word.endswith("ly"):
        return len(word) >= _LONG and _ADVERB.fullmatch(word) is not None
    return word.endswith("ing") and len(word) >= _PARTICIPLE and not _VERB_STEMS.isdisjoint(stems(word))


def _is_listed(word: str) -> bool:
    first = word
    for mark in _MARKS:
        first = first.partition(mark)[0]
    return first in _OPENERS
