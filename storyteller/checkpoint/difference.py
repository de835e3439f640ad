"""How far an export lies from the checkpoint that it was made of, on a text that every vocabulary can write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storyteller.checkpoint.graph import Weights
from storyteller.checkpoint.reference import mean_surprisal
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import CheckpointInvalid

Floats = NDArray[np.float32]

SAMPLE_TEXT = (
    "Once upon a time, there was a little fox named Nell. Nell lived with her mom near a wide blue lake. Every morning she "
    'ran to the water to look for shells. One day, she saw a small boat with no one in it. "Whose boat is this?" she asked. A '
    'duck swam up and said, "It is mine, but I cannot row with my wings." Nell thought for a while. "I can row, and you can '
    'tell me the way," she said. The duck was very happy. They went over the lake together and found a tiny island full of '
    'berries. They ate until the sun went down. When Nell came home, her mom gave her a big hug. "I was worried," she said. '
    "Nell gave her the berries that she had saved, and told her all about the duck and the boat. From that day on, the three "
    "of them were good friends."
)
ROWS, LENGTH = 4, 32
LARGEST_LOGIT_DIFFERENCE = {"float32": 1e-3}
LARGEST_LOSS_DIFFERENCE = {"float32": 1e-4, "float16": 1e-2, "int8": 0.05, "int4": 0.25}
"""In nats per token on the sample text. What lies above is no rounding but a mistake, or a network that 4 bits cannot hold."""


class Source(Protocol):
    """What is exported: a checkpoint, or anything like it."""

    @property
    def name(self) -> str:
        """What people call the model."""
        ...

    @property
    def config(self) -> GRUConfig:
        """Its architecture."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to ids."""
        ...

    @property
    def sha256(self) -> str:
        """Checksum of its weights file, in hexadecimal."""
        ...

    def weights(self) -> Weights:
        """Its tensors in float32."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a graph lies from its source on the sample text: ``logits`` the largest, ``loss`` the mean one in nats per token (signed)."""

    logits: float
    loss: float

    def to_metadata(self) -> dict[str, str]:
        """As it stands in an ONNX file's metadata."""
        return {"largest_logit_difference": f"{self.logits:.1e}", "loss_difference": f"{self.loss:.1e}"}


def sample_ids(source: Source) -> NDArray[np.int64]:
    """The sample text as ids (LENGTH + 1, ROWS), each column beginning with the end token, repeated where it is too short."""
    ids = source.tokenizer.encode(SAMPLE_TEXT)
    columns = np.resize(np.array(ids, np.int64), (ROWS, LENGTH)).T
    return np.concatenate([np.full((1, ROWS), source.tokenizer.end_id, np.int64), columns])


def difference(source: Source, form: str, logits: Floats, expected: Floats, ids: NDArray[np.int64]) -> Difference:
    """Compare the ``logits`` (…, vocab_size) of an export in ``form`` with the source's; ``ids`` (…) are those that came next.

    Raises :class:`CheckpointInvalid` if the difference is larger than the form explains.
    """
    found = Difference(
        logits=float(np.abs(logits - expected).max()),
        loss=mean_surprisal(logits, ids) - mean_surprisal(expected, ids),
    )
    # Written so that a difference that is not a number fails, too.
    if not (found.logits <= LARGEST_LOGIT_DIFFERENCE.get(form, np.inf) and abs(found.loss) <= LARGEST_LOSS_DIFFERENCE[form]):
        raise CheckpointInvalid(
            f"{source.name} in {form} is not the model that it was: on a sample text its loss changes by {found.loss:+.3f} nats "
            f"per token, a logit by up to {found.logits:.3g}",
            "choose float32",
        )
    return found
