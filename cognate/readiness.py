"""Whether a process can serve, and what goes less well than it should."""

from __future__ import annotations

from core.classifiers import ClassifierService
from core.errors import CognateError
from core.generating import GenerationService
from core.ports.models import Encoder
from core.ports.stores import CollectionStore
from indexer.follower import IndexFollower


def checks(collections: CollectionStore, encoder: Encoder) -> dict[str, str]:
    """What is not ready, and why."""
    problems = {}
    try:
        collections.list()
    except Exception as error:  # whatever the driver raises, readiness reports it
        problems["database"] = f"cannot be read: {type(error).__name__}"
    try:
        encoder.encode_queries(["ready?"])
    except CognateError as error:
        problems["encoder"] = str(error)
    return problems


def warnings(
    indexes: IndexFollower, classifiers: ClassifierService, encoder: Encoder, generation: GenerationService
) -> dict[str, str]:
    """What goes less well than it should. It names nothing: readiness is told without a key."""
    told = {}
    if count := indexes.below_recall_target():
        told["recall"] = f"{count} collections miss COGNATE_RECALL_TARGET at the greatest search effort"
    if count := _foreign(classifiers, encoder):
        told["classifiers"] = f"{count} classifiers are of another encoder and refused; train them again"
    if generation.problem is not None:
        told["generator"] = "it cannot be used: no rewrites, and explanations are extracted; see /v1/rewrite"
    return told


def _foreign(classifiers: ClassifierService, encoder: Encoder) -> int:
    """How many classifiers cannot be served for their encoder; 0 while the database does not tell."""
    try:
        known = classifiers.list()
    except CognateError:
        return 0
    return sum(one.encoder.fingerprint != encoder.info.fingerprint for one in known)
