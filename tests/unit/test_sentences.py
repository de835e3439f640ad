import pytest

from storyteller.engine.sentences import ends_sentence, sentence_end


@pytest.mark.parametrize("text", ["It rained.", "Why?", '"No!"', "He sang.”", "Then…", "Well...", "Home.\n\n", "(It was.)", "Stop?!"])
def test_sentences_end(text: str) -> None:
    assert ends_sentence(text)
    assert sentence_end(text) == len(text.rstrip())


@pytest.mark.parametrize("text", ["", "It rained", "He met Mr.", "and Dr.", "one,", "said:", "Home.\n\nThe", '"', "3.5 apples"])
def test_others_do_not(text: str) -> None:
    assert not ends_sentence(text)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("The fox ran. The dog", "The fox ran."),
        ('"Come!" she said. "I', '"Come!" she said.'),
        ('"Come in!" said Mr. Fox', '"Come in!"'),
        ("It cost 3.50 in all", ""),
        ("No end", ""),
        ("One. Two.", "One. Two."),
    ],
)
def test_the_last_sentence_end_is_found(text: str, kept: str) -> None:
    assert text[: sentence_end(text)] == kept
