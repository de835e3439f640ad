"""What happens in the network while it tells: states, movement, gates, and how long each token stays in memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storyteller.analysis.labels import token_labels
from storyteller.analysis.network import Floats, Network
from storyteller.analysis.record import Record
from storyteller.analysis.retention import half_lives, memory
from storyteller.engine.generate import stream
from storyteller.engine.params import SamplingParams
from storyteller.errors import UsageInvalid

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel

PROMPT = "Once upon a time there was a little girl named Lily who"
NEW_TOKENS = 36
LONGEST = 1024
ACTIVE = 24


@dataclass(frozen=True, kw_only=True, eq=False)
class GenerationDynamics(Record):
    """L layers of H units while T tokens are read, the first being the end token that starts a story, the first ``prompt_len`` given.

    ``text``: all of it, as the model says it. ``states``: float32 (L, T, H), after each token. ``points``: float64 (L, T, 2), each layer's
    states on its first two principal components, which hold ``explained`` (L, 2) of their variance. ``norms`` (L, T): ‖h_t‖.
    ``movement`` (L, T): ‖h_t − h_{t−1}‖, with h_{−1} = 0. ``openness`` (L, T): mean over units of 1 − z_t, the share of the state that a
    token replaces (0 = nothing is let in). ``half_life`` (L, T): after how many further tokens the part of the state that the token wrote
    has half its norm, direct path of that layer (:mod:`storyteller.analysis.retention`); inf where the text ends before that.
    ``active`` (K,): the units of the top layer that vary most, ordered by when they are highest.
    """

    model: str
    precision: str
    prompt: str
    text: str
    seed: int
    temperature: float
    tokens: tuple[str, ...]
    prompt_len: int
    ids: NDArray[np.int64]
    states: Floats
    points: NDArray[np.float64]
    explained: NDArray[np.float64]
    norms: NDArray[np.float64]
    movement: NDArray[np.float64]
    openness: NDArray[np.float64]
    half_life: NDArray[np.float64]
    active: NDArray[np.int64]


def generation_dynamics(
    model: LoadedModel, prompt: str = PROMPT, *, params: SamplingParams | None = None, seed: int = 0, new_tokens: int = NEW_TOKENS
) -> GenerationDynamics:
    """Tell ``new_tokens`` from ``prompt`` and look at every layer meanwhile; ``new_tokens=0`` looks at the prompt alone.

    ``params``: None takes the model's own. The states are those of the float32 weights. Raises
    :class:`~storyteller.errors.UsageInvalid` where there are fewer than 3 or more than 1,024 tokens in all.
    """
    tokenizer = model.tokenizer
    begin = prompt.rstrip(" \t")
    ids = [tokenizer.end_id, *tokenizer.encode(begin)]
    prompt_len = len(ids)
    params = replace(params or model.generation, max_len=max(new_tokens, 1), until="length", stop=())
    if prompt_len + new_tokens > LONGEST:
        raise UsageInvalid(f"that would be {prompt_len + new_tokens} tokens; {LONGEST} can be looked at", "shorten the prompt")
    if new_tokens:
        ids += [step.id for step in stream(model, begin, params, seed, post_process=False, alternatives=0)]
    if len(ids) < 3:
        raise UsageInvalid("there are fewer than 3 tokens to look at", "give a longer prompt")
    trace = Network.of(model).read_ids(ids)
    hidden = trace.hidden.astype(np.float64)
    layouts = [_principal(layer) for layer in hidden]
    return GenerationDynamics(
        model=model.name,
        precision=model.precision,
        prompt=begin,
        text=tokenizer.decode(ids),
        seed=seed,
        temperature=params.temperature,
        tokens=token_labels(tokenizer, ids),
        prompt_len=prompt_len,
        ids=np.array(ids, np.int64),
        states=trace.hidden,
        points=np.stack([points for points, _ in layouts]),
        explained=np.stack([explained for _, explained in layouts]),
        norms=np.linalg.norm(hidden, axis=-1),
        movement=np.linalg.norm(np.diff(trace.states.astype(np.float64), axis=1), axis=-1),
        openness=1 - trace.update.mean(axis=-1, dtype=np.float64),
        half_life=np.stack([half_lives(memory(trace, layer)) for layer in range(len(hidden))]),
        active=_most_active(hidden[-1]),
    )


def _principal(states: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (T, 2) on the first two principal components, each with its largest value positive, and their share of the variance."""
    centred = states - states.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(states), 2))
    count = min(2, len(sizes))
    points[:, :count] = left[:, :count] * sizes[:count]
    signs = np.sign(points[np.abs(points).argmax(axis=0), range(2)])
    total = float(np.square(sizes).sum())
    explained = np.zeros(2)
    explained[:count] = np.square(sizes[:count]) / total if total else 0.0
    return points * np.where(signs == 0, 1, signs), explained


def _most_active(states: NDArray[np.float64]) -> NDArray[np.int64]:
    """The units that vary most over time, in the order of their highest moments."""
    chosen = np.argsort(-states.std(axis=0), kind="stable")[:ACTIVE]
    return chosen[np.argsort(states[:, chosen].argmax(axis=0), kind="stable")].astype(np.int64)
