import math
from collections.abc import Iterator

import pytest

from storyteller.engine import statistics
from storyteller.engine.params import SamplingParams
from storyteller.engine.statistics import Meter, perplexity
from storyteller.engine.steps import Step


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(statistics, "perf_counter", clock)
    return clock


def step(index: int, logprob: float, reason=None) -> Step:
    return Step(index, 0, (), logprob, 0.0, 0, 1.0, (), None, SamplingParams(), finish_reason=reason)


def told(clock: Clock) -> Iterator[Step]:
    clock.now += 2.0
    yield step(1, -1.0)
    clock.now += 0.5
    yield step(2, -2.0)
    clock.now += 0.5
    yield step(3, -3.0, "end")


def test_the_consumer_s_time_is_not_counted(clock: Clock) -> None:
    meter = Meter()
    for _ in meter.watch(told(clock)):
        clock.now += 1000
    stats = meter.stats()
    assert (stats.tokens, stats.seconds, stats.time_to_first_token, stats.tokens_per_second) == (3, 3.0, 2.0, 2.0)
    assert stats.perplexity == pytest.approx(math.exp(2))
    assert stats.finish_reason == "end"


def test_figures_are_there_while_the_story_is_told(clock: Clock) -> None:
    meter = Meter()
    empty = meter.stats()
    assert (empty.tokens, empty.seconds, empty.time_to_first_token, empty.tokens_per_second, empty.perplexity) == (0, 0.0, None, None, None)
    steps = meter.watch(told(clock))
    next(steps)
    assert (meter.stats().tokens, meter.stats().tokens_per_second, meter.stats().finish_reason) == (1, None, None)
    next(steps)
    assert meter.stats().tokens_per_second == 2.0


def test_each_row_of_a_batch_has_its_own_figures(clock: Clock) -> None:
    def batch() -> Iterator[tuple[int, Step]]:
        clock.now += 1.0
        yield 0, step(1, -1.0)
        yield 1, step(1, -1.0)
        clock.now += 1.0
        yield 0, step(2, -1.0, "end")
        yield 1, step(2, -3.0)
        clock.now += 2.0
        yield 1, step(3, -2.0, "length")

    meter = Meter()
    assert len(list(meter.watch_batch(batch()))) == 5
    whole, first, second = meter.stats(), meter.rows[0].stats(), meter.rows[1].stats()
    assert (whole.tokens, whole.seconds, whole.time_to_first_token, whole.tokens_per_second) == (5, 4.0, 1.0, 1.0)
    assert whole.finish_reason is None
    assert (first.tokens, first.seconds, first.tokens_per_second, first.finish_reason) == (2, 2.0, 1.0, "end")
    assert (second.tokens, second.seconds, second.finish_reason) == (3, 4.0, "length")
    assert second.perplexity == pytest.approx(math.exp(2))


def test_steps_pass_unchanged(clock: Clock) -> None:
    assert list(Meter().watch(told(clock))) == list(told(clock))


def test_perplexity_ends_in_infinity_and_not_in_an_error() -> None:
    assert perplexity(0.0) == 1.0
    assert perplexity(1e6) == math.inf
    assert perplexity(math.inf) == math.inf
