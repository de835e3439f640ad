"""The exception tree: every error has an exit code that the table in the docstring promises."""

from __future__ import annotations

import inspect
import re

import pytest

from storyteller import errors

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value)]


@pytest.mark.parametrize("error", CLASSES)
def test_each_error_exits_with_the_code_that_the_tree_shows(error: type[errors.StorytellerError]) -> None:
    match = re.search(rf"\b{error.__name__}\s+(\d)\s", errors.__doc__ or "")
    assert match is not None
    assert error.exit_code == int(match[1])


@pytest.mark.parametrize("error", CLASSES)
def test_each_error_is_caught_as_a_storyteller_error_and_keeps_its_words(error: type[errors.StorytellerError]) -> None:
    with pytest.raises(errors.StorytellerError) as caught:
        raise error("it is broken", "mend it")
    assert (caught.value.message, caught.value.hint, str(caught.value)) == ("it is broken", "mend it", "it is broken")


def test_a_hint_is_optional() -> None:
    assert errors.StorytellerError("it is broken").hint == ""
