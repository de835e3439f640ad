"""How tokens are named in tables and figures."""

from __future__ import annotations

from collections.abc import Sequence

from storyteller.engine.tokenizer import Tokenizer

START = "⟨start⟩"
END = "⟨end⟩"


def token_label(tokenizer: Tokenizer, id: int) -> str:
    """``id`` in a few characters: a word without its space, a piece that continues a word with a hyphen before it (``-ing``).

    Line breaks are ``↵``, a lone space is ``␣``, bytes that are no character are hexadecimal.
    """
    if id == tokenizer.end_id:
        return END
    text = tokenizer.token_texts[id] if id < len(tokenizer.token_texts) else ""
    if text is None:
        return "".join(f"\\x{byte:02x}" for byte in tokenizer.token_bytes[id])
    bare = text.strip(" ").replace("\n", "↵")
    if not bare:
        return "␣" * len(text) or f"#{id}"
    return f"-{bare}" if text[0].isalpha() else bare


def token_labels(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[str, ...]:
    """Labels of a sequence: a leading end token is ``⟨start⟩``, and no hyphen stands where a word begins without a space."""
    labels: list[str] = []
    for place, id in enumerate(ids):
        label = token_label(tokenizer, id)
        if place == 0 and id == tokenizer.end_id:
            label = START
        elif place == 0 or ids[place - 1] == tokenizer.end_id or labels[place - 1][-1] in '↵␣“"‘(—':
            label = label.removeprefix("-") or label
        labels.append(label)
    return tuple(labels)
