"""The fast way keeps exactly the ids that the pure functions keep one after the other, in every row of every batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyteller.engine import logits as formulas
from storyteller.engine.params import SamplingParams
from storyteller.engine.survivors import HEAD, survivors, truncate

SHARES = st.just(1.0) | st.floats(0.01, 0.999)
PARAMS = st.builds(
    SamplingParams,
    top_k=st.just(0) | st.integers(1, 400),
    top_p=SHARES,
    typical_p=st.just(1.0) | SHARES,
    min_p=st.just(0.0) | st.floats(0.0, 1.0),
)


@st.composite
def batches(draw):
    """Rows with and without ties, flat and sharp, wider and narrower than the head; some ids masked, never all of a row."""
    batch, size = draw(st.integers(1, 4)), draw(st.integers(1, 12) | st.integers(HEAD - 2, HEAD + 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = random.normal(size=(batch, size)) * draw(st.sampled_from([0.0, 0.01, 1.0, 5.0]))
    if draw(st.booleans()):
        rows = rows.round()
    rows[random.random((batch, size)) < draw(st.sampled_from([0.0, 0.3, 0.95]))] = -np.inf
    rows[:, draw(st.integers(0, size - 1))] = 0.0
    return rows.astype(np.float32)


def pure(row, params):
    if params.top_k:
        row = formulas.top_k(row, params.top_k)
    if params.typical_p < 1:
        row = formulas.typical_p(row, params.typical_p)
    if params.top_p < 1:
        row = formulas.top_p(row, params.top_p)
    if params.min_p > 0:
        row = formulas.min_p(row, params.min_p)
    return row


@given(batches(), PARAMS)
@settings(deadline=None)
def test_fast_equals_pure(rows, params):
    kept = survivors(rows, formulas.peak(rows), params)
    assert [ids.tolist() for ids in kept] == [np.flatnonzero(pure(row, params) > -np.inf).tolist() for row in rows]


@given(batches(), PARAMS)
@settings(deadline=None)
def test_truncate_is_the_pure_functions_in_order(rows, params):
    for row in rows:
        assert truncate(row, params).tolist() == pure(row, params).tolist()


@pytest.mark.parametrize("params", [SamplingParams(top_p=0.99), SamplingParams(min_p=1e-9), SamplingParams(top_p=0.99, min_p=1e-9)])
def test_a_nucleus_that_is_wider_than_the_head(params):
    rows = np.random.default_rng(1).normal(size=(3, 4000)).astype(np.float32)
    for ids, row in zip(survivors(rows, formulas.peak(rows), params), rows, strict=True):
        assert len(ids) > HEAD
        assert ids.tolist() == np.flatnonzero(pure(row, params) > -np.inf).tolist()
