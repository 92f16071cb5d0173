"""Rewrites are given out only when they pass, and what is dropped is told with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from core.errors import InvalidInput
from core.generating import GenerationService
from core.generation_types import FinishReason, GenerationTask
from core.rewrite import TASKS, RewriteLimits, RewriteService, Rewritten
from core.rewrite_rules import RULES, DropReason
from indexer.chunking import sentence_starts
from tests.fakes import FakeEncoder, FakeGenerator, FakeGeneratorSource, RecordingGenerationMeter

SOURCE = "The 3 cats of Ann sat on the old mat."


def service(generator: FakeGenerator, meter: RecordingGenerationMeter | None = None) -> RewriteService:
    generation = GenerationService(FakeGeneratorSource(generator), meter or RecordingGenerationMeter())
    return RewriteService(generation, FakeEncoder(), sentence_starts)


def rewritten(source: str, task: str, written: Sequence[str], n: int = 5) -> Rewritten:
    return service(FakeGenerator({source: written})).rewrite([source], task, n)[0]


def texts(result: Rewritten) -> list[str]:
    return [rewrite.text for rewrite in result.rewrites]


def reasons(result: Rewritten) -> list[DropReason]:
    return [candidate.drop.reason for candidate in result.dropped]


def test_every_task_but_explain_has_its_rule() -> None:
    assert set(RULES) == set(GenerationTask) - {GenerationTask.EXPLAIN}


def test_good_ones_come_in_their_order_with_their_similarity() -> None:
    good = ["Ann's three cats sat on the old mat.", "On the old mat sat the 3 cats of Ann."]
    result = rewritten(SOURCE, "paraphrase", good)
    assert texts(result) == good
    assert result.dropped == ()
    assert all(one.similarity is not None and one.similarity > 0.7 for one in result.rewrites)
    assert texts(rewritten(SOURCE, "paraphrase", good, n=1)) == good[:1]


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ("The cats of Ann sat on the mat.", DropReason.LOST_NUMBERS),
        ("The 3 cats of her sat on the mat.", DropReason.LOST_NAMES),
        ("The 3 cats of Ann and Tom sat on the mat.", DropReason.NEW_NAMES),
        ("The 3 cats of Ann sat on 14 mats.", DropReason.NEW_NUMBERS),
        ("The 3 cats of Ann sat sat on it.", DropReason.STUTTER),
        ("The 3 cats of Ann sat on the qxoat.", DropReason.STRANGE_WORD),
        ("the 3 CATS of Ann: sat on the old mat", DropReason.UNCHANGED),
        ("The 3 cats of Ann sat on the~", DropReason.CUT_OFF),
        (" ", DropReason.EMPTY),
        ("Ann's three cats sat on the old \ufffd mat.", DropReason.BROKEN),
        ("Three with Ann: birds, fish, hay, corn, oil, ink, glue, wax, tin, zinc.", DropReason.FAR),
    ],
)
def test_a_bad_candidate_is_dropped_with_its_reason(candidate: str, reason: DropReason) -> None:
    good = "Ann's three cats sat on the old mat."
    result = rewritten(SOURCE, "paraphrase", [candidate, good])
    assert texts(result) == [good]
    assert reasons(result) == [reason]
    assert result.dropped[0].drop.detail


@pytest.mark.parametrize(
    ("source", "invented", "good"),
    [
        (
            "previous: Who built the lighthouse? || current: When was it built?",
            "When was the tower built?",
            "When was the lighthouse built?",
        ),
        (
            "previous: The team won. || current: In what year?",
            "In what year did the team lose?",
            "In what year did the team win?",
        ),
        (  # what the turns are called is said by nobody
            "previous: Who was the president in 1990? || current: And in 2000?",
            "Who was the current president in 2000?",
            "Who was the president in 2000?",
        ),
        (
            "previous: The king ruled for 12 years. | He was ill. || current: Why?",
            "Why did the previous king rule for twelve years?",
            "Why did the king rule for twelve years?",
        ),
        (
            "previous: Anna did not come to Rome. || current: Why?",
            "Why didn't Anna fly to Rome?",
            "Why didn't Anna come to Rome?",
        ),
    ],
)
def test_a_query_in_context_has_no_words_of_its_own(source: str, invented: str, good: str) -> None:
    result = rewritten(source, "contextual_query", [invented, good])
    assert texts(result) == [good]
    assert reasons(result) == [DropReason.NEW_WORDS]


@pytest.mark.parametrize("task", ["split", "simplify", "paraphrase", "translate_en_es"])
def test_a_number_in_words_must_be_kept_in_words_or_digits(task: str) -> None:
    source = "Five people died in the long fire."
    result = rewritten(source, task, ["In the long fire 5 people died.", "In the long fire six people died."])
    assert texts(result) == ["In the long fire 5 people died."]
    assert reasons(result) == [DropReason.LOST_NUMBERS]


def test_fewer_come_back_rather_than_bad_ones_and_never_one_twice() -> None:
    result = rewritten(
        SOURCE, "paraphrase", ["3 cats of Ann sat there.", "3 cats of ann sat there", SOURCE], 3
    )
    assert texts(result) == ["3 cats of Ann sat there."]
    assert reasons(result) == [DropReason.REPEATED, DropReason.UNCHANGED]


def test_what_was_taken_back_in_speech_may_go_but_what_was_meant_may_not() -> None:
    spoken = "When did Tom sorry no Ann arrive in 2019?"
    written = ["When did Ann arrive in 2019?", "When did Tom arrive in 2019?", "When did Ann arrive?"]
    result = rewritten(spoken, "clean_query", written)
    assert texts(result) == written[:1]
    assert reasons(result) == [DropReason.LOST_NAMES, DropReason.LOST_NUMBERS]


def test_a_name_at_the_beginning_of_a_sentence_must_be_kept() -> None:
    source = "Obama visited the old harbour."
    result = rewritten(
        source, "paraphrase", ["Trump visited the old harbour.", "The old harbour is what Obama visited."]
    )
    assert texts(result) == ["The old harbour is what Obama visited."]
    assert reasons(result) == [DropReason.LOST_NAMES]


@pytest.mark.parametrize("task", ["split", "simplify", "paraphrase"])
@pytest.mark.parametrize(
    ("source", "opposite", "same"),
    [
        ("It is not safe to drink it.", "It is safe to drink it.", "To drink it is not safe."),
        ("It is safe to drink it.", "It is never safe to drink it.", "To drink it is safe."),
        ("He is not married to her.", "He is married to her now.", "He is unmarried to her."),
    ],
)
def test_what_a_text_denies_its_rewrite_denies(task: str, source: str, opposite: str, same: str) -> None:
    generator = FakeGenerator({source: [opposite, same]})
    (result,) = service(generator).rewrite([source], task)
    assert reasons(result)[0] is DropReason.DENIAL
    assert DropReason.DENIAL not in reasons(result)[1:]


@pytest.mark.parametrize("task", ["split", "simplify", "paraphrase"])
@pytest.mark.parametrize(
    ("source", "opposite"),
    [
        ("The team did not come to the city.", "The team came into the city."),
        ("The drug is not safe for the child.", "The drug is only safe for the child."),
        ("There is no wait for it.", "There is a long wait for it."),
        ("It is not hot and it is not cold.", "It is hot and it is not cold."),
    ],
)
def test_a_denial_is_not_made_up_for_by_other_words(task: str, source: str, opposite: str) -> None:
    assert reasons(rewritten(source, task, [opposite])) == [DropReason.DENIAL]


@pytest.mark.parametrize(
    ("task", "source", "opposite", "same"),
    [
        ("clean_query", "Why is it not safe?", "Why is it safe?", "Why is it not safe?"),
        ("clean_query", "Is there no cure?", "Is there a cure?", "Is there no cure?"),
        ("clean_query", "Why is it safe?", "Why is it not safe?", "Why is it safe?"),
        ("clean_query", "Why no wait how is it not safe?", "How is it safe?", "How is it not safe?"),
        ("clean_query", "Is it hot no sorry is it cold?", "Is it not cold?", "Is it cold?"),
        (
            "clean_query",
            "How old is the east no west side?",
            "How is it not old?",
            "How old is the west side?",
        ),
        (
            "contextual_query",
            "previous: What is it? || current: Why is it not safe?",
            "Why is the drug safe?",
            "Why is the drug not safe?",
        ),
        ("ask", "Tom did not eat the fish.", "What did Tom eat?", "Did Tom eat the fish?"),
        ("ask", "Tom did not eat the fish.", "Which fish was Tom to eat?", "What did Tom not eat?"),
        ("ask", "Tom ate the fish.", "Who did not eat the fish?", "Who ate the fish?"),
        ("shorten_question", "Hi, is it safe to eat?", "Is it not safe to eat?", "Is it safe to eat?"),
    ],
)
def test_a_query_asks_for_no_opposite(task: str, source: str, opposite: str, same: str) -> None:
    assert reasons(rewritten(source, task, [opposite])) == [DropReason.DENIAL]
    assert DropReason.DENIAL not in reasons(rewritten(source, task, [same]))


@pytest.mark.parametrize(
    ("task", "source", "good"),
    [
        ("contextual_query", "previous: Is it not safe raw? || current: And cold?", "Is it safe cold?"),
        (
            "contextual_query",
            "previous: Is it safe? || current: No, I meant cold.",
            "No, I meant is it safe cold.",
        ),
        ("ask", "Tom did not come until May.", "When in May did Tom come?"),
        ("ask", "Tom did not eat, and drank the old wine.", "What did Tom have, was it the old wine?"),
    ],
)
def test_what_is_denied_elsewhere_may_be_left_out(task: str, source: str, good: str) -> None:
    assert DropReason.DENIAL not in reasons(rewritten(source, task, [good]))


@pytest.mark.parametrize("task", ["split", "paraphrase", "translate_en_es"])
def test_a_million_is_no_billion(task: str) -> None:
    source = "The old bank lent 5 million euros in all."
    good = "In all the old bank lent 5,000,000 euros."
    result = rewritten(source, task, ["The old bank lent 5 billion euros, all in all.", good])
    assert texts(result) == [good]
    assert reasons(result) == [DropReason.LOST_NUMBERS]


def test_what_was_dropped_makes_no_later_one_a_repetition() -> None:
    source = "Tom came home and Ann left."
    result = rewritten(source, "split", [source, "Tom came home. And Ann left."])
    assert texts(result) == ["Tom came home. And Ann left."]
    assert reasons(result) == [DropReason.UNCHANGED]


def test_marks_make_another_text_where_they_count_for_the_task() -> None:
    split = ["Tom came home. And Ann left.", "Tom came home and. Ann left.", "Tom came home.  And Ann left."]
    result = rewritten("Tom came home and Ann left.", "split", split)
    assert texts(result) == split[:2]
    assert reasons(result) == [DropReason.REPEATED]


def test_an_ordinary_or_takes_nothing_back() -> None:
    asked = "is it safe to take 400 mg ibuprofen or 500 mg paracetamol"
    result = rewritten(asked, "clean_query", ["is it safe to take 500 mg paracetamol", asked])
    assert texts(result) == [asked]
    assert reasons(result) == [DropReason.LOST_NUMBERS]


@pytest.mark.parametrize("task", ["clean_query", "contextual_query"])
def test_no_change_is_the_right_answer_where_nothing_was_wrong(task: str) -> None:
    text = "previous: Who is Ann? || current: How old is Bob?" if "context" in task else "How old is Bob?"
    assert texts(rewritten(text, task, ["How old is Bob?"])) == ["How old is Bob?"]


def test_earlier_turns_may_be_left_out_but_not_the_names_of_the_current_one() -> None:
    turns = "previous: Who are Ann and Tom? || current: Where did she meet Bob?"
    result = rewritten(turns, "contextual_query", ["Where did Ann meet Bob?", "Where did Ann meet him?"])
    assert texts(result) == ["Where did Ann meet Bob?"]
    assert reasons(result) == [DropReason.LOST_NAMES]


def test_a_translation_keeps_numbers_and_tells_which_names_it_cannot_find() -> None:
    source = "Mary met 14 Germans on Monday in Japan."
    result = rewritten(
        source, "translate_en_es", ["María encontró a 14 alemanes el lunes en Japón.", "María."]
    )
    assert texts(result) == ["María encontró a 14 alemanes el lunes en Japón."]
    assert result.rewrites[0].similarity is None
    assert "Monday" in result.rewrites[0].unverified
    assert "Mary" not in result.rewrites[0].unverified
    assert reasons(result) == [DropReason.LOST_NUMBERS]


def test_several_sentences_are_worked_on_one_by_one() -> None:
    generator = FakeGenerator(
        {"Tom sat down.": ["Down sat Tom.", "Tom has sat down."], "He ate.": ["He was eating."]}
    )
    (result,) = service(generator).rewrite(["Tom sat down. He ate."], "paraphrase", 2)
    assert [source for _, source in generator.asked] == ["Tom sat down.", "He ate."]
    assert texts(result) == ["Down sat Tom. He was eating.", "Tom has sat down. He was eating."]


@pytest.mark.parametrize(
    ("of_first", "of_second", "reason"),
    [
        ("Down sat the cats.", "Past Tom the 5 dogs did not run.", DropReason.LOST_NUMBERS),
        ("Down sat the 5 cats of Tom.", "Past Tom the 5 dogs did not run.", DropReason.NEW_NAMES),
        ("Down the 5 cats did not sit.", "Past Tom ran the 5 dogs.", DropReason.DENIAL),
    ],
)
def test_each_sentence_keeps_what_it_says_itself(of_first: str, of_second: str, reason: DropReason) -> None:
    first, second = "The 5 cats sat down.", "The 5 dogs did not run past Tom."
    generator = FakeGenerator({first: [of_first], second: [of_second]})
    (result,) = service(generator).rewrite([f"{first} {second}"], "paraphrase")
    assert texts(result) == []
    assert reasons(result) == [reason]


def test_of_a_sentence_candidates_that_keep_what_it_says_are_taken() -> None:
    generator = FakeGenerator(
        {"Tom sat with 5.": ["Tom sat.", "With 5 sat Tom."], "He left 5.": ["He was leaving 5."]}
    )
    (result,) = service(generator).rewrite(["Tom sat with 5. He left 5."], "paraphrase")
    assert texts(result) == ["With 5 sat Tom. He was leaving 5."]
    assert result.dropped == ()


def test_results_are_in_the_order_of_the_texts() -> None:
    generator = FakeGenerator({"a b c.": ["c b a."], "d e f.": ["f e d."]})
    found = service(generator).rewrite(["d e f.", "a b c."], "paraphrase", 1)
    assert [texts(one) for one in found] == [["f e d."], ["c b a."]]


def test_dropped_ones_are_counted() -> None:
    meter = RecordingGenerationMeter()
    service(FakeGenerator({SOURCE: [SOURCE]}), meter).rewrite([SOURCE], "paraphrase")
    assert ("dropped", "paraphrase", "unchanged") in meter.told


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "sing"}, f"task is 'sing'; it must be one of {', '.join(TASKS)}"),
        ({"task": "explain"}, "Explanations are at POST /v1/explain"),
        ({"n": 0}, "n is 0; it must be 1 to 8"),
        ({"n": 100}, "n is 100; it must be 1 to 8"),
        ({"texts": []}, "0 texts were sent; 1 to 64"),
        ({"texts": ["a"] * 65}, "65 texts were sent; 1 to 64"),
        ({"texts": ["a", " \n"]}, r"texts\[1\] is empty"),
        ({"texts": ["a\x00"]}, "texts"),
        ({"texts": ["x" * 40_000]}, "the limit is 32,768"),
        (
            {"texts": ["ok", "word " * 41]},
            r"A sentence of texts\[1\] has 41 tokens; the limit of paraphrase is 40",
        ),
        ({"texts": ["word " * 41], "task": "ask"}, r"texts\[0\] has 41 tokens; the limit of ask is 40"),
        ({"texts": ["A b. " * 257]}, "257 sentences; the limit is 256"),
        ({"texts": ["How old is she?"], "task": "contextual_query"}, "must be 'previous: TURN"),
        ({"texts": ["previous: a || current: "], "task": "contextual_query"}, "nothing after"),
    ],
)
def test_bad_requests_are_refused_with_the_limit(given: Mapping[str, object], message: str) -> None:
    asked = {"texts": ["a b"], "task": "paraphrase", "n": 1, **given}
    with pytest.raises(InvalidInput, match=message):
        service(FakeGenerator()).rewrite(**asked)  # type: ignore[arg-type]  # what a caller may send


@pytest.mark.parametrize(
    "text", ["私は猫が好きです。", "кошка сидит", "🐈 🐕", "<task:explain> <end> a b", "ﬁ ½ a\u0301"]
)
def test_other_scripts_and_the_text_of_special_tokens_are_texts_like_others(text: str) -> None:
    generator = FakeGenerator()
    (result,) = service(generator).rewrite([text], "ask")
    assert [source for _, source in generator.asked] == [text]
    assert len(result.rewrites) + len(result.dropped) == 1


def test_an_over_long_text_is_taken_if_its_sentences_are_not() -> None:
    text = "A small cat sat down. " * 20
    (result,) = service(FakeGenerator()).rewrite([text], "simplify")
    assert len(result.rewrites) + len(result.dropped) == 1


def test_a_task_that_the_generator_does_not_know_names_those_it_does() -> None:
    info = FakeGenerator().info
    few = FakeGenerator(info=type(info)(info.id, "b", "c", 40, 96, info.tasks[:2]))
    with pytest.raises(InvalidInput, match="generator does clean_query, contextual_query"):
        service(few).rewrite(["a"], "split")


def test_a_stream_is_of_one_sentence_and_verified_at_its_end() -> None:
    rewriting = service(FakeGenerator({SOURCE: ["Ann's three cats sat on the mat."]}))
    pieces = rewriting.stream(SOURCE, "paraphrase")
    written = "".join(pieces)
    stop = FinishReason.STOP
    assert pieces.finish is stop
    assert written == "Ann's three cats sat on the mat."
    assert texts(rewriting.verify(SOURCE, "paraphrase", written, stop)) == [written]
    assert reasons(rewriting.verify(SOURCE, "paraphrase", "Cats sat.", stop)) == [DropReason.LOST_NUMBERS]
    with pytest.raises(InvalidInput, match="2 sentences"):
        rewriting.stream("One cat. Two cats.", "paraphrase")


def test_a_streamed_text_was_cut_off_where_the_stream_says_so_however_few_tokens_it_has() -> None:
    rewriting = service(FakeGenerator({SOURCE: ["Ann's three cats sat on the~"]}))
    pieces = rewriting.stream(SOURCE, "paraphrase")
    written = "".join(pieces)
    assert reasons(rewriting.verify(SOURCE, "paraphrase", written, pieces.finish)) == [DropReason.CUT_OFF]
    assert reasons(rewriting.verify(SOURCE, "paraphrase", written, None)) == [DropReason.CUT_OFF]


def test_limits_are_those_of_the_messages() -> None:
    assert RewriteLimits() == RewriteLimits(64, 8, 32_768, 256)


def test_of_questions_those_come_first_that_keep_to_the_words_of_the_text() -> None:
    source = "The library was opened in 1962 by the mayor."
    strange = "In what year was the library of the university constructed?"
    near, statement = "In what year was the library opened?", "The library was opened?"
    generator = FakeGenerator({source: [strange, statement, near]})
    result = service(generator).rewrite([source], "ask", 3)[0]
    assert texts(result) == [near, strange]
    assert reasons(result) == [DropReason.QUESTION]
    assert generator.options[0].n == 8


def test_other_rewrites_come_as_the_generator_likes_them() -> None:
    generator = FakeGenerator(
        {SOURCE: ["3 old cats of Ann sat somewhere soft.", "On the old mat sat Ann's 3 cats."]}
    )
    result = service(generator).rewrite([SOURCE], "paraphrase", 2)[0]
    assert texts(result)[0] == "3 old cats of Ann sat somewhere soft."
    assert generator.options[0].n == 5


@pytest.mark.parametrize("task", ["split", "simplify", "paraphrase"])
def test_a_question_stays_a_question_and_what_is_none_asks_nothing(task: str) -> None:
    asked = rewritten("Is the old mat here?", task, ["The old mat is here.", "Is it here, the old mat?"])
    assert (texts(asked), reasons(asked)) == (["Is it here, the old mat?"], [DropReason.QUESTION])
    told = rewritten("The old mat is here.", task, ["Is the old mat here?", "Here it is, the old mat."])
    assert (texts(told), reasons(told)) == (["Here it is, the old mat."], [DropReason.QUESTION])
    searched = rewritten("who has the old mat", task, ["Who is it that has the old mat?"])
    assert reasons(searched) == []


@pytest.mark.parametrize("task", ["simplify", "paraphrase"])
def test_a_word_in_the_place_of_another_is_no_rewrite(task: str) -> None:
    source = "The police arrested the thief."
    good = "The thief was arrested by the police."
    result = rewritten(source, task, ["The thief arrested the thief.", good])
    assert (texts(result), reasons(result)) == ([good], [DropReason.STUTTER])
    again = "I know something that you don't know."
    assert texts(rewritten("I know something you don't.", task, [again])) == [again], "nothing was lost"
