"""Choosing the next id: the stages of :data:`~storyteller.engine.logits.ORDER`, then the survivor with the highest logit + noise.

A choice depends on the ids so far, the logits, the parameters, the seed and the position, on nothing else: not on the row of a batch,
on when the parameters took their values, or on how often the sampler was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from storyteller.engine import logits as formulas
from storyteller.engine import noise
from storyteller.engine.ban import Bans, Context, bans
from storyteller.engine.dry import breaker_ids, dry
from storyteller.engine.params import SamplingParams
from storyteller.engine.past import Past
from storyteller.engine.runtime import Logits
from storyteller.engine.survivors import STAGES, apply, survivors
from storyteller.engine.tokenizer import Tokenizer

# The parameters that rows must share to be chosen together, once each row's own past has had its say.
SHARED = attrgetter("temperature", "top_k", "typical_p", "top_p", "min_p")

# Rows that are truncated together, and the most survivors that get their noise together. The temporaries of more rows are so large that
# a C library may fetch them from the kernel anew each time, page by page, which takes longer than the arithmetic.
BLOCK = 4
FEW = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The id that was chosen.

    ``prob`` is its probability among the survivors ``kept`` (ids, ascending); greedy keeps one, whose probability is 1. With
    ``trace=True`` ``survivors`` holds the number of ids left after each stage of :data:`~storyteller.engine.logits.ORDER`, in its order.
    """

    id: int
    prob: float
    kept: NDArray[np.int64]
    survivors: tuple[int, ...] | None = None


class Sampler:
    """The choices of one sequence of ids, whose first is the end token before the story; :meth:`push` each id that was taken.

    The penalties, DRY and no-repeat look at the whole sequence, prompt included, and at neither end token. Parameters may be set at any
    time. The same ids give the same choices, whether they were pushed one by one or given at the start.
    """

    def __init__(self, tokenizer: Tokenizer, ids: Sequence[int], params: SamplingParams) -> None:
        self._tokenizer = tokenizer
        self._past = Past(ids, len(tokenizer.token_bytes), tokenizer.end_id)
        self._bans: Bans | None = None
        self._context: Context = (b"", b"")
        self.params = params

    @property
    def params(self) -> SamplingParams:
        """How the next id is chosen."""
        return self._params

    @params.setter
    def params(self, params: SamplingParams) -> None:
        self._params = params
        wanted = bans(self._tokenizer, params.ban, params.gentle) if params.ban or params.gentle else None
        if wanted is not self._bans:
            self._bans = wanted
            if wanted is not None:
                self._context = wanted.after(self._past.last(0).tolist())
        self._looks_back = (
            params.repetition_penalty != 1
            or params.presence_penalty != 0
            or params.frequency_penalty != 0
            or params.dry_multiplier > 0
            or params.no_repeat_ngram > 0
            or params.ignore_end
            or wanted is not None
        )

    def push(self, id: int) -> None:
        """Go on by ``id``."""
        self._past.push(id)
        if self._bans is not None:
            self._context = self._bans.follow(self._context, id)

    def choose(
        self,
        logits: Logits,
        seed: int,
        position: int,
        *,
        trace: bool = False,
        only: NDArray[np.int64] | None = None,
    ) -> Choice:
        """Choose by ``logits`` ``(vocab_size,)`` the id that will have the place ``position`` in the sequence.

        The noise is that of (``seed``, ``position``, id); at temperature 0 there is none, and of equals the lowest id is taken. ``only``
        masks all other ids, as bans do. Bans leave the end token: where they mask all else, it is chosen, unless ``ignore_end`` masks it.
        ``trace=True`` counts the survivors of each stage, which costs time.

        Raises :class:`~storyteller.errors.InvalidParams` if every id is masked, :class:`~storyteller.errors.CheckpointInvalid` if logits
        are no numbers.
        """
        stages = self._by_past(logits, only)
        choice = _choose(stages[-1][None], self._params, [seed], [position])[0]
        if not trace:
            return choice
        stages.append(formulas.temperature(stages[-1], self._params.temperature))
        for stage in STAGES:
            stages.append(apply(stage, stages[-1], self._params))
        return replace(choice, survivors=tuple([int(np.count_nonzero(left > -np.inf)) for left in stages]))

    def _by_past(self, logits: Logits, only: NDArray[np.int64] | None) -> list[Logits]:
        """The logits after each of the stages that look at more than logits: penalties, DRY, no-repeat, bans."""
        if not self._looks_back and only is None:
            return [logits] * 4
        penalised = self._penalise(logits)
        dried = self._dry(penalised)
        repeatless = self._no_repeat(dried)
        return [penalised, dried, repeatless, self._ban(repeatless, only)]

    def _penalise(self, logits: Logits) -> Logits:
        params = self._params
        if params.repetition_penalty != 1:
            logits = formulas.repetition_penalty(logits, self._past.counts(params.penalty_window), params.repetition_penalty)
        if params.presence_penalty:
            logits = formulas.presence_penalty(logits, self._past.counts(params.penalty_window), params.presence_penalty)
        if params.frequency_penalty:
            logits = formulas.frequency_penalty(logits, self._past.counts(params.penalty_window), params.frequency_penalty)
        return logits

    def _dry(self, logits: Logits) -> Logits:
        params = self._params
        if not params.dry_multiplier:
            return logits
        window = self._past.last(params.dry_window)
        return dry(logits, window, params.dry_multiplier, params.dry_base, params.dry_allowed_length, breaker_ids(self._tokenizer))

    def _no_repeat(self, logits: Logits) -> Logits:
        n = self._params.no_repeat_ngram
        return formulas.ban(logits, self._past.followers(n)) if n else logits

    def _ban(self, logits: Logits, only: NDArray[np.int64] | None) -> Logits:
        left = logits if only is None else formulas.only(logits, only)
        if self._bans is not None:
            left = formulas.ban(left, self._bans.completing(self._context))
        end = np.array([self._tokenizer.end_id])
        if self._params.ignore_end:
            return formulas.ban(left, end)
        return formulas.only(logits, end) if left.max() == -np.inf else left


def choose_batch(
    samplers: Sequence[Sampler],
    logits: Logits,
    seeds: Sequence[int],
    positions: Sequence[int],
) -> list[Choice]:
    """:meth:`Sampler.choose` for each row of ``logits`` ``(batch, vocab_size)``: the same choices, bit for bit, in less time.

    Rows whose parameters of truncation are equal are truncated together.
    """
    groups: dict[tuple[float, ...], list[int]] = {}
    for place, sampler in enumerate(samplers):
        groups.setdefault(SHARED(sampler.params), []).append(place)
    choices: dict[int, Choice] = {}
    for group in groups.values():
        for begin in range(0, len(group), BLOCK):
            block = group[begin : begin + BLOCK]
            params = samplers[block[0]].params
            rows = logits[block]
            for row, place in enumerate(block):
                if samplers[place]._looks_back:
                    rows[row] = samplers[place]._by_past(logits[place], None)[-1]
            chosen = _choose(rows, params, [seeds[place] for place in block], [positions[place] for place in block])
            choices.update(zip(block, chosen, strict=True))
    return [choices[place] for place in range(len(samplers))]


def _choose(rows: Logits, params: SamplingParams, seeds: Sequence[int], positions: Sequence[int]) -> list[Choice]:
    """Choose in each of ``rows`` ``(batch, vocab_size)``, which share the parameters from the temperature on."""
    if params.temperature <= formulas.COLDEST:
        formulas.peak(rows)
        return [Choice(int(best[0]), 1.0, best) for best in rows.argmax(axis=1, keepdims=True)]
    rows = rows / np.float32(params.temperature)
    highest = formulas.peak(rows)
    kept = survivors(rows, highest, params)
    keys = [noise.key(seed, position) for seed, position in zip(seeds, positions, strict=True)]
    lengths = [len(ids) for ids in kept]
    if sum(lengths) > FEW or len(rows) == 1:
        each = zip(rows, kept, keys, highest, strict=True)
        return [_pick(row[ids], ids, key, peak, [ids])[0] for row, ids, key, peak in each]
    row_of = np.repeat(np.arange(len(rows)), lengths)
    ids = np.concatenate(kept)
    return _pick(rows[row_of, ids], ids, np.array(keys, np.uint64)[row_of], highest[row_of], kept)


def _pick(
    logits: Logits,
    ids: NDArray[np.int64],
    keys: int | NDArray[np.uint64],
    highest: NDArray[np.float32],
    kept: list[NDArray[np.int64]],
) -> list[Choice]:
    """Take the best of each row's survivors; ``logits``, ``ids``, and the rows' keys and peaks, are those of all rows one after another."""
    scores = logits + noise.gumbel(keys, ids)
    weights = formulas.weights(logits, highest)
    masses = np.rint(weights * formulas.UNIT)
    choices = []
    begin = 0
    for survivor_ids in kept:
        end = begin + len(survivor_ids)
        best = begin + int(scores[begin:end].argmax())
        prob = weights[best] * formulas.UNIT / masses[begin:end].sum()
        choices.append(Choice(int(ids[best]), float(prob), survivor_ids))
        begin = end
    return choices
