"""The learning rate and the length of a training."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyteller.training.clock import Clock
from storyteller.training.schedule import FIXED_AT, FLOOR, average_decay, learning_rate, total_by_time


def test_it_rises_in_a_line_falls_as_a_cosine_and_ends_at_the_floor() -> None:
    rates = [learning_rate(iteration, 0.4, 10, 110) for iteration in range(110)]
    assert rates[:10] == pytest.approx([0.04 * n for n in range(1, 11)])
    assert rates[10] == pytest.approx(0.4)
    assert rates[109] == pytest.approx(0.4 * FLOOR)
    middle = 0.4 * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * 40 / 99)))
    assert rates[50] == pytest.approx(middle)
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_it_stays_at_the_top_while_the_length_is_unknown() -> None:
    assert learning_rate(3, 1.0, 8, None) == 0.5
    assert learning_rate(10_000, 1.0, 8, None) == 1.0


def test_warm_up_takes_a_fifth_at_most() -> None:
    assert learning_rate(9, 1.0, 1000, 50) == 1.0
    assert learning_rate(8, 1.0, 1000, 50) == 0.9


@given(st.integers(0, 10_000), st.floats(1e-6, 10), st.integers(0, 5_000), st.one_of(st.none(), st.integers(1, 10_000)))
def test_it_is_never_nothing_and_never_above_its_peak(iteration: int, peak: float, warmup: int, total: int | None) -> None:
    assert 0 < learning_rate(iteration, peak, warmup, total) <= peak * (1 + 1e-12)


def test_the_total_fills_the_time() -> None:
    assert total_by_time(50, 100.0, 1100.0, 2.0) == 550
    assert total_by_time(50, 100.0, 90.0, 2.0) == 51


def test_the_average_begins_as_a_running_mean() -> None:
    assert average_decay(0, 0.999) == 0.1
    assert average_decay(1_000_000, 0.999) == 0.999


class Time:
    """A clock that a test turns."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr("storyteller.training.clock.time", time)
    return time


def test_the_total_is_known_at_iteration_50_from_the_speed_since_the_tenth(time: Time) -> None:
    clock = Clock(before=0.0, limit=1000.0)
    for iteration in range(1, FIXED_AT + 1):
        time.now += 20.0 if iteration <= 10 else 2.0  # the first ones are slow
        if iteration == 20:
            with clock.apart():
                time.now += 30.0  # an evaluation
        found = clock.total(iteration, seconds_each_besides=0.5)
        assert (found is None) == (iteration < FIXED_AT)
    assert clock.seconds == 200 + 80 + 30
    assert found == FIXED_AT + int((1000 - 310) / 2.5)


def test_seconds_go_on_where_the_last_session_ended_and_some_are_kept_for_the_end(time: Time) -> None:
    clock = Clock(before=70.0, limit=100.0)
    clock.begin()
    time.now = 12.0
    assert clock.seconds == 82
    assert not clock.is_over
    clock.keep(19.0)
    assert clock.is_over
    clock.keep(1e9)
    assert clock.reserve == 20
    assert not Clock(before=1e9, limit=None).is_over
