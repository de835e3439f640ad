"""Byte-level BPE over the ``tokenizers`` library: text to ids and back, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Bpe
from tokenizers import decoders, models, pre_tokenizers, trainers

from storyteller.errors import CheckpointInvalid

END = "<|endoftext|>"


class Tokenizer:
    """Encode and decode; every Unicode string without lone surrogates comes back byte for byte.

    The end-of-text token has the id :attr:`end_id` and never arises from text: a typed ``<|endoftext|>`` is encoded as the characters
    that it is.
    """

    def __init__(self, bpe: Bpe) -> None:
        end_id = bpe.token_to_id(END)
        if end_id is None:
            raise CheckpointInvalid(f"the tokenizer has no {END} token")
        # Without this a typed end token would become the real one.
        bpe.encode_special_tokens = True
        self.bpe = bpe
        self.end_id: int = end_id

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """Learn byte-level BPE merges from ``texts``; the vocabulary has at most ``vocab_size`` entries, 257 at the least."""
        bpe = Bpe(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[END],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return cls(bpe)

    @classmethod
    def from_str(cls, text: str) -> Tokenizer:
        """Read the JSON of a ``tokenizer.json``; raises :class:`CheckpointInvalid` if it is none."""
        try:
            bpe = Bpe.from_str(text)
        except Exception as error:  # tokenizers raises bare Exception
            raise CheckpointInvalid(f"not a tokenizer: {error}") from error
        return cls(bpe)

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Read a ``tokenizer.json``; raises :class:`CheckpointInvalid` if it is none."""
        try:
            return cls.from_str(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise CheckpointInvalid(f"{path} is not UTF-8 text") from error

    def to_str(self) -> str:
        """The JSON of ``tokenizer.json``."""
        return str(self.bpe.to_str(pretty=False))

    @property
    def vocab_size(self) -> int:
        """Number of ids, the end token included."""
        return int(self.bpe.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Text to ids, without an end token. Lone surrogates, which no UTF-8 text holds, become U+FFFD."""
        return list(self.bpe.encode(without_surrogates(text), add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """:meth:`encode` for many texts at once, on all cores."""
        encodings = self.bpe.encode_batch_fast([without_surrogates(text) for text in texts], add_special_tokens=False)
        return [list(encoding.ids) for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Ids to text; end tokens give nothing, bytes that are no UTF-8 give U+FFFD."""
        return b"".join(self.token_bytes[id] for id in ids).decode("utf-8", errors="replace")

    @cached_property
    def token_bytes(self) -> tuple[bytes, ...]:
        """The bytes of every id, in order; the end token has none."""
        byte_of = _bytes_of_alphabet()
        vocabulary = self.bpe.get_vocab(with_added_tokens=True)
        table = [b""] * (max(vocabulary.values()) + 1)
        for token, id in vocabulary.items():
            if id != self.end_id:
                try:
                    table[id] = bytes(byte_of[char] for char in token)
                except KeyError as error:
                    raise CheckpointInvalid(f"the tokenizer is not byte-level: token {token!r}") from error
        return tuple(table)

    @cached_property
    def token_texts(self) -> tuple[str | None, ...]:
        """The text of every id whose bytes are whole characters, None for the others; the end token's is empty."""
        return tuple(_whole_text(raw) for raw in self.token_bytes)

    @cached_property
    def space_ids(self) -> NDArray[np.int64]:
        """Ids whose text begins with a space or a line break: those that may follow a prompt whose trailing space was taken off."""
        return np.array([id for id, raw in enumerate(self.token_bytes) if raw[:1] in (b" ", b"\n")], np.int64)


def without_surrogates(text: str) -> str:
    """``text`` as UTF-8 can hold it: pairs of surrogates joined to the character that they mean, lone ones replaced by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _whole_text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _bytes_of_alphabet() -> dict[str, int]:
    """The inverse of GPT-2's printable stand-ins for bytes (Radford et al. 2019, ``bytes_to_unicode``)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(byte): byte for byte in printable}
    others = (byte for byte in range(256) if byte not in set(printable))
    alphabet.update({chr(256 + place): byte for place, byte in enumerate(others)})
    return alphabet
