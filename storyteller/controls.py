"""Control characters in told text: harmless in a file, on a terminal they could move the cursor or change its title."""

from __future__ import annotations

_STAND_IN = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def shown(text: str) -> str:
    """``text`` as a terminal may get it: C0 and C1 controls (ESC and DEL among them), but for line break and tab, become U+FFFD."""
    return text.translate(_STAND_IN)
