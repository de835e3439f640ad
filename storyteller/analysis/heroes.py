"""Whether the model still knows whom the story is about: the probability of the hero's name wherever a name could come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storyteller.analysis.network import Network, log_softmax
from storyteller.analysis.record import Record
from storyteller.engine import lexicon
from storyteller.engine.names import name_drift, names
from storyteller.errors import UsageInvalid

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel
    from storyteller.engine.tokenizer import Tokenizer

COULD_COME = 0.05
LONGEST = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class NameTracking(Record):
    """P places of a text at which a name could come: where one stands, or where names together have a probability of 5 % or more.

    ``places`` (P,): index of the token after which it would come, the end token that starts the story being 0; ``starts`` (P,): the
    character of ``text`` at which. ``hero_probability`` (P,): of ``hero``, exact, with or without a space before it, all tokens of a longer
    name multiplied. ``rivals`` (P): the likeliest other name that is a single token, and ``rival_probability`` (P,). ``said`` (P): the name
    that stands there, or "". ``drifts``: names that come up late, as a subject and unintroduced.
    """

    model: str
    text: str
    hero: str
    tokens: int
    drifts: tuple[str, ...]
    said: tuple[str, ...]
    rivals: tuple[str, ...]
    places: NDArray[np.int64]
    starts: NDArray[np.int64]
    hero_probability: NDArray[np.float64]
    rival_probability: NDArray[np.float64]


def name_tracking(model: LoadedModel, text: str, *, hero: str | None = None) -> NameTracking:
    """Follow the name ``hero`` (None: the first name of ``text``) through ``text``, by the float32 weights.

    Raises :class:`~storyteller.errors.UsageInvalid` where there is no name, or more than 1,023 tokens.
    """
    seen = names(text)
    if hero is None:
        if not seen:
            raise UsageInvalid("there is no name in this text to follow", "say whose: give a text with a name, or the name itself")
        hero = seen[0].name
    tokenizer = model.tokenizer
    ids = [tokenizer.end_id, *tokenizer.encode(text)]
    if not 2 <= len(ids) <= LONGEST:
        raise UsageInvalid(f"a text to follow a name through must have 1 to {LONGEST - 1} tokens, not {len(ids) - 1}")
    network = Network.of(model)
    hidden = network.read_ids(ids).hidden
    logprobs = log_softmax(network.logits(hidden[-1]))
    standing = _standing(tokenizer, ids, {place.start: place.name for place in seen})
    rivals = {name: some for name in sorted(lexicon.names() - {hero}) if (some := _single(tokenizer, name))}
    table = np.array([np.exp(logprobs[:, some]).sum(axis=1) for some in rivals.values()]) if rivals else np.zeros((1, len(ids)))
    own = np.exp(logprobs[:, _single(tokenizer, hero)]).sum(axis=1)
    possible = table.sum(axis=0) + own >= COULD_COME
    places = [place for place in range(len(ids)) if place in standing or possible[place]]
    starts = _starts(tokenizer, ids)
    return NameTracking(
        model=model.name,
        text=text,
        hero=hero,
        tokens=len(ids),
        drifts=tuple(drift.name for drift in name_drift(text)),
        said=tuple(standing.get(place, "") for place in places),
        rivals=tuple(list(rivals)[int(table[:, place].argmax())] if rivals else "" for place in places),
        places=np.array(places, np.int64),
        starts=np.array([starts[place] for place in places], np.int64),
        hero_probability=_whole_name(network, tokenizer, hidden, logprobs, places, hero),
        rival_probability=np.array([table[:, place].max() for place in places]),
    )


def _spellings(tokenizer: Tokenizer, name: str) -> list[list[int]]:
    return [tokenizer.encode(f" {name}"), tokenizer.encode(name)]


def _single(tokenizer: Tokenizer, name: str) -> list[int]:
    return [ids[0] for ids in _spellings(tokenizer, name) if len(ids) == 1]


def _starts(tokenizer: Tokenizer, ids: Sequence[int]) -> list[int]:
    """For each place the character at which the token after it begins, its space left out."""
    starts, before = [], b""
    for place, id in enumerate(ids):
        before += tokenizer.token_bytes[id]
        following = tokenizer.token_bytes[ids[place + 1]] if place + 1 < len(ids) else b""
        starts.append(len(before.decode("utf-8", errors="replace")) + following.startswith(b" "))
    return starts


def _standing(tokenizer: Tokenizer, ids: Sequence[int], by_start: dict[int, str]) -> dict[int, str]:
    """Place of the token after which each name stands; the space before it, if it is a token of its own, belongs to the name."""
    first: dict[int, int] = {}
    for place, start in enumerate(_starts(tokenizer, ids)[:-1]):
        first.setdefault(start, place)
    return {place: by_start[start] for start, place in first.items() if start in by_start}


def _whole_name(
    network: Network,
    tokenizer: Tokenizer,
    hidden: NDArray[np.float32],
    logprobs: NDArray[np.float64],
    places: Sequence[int],
    name: str,
) -> NDArray[np.float64]:
    """The probability of all of ``name`` after each place: the sum over its two spellings of the product over tokens."""
    total = np.zeros(len(places))
    for ids in _spellings(tokenizer, name):
        likely = logprobs[list(places), ids[0]].copy()
        state = hidden[:, list(places)]
        for id, following in pairwise(ids):
            read = np.repeat(network.embed([id])[:, None], len(places), axis=1)
            state = network.read(read, state).hidden[:, -1]
            likely += log_softmax(network.logits(state[-1]))[:, following]
        total += np.exp(likely)
    return total
