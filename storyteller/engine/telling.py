"""One story while it is being told: what was chosen, what is held back, and whether it is over."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.history import History
from storyteller.engine.params import SamplingParams
from storyteller.engine.runtime import State
from storyteller.engine.sampler import Choice, Sampler
from storyteller.engine.sentences import ends_sentence
from storyteller.engine.steps import FinishReason, Piece, Snapshot
from storyteller.engine.tokenizer import Tokenizer

# How many tokens ``until="sentence"`` may tell past ``max_len``, and how many of the last are looked at for the sentence's end.
ALLOWANCE = 40
TAIL = 16


class Telling:
    """One row of a batch, from a snapshot on.

    Each token goes through :meth:`choose`, then :meth:`take`, which sets ``pieces``, ``finish_reason`` and ``undecided``. If undecided
    (a sentence ended past ``max_len``; a closing quote may follow), :meth:`decide` looks at the logits that come next. At last
    :meth:`flush` ends a finished story, after :meth:`snapshot` took what a continuation needs.
    """

    def __init__(self, row: int, tokenizer: Tokenizer, snapshot: Snapshot, params: SamplingParams, seed: int) -> None:
        self.row = row
        self.ids = list(snapshot.ids)
        self.seed = seed
        self.sampler = Sampler(tokenizer, self.ids, params)
        self.only: NDArray[np.int64] | None = tokenizer.space_ids if snapshot.after_space else None
        self.pieces: tuple[Piece, ...] = ()
        self.finish_reason: FinishReason | None = None
        self.undecided = False
        self._tokenizer = tokenizer
        self._prompt_len = snapshot.prompt_len
        self._detokenizer = snapshot.detokenizer
        self._filter = None if snapshot.filter is None else snapshot.filter.copy()
        self._stops = snapshot.stops
        self._told = 0

    def use(self, params: SamplingParams) -> None:
        """Choose by other parameters from now on."""
        if params is not self.sampler.params:
            self.sampler.params = params

    def choose(self, logits: NDArray[np.float32], *, trace: bool) -> Choice:
        """Choose the next id; the place that it will have in the whole sequence is the position of its noise."""
        return self.sampler.choose(logits, self.seed, len(self.ids), trace=trace, only=self.only)

    def take(self, id: int, params: SamplingParams) -> None:
        """Go on by ``id``."""
        index = len(self.ids)
        self.ids.append(id)
        self.sampler.push(id)
        self.only = None
        self._told += 1
        self._detokenizer, pieces = self._detokenizer.add(id, index)
        if self._filter is not None:
            pieces = self._filter.feed_pieces(pieces)
        self.pieces, stopped = self._match(pieces, params)
        if stopped:
            self.finish_reason = "stop"
        elif id == self._tokenizer.end_id:
            self.finish_reason = "end"
        elif self._told >= params.max_len:
            self._reach_length(params)

    def decide(self, logits: NDArray[np.float32]) -> None:
        """If undecided, finish, unless the next token still belongs to the sentence (a closing quote, say) or ends the story itself."""
        if not self.undecided:
            return
        follows = self.choose(logits, trace=False).id
        # The end token has no bytes, so that it goes on, too.
        if self._tokenizer.token_bytes[follows][:1].isspace():
            self.finish_reason = "length"
        self.undecided = False

    def flush(self, params: SamplingParams) -> int:
        """Tell what is held back, now that the story is finished; returns how many pieces a continuation would tell anew."""
        if self.finish_reason == "stop":
            return 0
        cut = self.finish_reason == "length"
        pieces = self._detokenizer.finish()
        if self._filter is not None:
            pieces = (*self._filter.feed_pieces(pieces), *self._filter.finish_pieces(cut=cut))
        released, stopped = self._match(pieces, params)
        if stopped:
            self.finish_reason = "stop"
        else:
            released += self._stops.held
        self.pieces += released
        return len(released) if cut else 0

    def snapshot(self, logits: NDArray[np.float32], state: State) -> Snapshot:
        """What a continuation needs, given the model's answer to the last id."""
        return Snapshot(
            ids=History(self.ids, len(self.ids)),
            state=state,
            logits=logits,
            prompt_len=self._prompt_len,
            detokenizer=self._detokenizer,
            filter=None if self._filter is None else self._filter.copy(),
            stops=self._stops,
        )

    def _match(self, pieces: tuple[Piece, ...], params: SamplingParams) -> tuple[tuple[Piece, ...], bool]:
        if not params.stop and not self._stops.held:
            return pieces, False
        self._stops, pieces, stopped = self._stops.feed(pieces, params.stop)
        return pieces, stopped

    def _reach_length(self, params: SamplingParams) -> None:
        if params.until == "length" or self._told >= params.max_len + ALLOWANCE:
            self.finish_reason = "length"
            return
        tail = self._tokenizer.decode(self.ids[max(self._prompt_len, len(self.ids) - TAIL) :])
        if ends_sentence(tail):
            if tail[-1].isspace():
                self.finish_reason = "length"
            else:
                self.undecided = True
