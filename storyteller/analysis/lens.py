"""The logit lens: what each layer would say if the story were told from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from storyteller.analysis.labels import token_label, token_labels
from storyteller.analysis.network import Network, log_softmax
from storyteller.analysis.record import Record
from storyteller.errors import UsageInvalid

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel

LONGEST = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class LogitLens(Record):
    """Each of L layers' states read out through the output layer, after each of T tokens (nostalgebraist 2020, for layers of a GRU).

    ``top`` (L × T): label of the likeliest next token; ``probabilities`` float64 (L, T): its probability. ``final`` (L, T): the probability
    of the token that the top layer holds likeliest. ``divergence`` (L, T): KL(top layer ‖ layer) in nats. Only the top layer was trained
    to be read out: of the others it shows how far their code is the same, no more.
    """

    model: str
    text: str
    tokens: tuple[str, ...]
    top: tuple[tuple[str, ...], ...]
    probabilities: NDArray[np.float64]
    final: NDArray[np.float64]
    divergence: NDArray[np.float64]


def logit_lens(model: LoadedModel, text: str) -> LogitLens:
    """Read ``text`` and read every layer out; raises :class:`~storyteller.errors.UsageInvalid` for less than 1 or more than 255 tokens."""
    tokenizer = model.tokenizer
    ids = [tokenizer.end_id, *tokenizer.encode(text.rstrip(" \t"))]
    if not 2 <= len(ids) <= LONGEST:
        raise UsageInvalid(f"a text to read layer by layer must have 1 to {LONGEST - 1} tokens, not {len(ids) - 1}")
    network = Network.of(model)
    logprobs = [log_softmax(network.logits(layer)) for layer in network.read_ids(ids).hidden]
    last = logprobs[-1]
    best = last.argmax(axis=1)
    return LogitLens(
        model=model.name,
        text=text,
        tokens=token_labels(tokenizer, ids),
        top=tuple(tuple(token_label(tokenizer, id) for id in layer.argmax(axis=1).tolist()) for layer in logprobs),
        probabilities=np.stack([np.exp(layer.max(axis=1)) for layer in logprobs]),
        final=np.stack([np.exp(layer[np.arange(len(ids)), best]) for layer in logprobs]),
        divergence=np.stack([(np.exp(last) * (last - layer)).sum(axis=1) for layer in logprobs]),
    )
