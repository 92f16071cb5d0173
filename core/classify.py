"""Use case classify: check texts and labels, then let the scorer decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.documents import check_text
from core.errors import InvalidInput
from core.label_types import TRANSDUCTIVE_TEXTS, Classification, Label, ZeroShotOptions
from core.ports.models import ZeroShotModel

_DEFAULTS = ZeroShotOptions()


@dataclass(frozen=True, slots=True)
class ClassifyLimits:
    max_texts: int = 2048
    max_labels: int = 1000
    max_examples: int = 10_000
    max_text_bytes: int = 1024 * 1024
    max_templates: int = 16
    max_wordings: int = 20_000  # names and phrasings, each in every template


@dataclass(frozen=True, slots=True)
class ClassifyService:
    scorer: ZeroShotModel
    limits: ClassifyLimits

    def classify(
        self, texts: Sequence[str], labels: Sequence[Label], options: ZeroShotOptions = _DEFAULTS
    ) -> list[Classification]:
        """One result a text, in order. Raises InvalidInput naming the text or label at fault.

        A single label is enough where it may not fit: with `multi_label` or `none_of_these`.
        """
        self._check_size("texts", len(texts), 1, self.limits.max_texts)
        self._check_size("labels", len(labels), 1, self.limits.max_labels)
        if len(labels) == 1 and not (options.multi_label or options.none_of_these):
            raise InvalidInput(
                f"Only the label {labels[0].name[:100]!r} was sent, which all texts would get; send two or"
                " more, or none_of_these or multi_label, with which it may not fit."
            )
        self._check_size(
            "examples", sum(len(label.examples) for label in labels), 0, self.limits.max_examples
        )
        for i, text in enumerate(texts):
            self._check_text(text, f"texts[{i}]")
        self._check_labels(labels)
        self._check_templates(labels, options.templates)
        return self.scorer.classify(texts, labels, options)

    def note(self, texts: int, labels: int, options: ZeroShotOptions) -> str | None:
        """What of the options comes to nothing with so many texts and labels, in words."""
        needed = TRANSDUCTIVE_TEXTS * labels
        if not options.transductive or texts >= needed:
            return None
        return (
            f"transductive did nothing: it needs {TRANSDUCTIVE_TEXTS} texts a label, {needed:,} in all,"
            f" and {texts:,} came."
        )

    def _check_templates(self, labels: Sequence[Label], templates: Sequence[str] | None) -> None:
        if templates is not None:
            self._check_size("templates", len(templates), 1, self.limits.max_templates)
        for i, template in enumerate(templates or ()):
            self._check_text(template, f"templates[{i}]")
            if template.count("{}") != 1:
                raise InvalidInput(
                    f"templates[{i}] is {template!r}; it must hold {{}} once, where the label's name goes."
                )
        names = sum(1 + len(label.phrasings) for label in labels)
        self._check_size("wordings", names * len(templates or ("{}",)), 0, self.limits.max_wordings)

    def _check_labels(self, labels: Sequence[Label]) -> None:
        names: dict[str, int] = {}
        for i, label in enumerate(labels):
            self._check_text(label.name, f"labels[{i}].name")
            if label.description:
                self._check_text(label.description, f"labels[{i}].description")
            for j, example in enumerate(label.examples):
                self._check_text(example, f"labels[{i}].examples[{j}]")
            for j, phrasing in enumerate(label.phrasings):
                self._check_text(phrasing, f"labels[{i}].phrasings[{j}]")
            if label.name in names:
                raise InvalidInput(
                    f"labels[{i}] and labels[{names[label.name]}] share the name {label.name!r}; merge them."
                )
            names[label.name] = i

    def _check_text(self, text: str, name: str) -> None:
        size = len(check_text(text, name))
        if not text.strip():
            raise InvalidInput(f"{name} is empty or white space.")
        if size > self.limits.max_text_bytes:
            raise InvalidInput(f"{name} has {size:,} bytes; the limit is {self.limits.max_text_bytes:,}.")

    def _check_size(self, name: str, found: int, least: int, most: int) -> None:
        if not least <= found <= most:
            raise InvalidInput(f"{found:,} {name} were sent; {least:,} to {most:,} are allowed in a call.")
