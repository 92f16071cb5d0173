"""The console of the commands: what others wrote is shown as it is."""

from __future__ import annotations

from typing import Any, Final

from rich.console import Console
from rich.text import Text

CONTROLS: Final = (*range(0x20), *range(0x7F, 0xA0))
ESCAPES: Final = {code: ascii(chr(code))[1:-1] for code in CONTROLS if chr(code) not in "\n\r\t"}


class Terminal(Console):
    """Takes texts for neither markup nor names of emoji, and escapes what a terminal would obey."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(text.translate(ESCAPES), **options)
