"""The only door to generated text: :func:`stream` yields one step per token, and everything else joins its steps.

prompt → ids → prefill → loop { logits → choose → detokenize → filter → stop strings → Step → runtime.step }.
All is a pure function of model, prompt, parameters and seed. A stream is cancelled by ``close()``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from storyteller.engine.detokenizer import Detokenizer
from storyteller.engine.params import SamplingParams
from storyteller.engine.postprocess import StoryFilter
from storyteller.engine.prefill import prefill
from storyteller.engine.readings import alternatives as marked
from storyteller.engine.readings import read
from storyteller.engine.runtime import Logits, Runtime, State, StoryModel
from storyteller.engine.sampler import Choice, choose_batch
from storyteller.engine.score import score
from storyteller.engine.sentences import sentence_end
from storyteller.engine.steps import Snapshot, Step
from storyteller.engine.stops import StopMatcher
from storyteller.engine.telling import Telling
from storyteller.errors import UsageInvalid

__all__ = ["SEEDS", "StoryModel", "generate", "prime", "sample_seeds", "score", "stream", "stream_batch"]

SEEDS = 2**63
Params = SamplingParams | Callable[[], SamplingParams]


def prime(model: StoryModel, prompt: str, *, post_process: bool = True) -> Snapshot:
    """Read ``prompt`` after an end-of-text token; the snapshot begins a story, any number of times.

    Spaces and tabs at the prompt's end are taken off, and the first token is then chosen among those that begin with a space: byte-level
    BPE has the space on the next word. An empty prompt begins a story from nothing. Without ``post_process`` the text is told raw.
    """
    begin = prompt.rstrip(" \t")
    ids = (model.tokenizer.end_id, *model.tokenizer.encode(begin))
    for logits, state in prefill(model.runtime, ids, model.runtime.initial_state(1)):
        last, after = logits[-1], state
    return Snapshot(
        ids=ids,
        state=after,
        logits=last.copy(),
        prompt_len=len(ids),
        detokenizer=Detokenizer(model.tokenizer),
        filter=StoryFilter().prime(begin) if post_process else None,
        stops=StopMatcher(),
        after_space=begin != prompt and begin[-1:].strip() != "",
    )


def stream(
    model: StoryModel,
    prompt: str | Snapshot,
    params: Params,
    seed: int,
    *,
    post_process: bool = True,
    alternatives: int = 10,
    trace: bool = False,
    snapshots: bool = False,
) -> Generator[Step, None, None]:
    """Tell a story: one :class:`Step` per sampled id, the end token included; the last one has a ``finish_reason``.

    "end": the story told its end token. "stop": a string of ``params.stop`` is complete; the text ends before it. "length":
    ``params.max_len`` new tokens are told; with ``until="sentence"`` the story goes on for at most 40 more to the end of its sentence.
    What was held back (half a character, a word to repair, the beginning of a stop string) is released by the last step.

    ``params`` may be a callable, asked before each token. The noise of a token depends on ``seed`` (0 to 2**63 - 1) and its place in the
    whole sequence, so that a stream from a :class:`Snapshot` is the rest of the stream that made it; ``post_process`` is then the
    snapshot's. ``alternatives`` is the number of likely tokens in each step (0 is cheapest), ``trace=True`` adds the number of ids that
    survived each stage, and ``snapshots=True`` a snapshot after each token: the model then reads a token before its step is yielded.

    Raises :class:`~storyteller.errors.UsageInvalid` for a seed out of range.
    """
    batch = stream_batch(
        model,
        [prompt],
        params,
        [seed],
        post_process=post_process,
        alternatives=alternatives,
        trace=trace,
        snapshots=snapshots,
    )
    return (step for _, step in batch)


def stream_batch(
    model: StoryModel,
    prompts: Sequence[str | Snapshot],
    params: Params,
    seeds: Sequence[int],
    *,
    post_process: bool = True,
    alternatives: int = 10,
    trace: bool = False,
    snapshots: bool = False,
) -> Generator[tuple[int, Step], None, None]:
    """Tell one story per prompt, side by side: yields (row, step), token by token, rows in order; see :func:`stream`.

    All rows that still run go through one ``runtime.step``. Each row's steps are those of its own :func:`stream`, to the last bit where
    the runtime's rows do not depend on each other.
    """
    if len(prompts) != len(seeds):
        raise UsageInvalid(f"{len(prompts)} stories need as many seeds, not {len(seeds)}")
    for seed in seeds:
        _check_seed(seed)
    current = params if callable(params) else lambda: params
    return _tell(model, prompts, current, seeds, post_process, alternatives, trace, snapshots)


def sample_seeds(seed: int, samples: int) -> tuple[int, ...]:
    """The seeds of ``samples`` stories of one call: sample i has ``seed + i`` (after the last seed comes 0)."""
    _check_seed(seed)
    return tuple((seed + sample) % SEEDS for sample in range(samples))


def generate(
    model: StoryModel,
    prompt: str,
    params: SamplingParams,
    seed: int,
    *,
    post_process: bool = True,
    trim: bool = False,
) -> str:
    """The prompt, trailing spaces off, and its story. ``trim=True`` cuts a story that did not end by itself after its last sentence.

    A story without a whole sentence is left as it is. Raises what :func:`stream` raises.
    """
    begin = prime(model, prompt, post_process=post_process)
    steps = list(stream(model, begin, params, seed, alternatives=0))
    story = "".join(step.text for step in steps)
    told = model.tokenizer.decode(begin.ids)
    if not trim or not steps or steps[-1].finish_reason == "end":
        return told + story
    story = story[: sentence_end(story)] or story
    if begin.filter is not None:
        # Cut again, the text may have lost a closing quote.
        story_filter = begin.filter.copy()
        story = story_filter.feed(story) + story_filter.finish(cut=True)
    return told + story


def _check_seed(seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < SEEDS:
        raise UsageInvalid(f"a seed must be a whole number from 0 to {SEEDS - 1}, not {seed!r}")


def _tell(
    model: StoryModel,
    prompts: Sequence[str | Snapshot],
    current: Callable[[], SamplingParams],
    seeds: Sequence[int],
    post_process: bool,
    top: int,
    trace: bool,
    snapshots: bool,
) -> Generator[tuple[int, Step], None, None]:
    begun = _begin(model, prompts, post_process)
    rows = [row for row, snapshot in enumerate(begun) if not snapshot.ended]
    if not rows:
        return
    params = current()
    tellings = [Telling(row, model.tokenizer, begun[row], params, seeds[row]) for row in rows]
    logits = np.stack([begun[row].logits for row in rows])
    state = np.concatenate([begun[row].state for row in rows], axis=1)
    while True:
        choices = _choose(tellings, logits, trace)
        ids = [choice.id for choice in choices]
        readings = read(logits, ids, top)
        for telling, id in zip(tellings, ids, strict=True):
            telling.take(id, params)
        # The model reads on before a step is yielded only where the step needs it: the face shows a token a model step earlier.
        ahead = _step(model.runtime, ids, state) if snapshots or any(telling.undecided for telling in tellings) else None
        for place, (telling, choice, reading) in enumerate(zip(tellings, choices, readings, strict=True)):
            snapshot = None
            if ahead is not None:
                telling.decide(ahead[0][place])
                if snapshots:
                    snapshot = telling.snapshot(*_row(*ahead, place))
            flushed = telling.flush(params) if telling.finish_reason else 0
            yield (
                telling.row,
                Step(
                    len(telling.ids) - 1,
                    choice.id,
                    telling.pieces,
                    reading.logprob,
                    reading.entropy,
                    reading.rank,
                    choice.prob,
                    marked(reading.top, choice.kept, logits.shape[1]) if top else (),
                    choice.survivors,
                    params,
                    snapshot,
                    telling.finish_reason,
                    flushed,
                ),
            )
        going = [place for place, telling in enumerate(tellings) if telling.finish_reason is None]
        if not going:
            return
        if len(going) < len(tellings):
            tellings = [tellings[place] for place in going]
            ids = [ids[place] for place in going]
            state = state[:, going]
            ahead = None if ahead is None else (ahead[0][going], ahead[1][:, going])
        logits, state = _step(model.runtime, ids, state) if ahead is None else ahead
        params = current()
        for telling in tellings:
            telling.use(params)


def _begin(model: StoryModel, prompts: Sequence[str | Snapshot], post_process: bool) -> list[Snapshot]:
    """Equal prompts are read once; unequal ones each by itself, so that no row's bits depend on its neighbours."""
    unequal = dict.fromkeys(prompt for prompt in prompts if isinstance(prompt, str))
    primed = {prompt: prime(model, prompt, post_process=post_process) for prompt in unequal}
    return [primed[prompt] if isinstance(prompt, str) else prompt for prompt in prompts]


def _choose(tellings: Sequence[Telling], logits: Logits, trace: bool) -> list[Choice]:
    if trace or any(telling.only is not None for telling in tellings):
        return [telling.choose(row, trace=trace) for telling, row in zip(tellings, logits, strict=True)]
    samplers = [telling.sampler for telling in tellings]
    return choose_batch(samplers, logits, [telling.seed for telling in tellings], [len(telling.ids) for telling in tellings])


def _step(runtime: Runtime, ids: Sequence[int], state: State) -> tuple[Logits, State]:
    return runtime.step(np.array(ids, np.int64), state)


def _row(logits: Logits, state: State, place: int) -> tuple[NDArray[np.float32], State]:
    """One row; copied out of a batch, so that a snapshot does not keep its neighbours in memory."""
    if len(logits) == 1:
        return logits[0], state
    return logits[place].copy(), state[:, place : place + 1].copy()
