"""SARI, how well a text keeps, deletes and adds the words that people kept, deleted and added.

Xu et al. 2016, "Optimizing statistical machine translation for text simplification", section 3.1: a text is
compared with its source as well as with its references, so that leaving everything as it was earns little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean

_ORDERS = range(1, 5)


def corpus_sari(sources: Sequence[str], texts: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean SARI of the texts, 0 to 100, over words in small letters as sacreBLEU's tokenizer 13a cuts them.

    Each text has a source and one or more references. As in the authors' own program a mean over no
    n-grams is 0: a text that deletes nothing has deleted nothing well.
    """
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    cut = Tokenizer13a()

    def words(text: str) -> list[str]:
        return str(cut(text)).lower().split()

    return fmean(
        _sari(words(source), words(text), [words(target) for target in targets])
        for source, text, targets in zip(sources, texts, references, strict=True)
    )


def _sari(source: Sequence[str], text: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    scores = [
        score
        for order in _ORDERS
        for score in _order_scores(
            _ngrams(source, order), _ngrams(text, order), [_ngrams(target, order) for target in references]
        )
    ]
    return 100 * fmean(scores)


def _order_scores(
    source: Counter[Hashable], text: Counter[Hashable], references: Sequence[Counter[Hashable]]
) -> tuple[float, float, float]:
    """F1 of what was kept, precision of what was deleted, F1 of what was added, for n-grams of one order.

    Counts of source and text are taken once for each reference, so that what half of the people kept
    counts half.
    """
    people: Counter[Hashable] = sum(references, Counter())
    before = Counter({ngram: count * len(references) for ngram, count in source.items()})
    after = Counter({ngram: count * len(references) for ngram, count in text.items()})

    kept, kept_by_people = before & after, before & people
    well_kept = kept & people
    deleted = before - after
    added, added_by_people = text.keys() - source.keys(), people.keys() - source.keys()
    well_added = len(added & added_by_people)
    return (
        _f1(_mean_share(well_kept, kept), _mean_share(well_kept, kept_by_people)),
        _mean_share(deleted - people, deleted),
        _f1(well_added / max(1, len(added)), well_added / max(1, len(added_by_people))),
    )


def _ngrams(words: Sequence[str], order: int) -> Counter[Hashable]:
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def _mean_share(part: Mapping[Hashable, int], whole: Mapping[Hashable, int]) -> float:
    return fmean(part.get(ngram, 0) / count for ngram, count in whole.items()) if whole else 0.0


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision and recall else 0.0
