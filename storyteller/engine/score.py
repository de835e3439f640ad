"""Teacher forcing: what the model would have made of a text that somebody wrote."""

from __future__ import annotations

import math
from collections.abc import Iterator

from storyteller.engine.detokenizer import Detokenizer
from storyteller.engine.params import SamplingParams
from storyteller.engine.prefill import prefill
from storyteller.engine.readings import read
from storyteller.engine.runtime import StoryModel
from storyteller.engine.steps import Alternative, Step

AS_IT_IS = SamplingParams(temperature=1.0)


def score(model: StoryModel, text: str, *, alternatives: int = 10) -> Iterator[Step]:
    """Yield one :class:`Step` for each id of ``text`` and for the end token after it, predicted from an end token and a zero state.

    ``pieces`` is the text as it stands. Nothing chose these ids: ``chosen_prob`` is the model's own probability and every alternative
    is kept. The ``logprob`` of all steps sum to minus the nats that :func:`~storyteller.engine.evaluate.evaluate` counts.
    """
    tokenizer = model.tokenizer
    ids = [tokenizer.end_id, *tokenizer.encode(text), tokenizer.end_id]
    detokenizer = Detokenizer(tokenizer)
    index = 0
    for logits, _ in prefill(model.runtime, ids[:-1], model.runtime.initial_state(1)):
        for reading in read(logits, ids[index + 1 : index + 1 + len(logits)], alternatives):
            index += 1
            detokenizer, pieces = detokenizer.add(ids[index], index)
            yield Step(
                index=index,
                id=ids[index],
                pieces=pieces,
                logprob=reading.logprob,
                entropy=reading.entropy,
                rank=reading.rank,
                chosen_prob=math.exp(reading.logprob),
                alternatives=tuple([Alternative(id, logprob, True) for id, logprob in reading.top]),
                survivors=None,
                params=AS_IT_IS,
                finish_reason="end" if index == len(ids) - 1 else None,
            )
