"""The console of the commands: what others wrote is shown as it is."""

from __future__ import annotations

import os
from typing import Any, Final

from rich.console import Console
from rich.text import Text

CONTROLS: Final = (*range(0x20), *range(0x7F, 0xA0))
ESCAPES: Final = {code: ascii(chr(code))[1:-1] for code in CONTROLS if chr(code) not in "\n\r\t"}
PIPE_WIDTH: Final = 240  # rich would cut cells of tables to 80 columns


class Terminal(Console):
    """Takes texts for neither markup nor names of emoji, and escapes what a terminal would obey.

    A file or pipe gets lines of up to 240 columns, or of as many as `COLUMNS` says.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)
        if not (self.is_terminal or "width" in options or "COLUMNS" in os.environ):
            self.width = PIPE_WIDTH

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(text.translate(ESCAPES), **options)
