"""Words that limit, deny or doubt what is said beside them, or leave it to somebody else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from core.word_forms import stems

# In any of their forms. The list may be wide: a word too many only keeps a sentence from being shortened.
_WORDS: Final = """
no not never none nobody nothing nowhere neither nor cannot hardly scarcely barely rarely seldom without
lack lacking absent absence fail failure refuse deny denial reject disprove refute discredit dismiss debunk
retract withdraw ban stop cease disappear vanish destroy demolish cancel extinct former formerly remains
abandon revoke replace abolish

only solely merely just except exception exclude exclusively save barring restricted limited if unless until
when whenever whether while wherever once so long far provided providing proviso subject contingent assuming
assumption depending lest case cases event

but however although though albeit yet still whereas despite instead rather otherwise nevertheless
notwithstanding contrary unlike versus than or either alternatively alternative

may might could would should will shall ought perhaps maybe possible possibly probable probably likely
apparent apparently seemingly ostensibly potential potentially presumably supposedly purportedly allegedly
reportedly supposed purported alleged putative reputed reputedly doubt doubtful dubious question
questionable controversy controversial dispute contest debate debatable open seem appear suggest suggestion
indicate indication point conjecture hypothesis hypothetical hypothesize hypothesise theory theoretical
theorize speculate speculation imply

according say tell claim argue argument contend believe belief think thought feel hope wish desire expect
insist assert assertion affirm allege allegation announce declare proclaim profess pronounce maintain opine
opinion view reckon guess suspect suspicion suppose presume presumption assume conclude conclusion infer
consider consideration regard deem judge judgement rule remark state statement report reporter write author
note add recall quip joke boast brag warn warning predict prediction forecast prophecy prophesy fear worry
complain protest object swear vow promise pledge guarantee threaten advertise tout hail praise dub label
admit confess concede acknowledge agree accept explain reply answer respond retort whisper shout murmur hear
gossip hearsay testify plead propose proposal urge advise recommend comment observe quote cite

fake false falsehood falsify fiction fictional fictitious hoax myth mythical legend legendary tale story
novel film fairy lie liar rumour rumor wrong wrongly error erroneous mistake incorrect inaccurate invalid
ineffective inconclusive insufficient inadequate impossible improbable implausible imaginary imagination
imagine illusion delusion dream fantasy fantastic fraud fraudulent sham scam trick deception deceive pretend
pretence pretense propaganda so-called would-be superstition lore joke parody satire nonsense opposite fable
series play opera comic cartoon game chess stage episode ridicule ridiculous contradict absurd word phrase
slogan innocent acquit disqualify annul overturn reverse expire lose zero else nominal

exist existence intend intention aim try attempt seek future await pending someday eventually soon resemble
imitate mimic simulate counterfeit

evidence proof sign fact idea notion concept chance risk pity shame wonder coincidence provision reason
message news truth true valid apply hold
"""
_STEMS: Final = frozenset(stem for word in _WORDS.split() for stem in stems(word))
# In this form alone: "be", "condition", "plan" and "know" limit nothing.
_FORMS: Final = frozenset(("being", "conditional", "planned", "planning", "knows", "cares"))
_DENYING: Final = re.compile(r".*n't|.*less|un(?!d|i).+|(?:non|mis|pseudo|quasi).+")


def has_limiting_word(words: Iterable[str]) -> bool:
    """Whether a folded word limits, denies, doubts, attributes, contrasts or offers alternatives."""
    return any(
        word in _FORMS or _DENYING.fullmatch(word) or not _STEMS.isdisjoint(stems(word)) for word in words
    )
