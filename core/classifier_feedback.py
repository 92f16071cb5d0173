"""Use case feedback: examples added, corrected or removed, and served by a new version at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from core.active_heads import ActiveHeads
from core.classifier_training import ClassifierTraining
from core.classifier_types import (
    MAX_NEIGHBOUR_EXAMPLES,
    Classifier,
    Feedback,
    HeadKind,
    LabelledText,
    TrainRequest,
)
from core.errors import Conflict, InvalidInput, NotFound
from core.example_checks import (
    QUOTED,
    ClassifierLimits,
    alike_labels,
    check_examples,
    check_label_counts,
)
from core.job_types import Job
from core.ports.classifiers import ClassifierStore, LabelCounts
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
        check = _LabelsCheck(self._gives_several(classifier), self.limits)
        checked = self._checked(changed, removed, check.is_multi(classifier))
        must_train = classifier.active is None or len(checked) > AT_ONCE
        job = self._open_job(classifier)
        if job is None and not must_train:
            self.active.get(name)  # raises now rather than after the change
        changes = self.store.change_examples(classifier.id, checked, removed, check)
        changes = replace(changes, problems=(*changes.problems, *_alike(check.before, checked)))
        self.active.forget(name)
        classifier = self.store.get(name)  # as it is after the change
        if job := self._open_job(classifier):
            return Feedback(changes, None, job)
        if must_train or self._is_outgrown(classifier, check.after):
            return Feedback(changes, None, self._training_of(name, request_id))
        is_same = not (changes.added or changes.corrected or changes.removed)
        if is_same and self.training.is_rolled_back(classifier):  # what was rolled back is not brought back
            return Feedback(changes, self.active.get(name).version)
        version = self.training.catch_up(name)
        if version is not None:
            changes = replace(changes, problems=(*changes.problems, *self._not_followed(name, checked)))
        return Feedback(changes, version or self.active.get(name).version)

    def _not_followed(self, name: str, changed: Sequence[LabelledText]) -> tuple[str, ...]:
        """Of examples that get another label than was sent from the version that serves now.

        Nothing of several labels: a text seldom gets exactly its own.
        """
        served = self.active.get(name)
        if served.version.is_multi or not changed:
            return ()
        wanted = {example.text: example.labels[0] for example in changed}
        known = self.training.memory.recall(served.space, served.classifier.updated_at)
        rows = [row for row, example in enumerate(known.stored) if example.text in wanted]
        chosen = self.training.heads.scores(served.head, known.vectors[rows]).is_chosen.argmax(axis=1)
        others = [
            (text, served.head.labels[column])
            for text, column in zip((known.stored[row].text for row in rows), chosen.tolist(), strict=True)
            if served.head.labels[column] != wanted[text]
        ]
        if not others:
            return ()
        text, label = others[0]
        return (
            f"{len(others):,} of the {len(wanted):,} examples sent get another label from version"
            f" {served.version.number}, for example {text[:QUOTED]!r}: {label!r}, not {wanted[text]!r}."
            " Examples like it weigh more; correct or remove those, or send more of the new kind.",
        )

    def _checked(
        self, changed: Sequence[LabelledText], removed: Sequence[str], is_multi: bool | None
    ) -> list[LabelledText]:
        """Raises InvalidInput unless what was sent is good whatever is stored."""
        if not changed and not removed:
            raise InvalidInput("Nothing was sent: give examples to add or correct, or texts to remove.")
        checked = check_examples(changed, is_multi, self.limits)
        both = {example.text for example in checked}.intersection(removed)
        if both:
            raise InvalidInput(f"The text {min(both)[:80]!r} was sent to be both added and removed.")
        return checked

    def _gives_several(self, classifier: Classifier) -> bool | None:
        """Whether the version that serves gives several labels, or none; None where there is none yet."""
        if classifier.active is None:
            return None
        return self.store.version(classifier.id, classifier.active).is_multi

    def _is_outgrown(self, classifier: Classifier, labels: LabelCounts) -> bool:
        """Whether examples have several labels, or none, but the active head gives one to each, or are too
        many for a head of neighbours that was not asked for.

        A training for several labels that was cancelled or failed leaves the former so: its examples stay.
        """
        head = self.active.get(classifier.name).head
        is_chosen = head.kind is HeadKind.NEIGHBOURS and classifier.options.head is None
        if is_chosen and sum(labels.values()) > MAX_NEIGHBOUR_EXAMPLES:
            return True
        return not head.is_multi and any(len(one) != 1 for one in labels)

    def _training_of(self, name: str, request_id: str) -> Job:
        """A training on what is stored: a new one, or one that somebody else has begun since the change."""
        while True:
            classifier = self.store.get(name)
            again = TrainRequest(None, classifier.descriptions, None, classifier.options)
            try:
                return self.training.put(name, again, request_id)
            except Conflict:
                if job := self._open_job(self.store.get(name)):
                    return job

    def _open_job(self, classifier: Classifier) -> Job | None:
        """The training that is not over, if there is one."""
        if classifier.job_id is None:
            return None
        try:
            job = self.jobs.get(classifier.job_id)
        except NotFound:  # purged long after its end
            return None
        return None if job.state.is_final else job


@dataclass(slots=True)
class _LabelsCheck:
    """Refuses a change that leaves what cannot be trained on; of one that is made, keeps what it was told.

    It runs while the store lets nobody else change the examples: of two calls that are fine alone, but not
    together, the second is refused.
    """

    by_head: bool | None  # of the version that serves
    limits: ClassifierLimits
    before: LabelCounts = field(default_factory=dict)
    after: LabelCounts = field(default_factory=dict)

    def is_multi(self, classifier: Classifier) -> bool | None:
        """Whether examples may have several labels, or none; None where nothing says so yet."""
        multi = classifier.options.multi_label
        return self.by_head if multi is None else multi

    def __call__(self, before: LabelCounts, after: LabelCounts, now: Classifier) -> None:
        """Raises InvalidInput, by the options `now`, which another may have changed since they were asked."""
        count = sum(after.values())
        if count > self.limits.max_examples:
            raise InvalidInput(
                f"The classifier would have {count:,} examples; the limit is {self.limits.max_examples:,}."
                " Remove some, or train it anew on fewer."
            )
        check_label_counts(after, self.is_multi(now), self.limits)
        self.before, self.after = before, after


def _alike(before: LabelCounts, changed: Sequence[LabelledText]) -> tuple[str, ...]:
    """Problems of labels that are new with this change."""
    known = frozenset().union(*before)
    return alike_labels({label for example in changed for label in example.labels} - known, known)
