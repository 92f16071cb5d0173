"""`cognate worker` whose process dies of one word: `python -m tests.production.mortal_worker worker`.

The encoder is the shipped one. Where it would read `DEADLY` the process ends as after a fault in native code:
no exception, no handler, no clean-up.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cognate.cli import main
from core.token_types import TokenizedPassage
from core.types import Float32, Lane
from encoder.service import EncoderService

DEADLY = "deadly"
DIED = 66


def install() -> None:
    encode = EncoderService.encode_tokenized

    def mortal(self: EncoderService, passages: Sequence[TokenizedPassage], lane: Lane = Lane.BULK) -> Float32:
        if any(DEADLY in one.passage.text for one in passages):
            os._exit(DIED)
        return encode(self, passages, lane)

    EncoderService.encode_tokenized = mortal  # type: ignore[method-assign]


if __name__ == "__main__":
    install()
    main()
