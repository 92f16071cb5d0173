"""Use case feedback: examples added, corrected or removed, and served by a new version at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from core.active_heads import ActiveHeads
from core.classifier_training import ClassifierTraining
from core.classifier_types import Classifier, Feedback, LabelledText, TrainRequest
from core.errors import InvalidInput, NotFound
from core.example_checks import ClassifierLimits, alike_labels, check_examples, check_labels
from core.job_types import Job
from core.ports.classifiers import ClassifierStore
from core.ports.stores import JobStore

AT_ONCE: Final = 500  # examples that a call encodes and fits while its caller waits


@dataclass(frozen=True, slots=True)
class ClassifierFeedback:
    """Only new texts are encoded, and only the head is fitted again."""

    store: ClassifierStore
    jobs: JobStore
    active: ActiveHeads
    training: ClassifierTraining
    limits: ClassifierLimits

    def change(
        self, name: str, changed: Sequence[LabelledText], removed: Sequence[str], request_id: str
    ) -> Feedback:
        """Stores the changes; a new version serves them, or a training takes them in: one that is not over,
        or a new one where the active head cannot be fitted to them, or where they are many.

        Raises NotFound, InvalidInput (then nothing is stored), EncoderMismatch.
        """
        classifier = self.store.get(name)
        stored = {example.text: example.labels for example in self.store.examples(classifier.id)}
        checked = self._checked(classifier, stored, changed, removed)
        is_first, is_large = classifier.active is None, len(checked) > AT_ONCE
        must_train = is_first or is_large or self._outgrown(classifier, stored, checked, removed)
        job = self._open_job(classifier)
        if job is None and not must_train:
            self.active.get(name)  # raises now rather than after the change
        changes = self.store.change_examples(classifier.id, checked, removed)
        changes = replace(changes, problems=(*changes.problems, *_alike(stored, checked)))
        self.active.forget(name)
        job = job and self._open_job(classifier)
        if job is not None:
            return Feedback(changes, None, job)
        if must_train:
            again = TrainRequest(None, classifier.descriptions, None, classifier.options)
            return Feedback(changes, None, self.training.put(name, again, request_id))
        if not (changes.added or changes.corrected or changes.removed):
            classifier = self.store.get(name)
            if self.training.is_rolled_back(classifier):  # what was rolled back is not brought back
                return Feedback(changes, self.active.get(name).version)
        version = self.training.catch_up(name)
        return Feedback(changes, version or self.active.get(name).version)

    def _checked(
        self,
        classifier: Classifier,
        stored: Mapping[str, tuple[str, ...]],
        changed: Sequence[LabelledText],
        removed: Sequence[str],
    ) -> list[LabelledText]:
        """Raises InvalidInput unless the examples can be trained on after the change."""
        if not changed and not removed:
            raise InvalidInput("Nothing was sent: give examples to add or correct, or texts to remove.")
        multi = classifier.options.multi_label
        if multi is None and classifier.active is not None:
            multi = self.store.version(classifier.id, classifier.active).is_multi
        checked = check_examples(changed, multi, self.limits)
        both = {example.text for example in checked}.intersection(removed)
        if both:
            raise InvalidInput(f"The text {min(both)[:80]!r} was sent to be both added and removed.")
        gone = set(removed)
        labels = {text: labels for text, labels in stored.items() if text not in gone}
        labels |= {example.text: example.labels for example in checked}
        if len(labels) > self.limits.max_examples:
            raise InvalidInput(
                f"The classifier would have {len(labels):,} examples; the limit is"
                f" {self.limits.max_examples:,}. Remove some, or train it anew on fewer."
            )
        check_labels(labels.values(), multi, self.limits)
        return checked

    def _outgrown(
        self,
        classifier: Classifier,
        stored: dict[str, tuple[str, ...]],
        checked: Sequence[LabelledText],
        removed: Sequence[str],
    ) -> bool:
        """Whether examples have several labels, or none, but the active head gives one to each.

        A training for several labels that was cancelled or failed leaves it so: its examples stay.
        """
        gone = set(removed)
        labels = stored | {example.text: example.labels for example in checked}
        if all(len(one) == 1 for text, one in labels.items() if text not in gone):
            return False
        assert classifier.active is not None
        return not self.store.version(classifier.id, classifier.active).is_multi

    def _open_job(self, classifier: Classifier) -> Job | None:
        """The training that is not over, if there is one."""
        if classifier.job_id is None:
            return None
        try:
            job = self.jobs.get(classifier.job_id)
        except NotFound:  # purged long after its end
            return None
        return None if job.state.is_final else job


def _alike(stored: Mapping[str, tuple[str, ...]], changed: Sequence[LabelledText]) -> tuple[str, ...]:
    """Problems of labels that are new with this change."""
    known = {label for labels in stored.values() for label in labels}
    return alike_labels({label for example in changed for label in example.labels} - known, known)
