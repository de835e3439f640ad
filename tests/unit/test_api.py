"""What ``import storyteller`` offers."""

from __future__ import annotations

import inspect

import pytest

import storyteller
from storyteller import errors


def test_every_name_that_is_promised_is_there() -> None:
    for name in storyteller.__all__:
        assert getattr(storyteller, name) is not None
    assert set(storyteller.__all__) <= set(dir(storyteller))
    assert storyteller.__all__ == sorted(storyteller.__all__)


def test_every_error_is_offered() -> None:
    raised = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert raised <= set(storyteller.__all__)


def test_a_name_that_is_not_there_is_missed_as_python_does() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'StoryTeller'"):
        storyteller.StoryTeller  # noqa: B018


@pytest.mark.parametrize("name", [name for name in storyteller.__all__ if not name.startswith("__")])
def test_what_is_offered_is_documented(name: str) -> None:
    assert (inspect.getdoc(getattr(storyteller, name)) or "").strip()
