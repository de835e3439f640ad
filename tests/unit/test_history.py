import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyteller.engine.history import History

IDS = st.lists(st.integers(0, 9), max_size=8)


@given(IDS, IDS, st.slices(8), st.integers(-10, 10))
def test_a_history_is_the_tuple_of_its_ids_however_the_list_grows(ids: list[int], more: list[int], part: slice, place: int) -> None:
    shared = list(ids)
    history, expected = History(shared, len(shared)), tuple(ids)
    shared += more
    assert history == expected
    assert expected == history
    assert hash(history) == hash(expected)
    assert tuple(history) == expected
    assert len(history) == len(expected)
    assert history[part] == expected[part]
    assert repr(history) == repr(expected)
    if -len(ids) <= place < len(ids):
        assert history[place] == expected[place]
    else:
        with pytest.raises(IndexError):
            history[place]


@given(IDS, IDS)
def test_histories_are_equal_where_their_ids_are(first: list[int], second: list[int]) -> None:
    assert (History(first, len(first)) == History(second, len(second))) == (first == second)
    assert History(first, len(first)) != "text"


def test_copies_do_not_share_the_list() -> None:
    ids = [1, 2, 3]
    history = History(ids, 2)
    assert pickle.loads(pickle.dumps(history)) == (1, 2)
    assert copy.deepcopy(history) == (1, 2)
