"""Text that is safe to put into HTML."""

import html
from typing import Any

__all__ = ["escape"]


def escape(text: Any) -> str:
    """Text that is only text in HTML, in attributes too; half of a character, which no file holds, is a mark."""
    return html.escape(str(text).encode(errors="replace").decode(), quote=True)
