"""What a training learns from: the stored examples, or a collection's with the feedback that came since."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from core.bulk_encoding import slices
from core.classifier_types import Classifier, CollectedExamples, EncodedExamples, StoredExample
from core.errors import InvalidInput
from core.example_checks import ClassifierLimits, check_labels
from core.example_memory import SLICE_CHARACTERS, Encoding, ExampleMemory, Space
from core.ports.classifiers import ClassifierStore
from core.ports.models import Encoder
from core.types import Float32, Lane, PassageText


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """All examples of one moment. `as_of` is the classifier's last change then.

    `collected` are the same where they are not stored yet.
    """

    encoded: EncodedExamples
    as_of: datetime
    collected: CollectedExamples | None


@dataclass(frozen=True, slots=True)
class TrainingExamples:
    """Reads and checks examples. Those of a collection stay in memory until the version is added.

    So a training that fails, is cancelled or killed leaves the stored examples as they were, and the next
    attempt reads the collection again. They are as many as the limits allow, and a training has all its
    examples in memory anyway.
    """

    store: ClassifierStore
    memory: ExampleMemory
    encoder: Encoder
    limits: ClassifierLimits

    def read(
        self,
        classifier: Classifier,
        accepted_at: datetime,
        collected: CollectedExamples | None,
        encoding: Encoding,
    ) -> Reading:
        """The stored examples, or the `collected` with what feedback said since the training was accepted.

        Raises InvalidInput unless they can be trained on.
        """
        if collected is None:
            encoded = self.memory.load(Space(classifier.id, self.encoder), encoding).encoded
        else:
            since = [one for one in self.store.examples(classifier.id) if one.updated_at > accepted_at]
            removed = self.store.removed(classifier.id, (one.text for one in collected.encoded.labelled))
            encoded = self._with_feedback(collected.encoded, since, removed, encoding)
            collected = CollectedExamples(collected.source, encoded)
        labels = (example.labels for example in encoded.labelled)
        check_labels(labels, classifier.options.multi_label, self.limits)
        return Reading(encoded, classifier.updated_at, collected)

    def _with_feedback(
        self,
        collected: EncodedExamples,
        since: Sequence[StoredExample],
        removed: Set[str],
        encoding: Encoding,
    ) -> EncodedExamples:
        """Of texts that both have, what feedback said counts; those it removed are left out."""
        if not since and not removed:
            return collected
        told = removed | {example.text for example in since}
        kept = [row for row, example in enumerate(collected.labelled) if example.text not in told]
        labelled = (*(collected.labelled[row] for row in kept), *since)
        if len(labelled) > self.limits.max_examples:
            raise InvalidInput(
                f"With the feedback that came since, the classifier would have {len(labelled):,} examples;"
                f" the limit is {self.limits.max_examples:,}."
            )
        vectors = self._encode([example.text for example in since], encoding)
        return EncodedExamples(labelled, np.concatenate([collected.vectors[kept], vectors]))

    def _encode(self, texts: Sequence[str], encoding: Encoding) -> Float32:
        passages = [PassageText("", text) for text in texts]
        parts = []
        for part in slices(passages, SLICE_CHARACTERS):
            parts.append(self.encoder.encode_passages(passages[part], Lane.BULK))
            encoding(part.stop, len(passages))
        return np.concatenate(parts) if parts else np.empty((0, self.encoder.info.dim), np.float32)
