"""Text that is safe to put into HTML."""

import html
from typing import Any

__all__ = ["escape"]


def escape(text: Any) -> str:
    """Text that is only text in HTML, in attributes too."""
    return html.escape(str(text), quote=True)
