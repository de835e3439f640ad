"""What a stream of generation yields, and what a continuation needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from storyteller.engine.detokenizer import Detokenizer
    from storyteller.engine.params import SamplingParams
    from storyteller.engine.postprocess import StoryFilter
    from storyteller.engine.stops import StopMatcher

FinishReason = Literal["end", "length", "stop"]
Piece = tuple[str, int]


class Alternative(NamedTuple):
    """One of the model's most likely next tokens.

    ``logprob`` is of the model's own distribution, in nats, before any processor; ``kept`` says whether the
    token survived the processors and could have been chosen.
    """

    id: int
    logprob: float
    kept: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One sampled (or scored) token, exactly one per id, never repeated.

    ``logprob`` and ``entropy`` are in nats, ``rank`` counts from 0 (most likely); all three are of the model's
    own distribution, before the processors. ``chosen_prob`` is the probability after them.
    ``pieces`` is the text released now, each piece with the index (as in ``Step.index``) of the id that it came from:
    one token may release the text of several, or none. ``index`` is the place in the whole sequence, end-of-text token and prompt
    included.

    A story that is cut by its length tells what was held back, too: its last ``flushed`` pieces. A continuation from the snapshot
    tells them anew, as the text that follows makes them; whoever continues takes them off.
    """

    index: int
    id: int
    pieces: tuple[Piece, ...]
    logprob: float
    entropy: float
    rank: int
    chosen_prob: float
    alternatives: tuple[Alternative, ...]
    survivors: tuple[int, ...] | None
    params: SamplingParams
    snapshot: Snapshot | None = field(default=None, compare=False)
    finish_reason: FinishReason | None = None
    flushed: int = 0

    @property
    def text(self) -> str:
        """The text released by this step, joined."""
        return "".join(text for text, _ in self.pieces)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All that a continuation needs, immutable.

    ``ids`` is the whole sequence, end-of-text token and prompt included; ``state`` is float32 ``(num_layers, 1, hidden_dim)``
    after reading all of ``ids``; ``logits`` is float32 ``(vocab_size,)``, the model's answer to the last id. ``detokenizer``,
    ``filter`` and ``stops`` hold the text that was read and not yet told; ``after_space`` says that the prompt's trailing space was
    taken off, so that the next id has to bring one.
    """

    ids: Sequence[int]
    state: NDArray[np.float32]
    logits: NDArray[np.float32]
    prompt_len: int
    detokenizer: Detokenizer
    filter: StoryFilter | None
    stops: StopMatcher
    after_space: bool = False

    @property
    def ended(self) -> bool:
        """Whether the story has told its end token; such a story has no rest."""
        return len(self.ids) > self.prompt_len and self.ids[-1] == self.detokenizer.tokenizer.end_id
