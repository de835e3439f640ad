"""The Python API."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from storyteller import StoryGenerator
from storyteller.checkpoint.load import load
from storyteller.controls import shown
from storyteller.engine.params import SamplingParams
from storyteller.errors import CheckpointInvalid, InvalidParams, ModelNotFound, UsageInvalid


@pytest.fixture
def teller(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoryGenerator:
    monkeypatch.chdir(tmp_path)
    return StoryGenerator(tiny_checkpoint)


def test_a_path_and_a_loaded_model_are_the_same(teller: StoryGenerator, tiny_checkpoint: Path) -> None:
    other = StoryGenerator(load(tiny_checkpoint))
    assert repr(teller) == repr(other) == "StoryGenerator('tiny')"
    assert teller.generate("The fox", seed=3) == other.generate("The fox", seed=3)


def test_a_story_begins_with_its_prompt_and_the_seed_decides_the_rest(teller: StoryGenerator) -> None:
    stories = [teller.generate("The fox ", seed=seed, max_len=30) for seed in (1, 1, 2)]
    assert stories[0] == stories[1] != stories[2]
    assert all(story.startswith("The fox") for story in stories)


def test_generate_joins_what_stream_yields(teller: StoryGenerator) -> None:
    steps = list(teller.stream("The fox", seed=5, max_len=30))
    assert "The fox" + "".join(step.text for step in steps) == teller.generate("The fox", seed=5, max_len=30)
    assert steps[-1].finish_reason is not None
    assert all(len(step.alternatives) == 10 for step in steps)


def test_without_a_seed_each_story_is_another_and_can_be_told_again(teller: StoryGenerator) -> None:
    first = teller.generate("The fox", max_len=30)
    seed = teller.last_seed
    second = teller.generate("The fox", max_len=30)
    assert teller.last_seed != seed
    assert first != second
    assert teller.generate("The fox", max_len=30, seed=seed) == first


def test_arguments_reach_the_sampler(teller: StoryGenerator) -> None:
    steps = list(teller.stream("The fox", max_len=3, temperature=0.7, top_k=5, top_p=0.9, seed=1))
    assert len(steps) <= 3
    params = steps[0].params
    assert (params.max_len, params.temperature, params.top_k, params.top_p) == (3, 0.7, 5, 0.9)


def test_params_give_what_has_no_argument_and_arguments_change_them(teller: StoryGenerator) -> None:
    base = SamplingParams(max_len=2, no_repeat_ngram=3)
    steps = list(teller.stream("The fox", params=base, max_len=4, seed=1))
    assert (steps[0].params.max_len, steps[0].params.no_repeat_ngram) == (4, 3)
    with pytest.raises(UsageInvalid, match="choose one"):
        teller.generate("The fox", params=base, style="wild")


def test_a_style_changes_the_models_defaults(teller: StoryGenerator) -> None:
    assert teller.params().temperature == 0.9
    assert teller.params(style="careful").temperature == 0.5
    with pytest.raises(UsageInvalid, match="did you mean careful"):
        teller.generate("The fox", style="carefull")


def test_raw_text_is_what_the_ids_say(teller: StoryGenerator) -> None:
    ids = [step.id for step in teller.stream("The fox", seed=9, max_len=40, post_process=False)]
    assert teller.generate("The fox", seed=9, max_len=40, post_process=False) == "The fox" + teller.model.tokenizer.decode(ids)


def test_out_of_range_is_an_error_in_words(teller: StoryGenerator) -> None:
    with pytest.raises(InvalidParams, match="top_p must be a number from 0 to 1"):
        teller.generate("The fox", top_p=1.5)


def test_score_yields_a_step_for_each_token_and_the_end(teller: StoryGenerator) -> None:
    steps = list(teller.score("The fox ran."))
    assert "".join(step.text for step in steps) == "The fox ran."
    assert len(steps) == len(teller.model.tokenizer.encode("The fox ran.")) + 1
    assert all(step.logprob <= 0 for step in steps)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        StoryGenerator(tmp_path)
    with pytest.raises(CheckpointInvalid, match="pickled PyTorch file"):
        StoryGenerator("x.pt")


def test_the_settings_model_is_taken_when_none_is_named(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORYTELLER_MODEL", str(tiny_checkpoint))
    assert repr(StoryGenerator()) == "StoryGenerator('tiny')"


def talk(teller: StoryGenerator, *lines: str) -> str:
    output = io.StringIO()
    teller.interactive(io.StringIO("".join(f"{line}\n" for line in lines)), output)
    return output.getvalue()


def test_a_line_is_told_on_from(teller: StoryGenerator) -> None:
    said = talk(teller, "seed 4", "len 12", "The fox", "quit")
    assert shown(teller.generate("The fox", max_len=12, seed=4)) in said
    assert "(seed 4)" in said


def test_an_empty_line_tells_from_nothing(teller: StoryGenerator) -> None:
    assert "(seed 8)" in talk(teller, "seed 8", "len 1", "", "quit")


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("temp 0.7", "temperature", 0.7),
        ("len 200", "max_len", 200),
        ("topk 40", "top_k", 40),
        ("topp 0.9", "top_p", 0.9),
        ("TEMP 1", "temperature", 1),
    ],
)
def test_commands_change_parameters(teller: StoryGenerator, line: str, field: str, value: float) -> None:
    from storyteller.interactive import Conversation

    conversation = Conversation(teller, io.StringIO())
    conversation.hear(line)
    assert getattr(conversation.params, field) == value


def test_a_command_alone_says_its_value(teller: StoryGenerator) -> None:
    assert "temp: 0.9" in talk(teller, "temp")


def test_retry_takes_the_next_seed(teller: StoryGenerator) -> None:
    said = talk(teller, "retry", "seed 4", "len 5", "The fox", "retry", "retry", "quit")
    assert "nothing was told yet" in said
    assert [line for line in said.splitlines() if line.startswith("(seed")] == ["(seed 4)", "(seed 5)", "(seed 6)"]


def test_seed_alone_goes_back_to_chance(teller: StoryGenerator) -> None:
    said = talk(teller, "seed 4", "seed", "len 1", "The fox", "The fox", "quit")
    seeds = [line for line in said.splitlines() if line.startswith("(seed")]
    assert len(set(seeds)) == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("temp 99", "temperature must be a number from 0 to 10"),
        ("len many", "len takes a number, not 'many'"),
        ("seed x", "seed takes a number"),
    ],
)
def test_a_mistake_is_answered_and_the_talk_goes_on(teller: StoryGenerator, line: str, words: str) -> None:
    said = talk(teller, line, "temp")
    assert words in said
    assert "temp: 0.9" in said


def test_a_word_that_is_nearly_a_command_is_told_with_a_question(teller: StoryGenerator) -> None:
    said = talk(teller, "len 1", "retyr", "quit")
    assert "did you mean retry?" in said
    assert "retyr" in said.split("did you mean")[1]


def test_words_that_begin_like_a_command_are_a_beginning(teller: StoryGenerator) -> None:
    said = talk(teller, "seed 1", "len 1", "Quit the house, said the fox", "\\help", "quit")
    assert "Quit the house, said the fox" in said
    assert said.count("(seed 1)") == 2
    assert "Ctrl-C" not in said


def test_help_names_every_command_and_quit_ends(teller: StoryGenerator) -> None:
    said = talk(teller, "help", "quit", "temp")
    for command in ("temp 0.7", "len 200", "topk 40", "topp 0.9", "seed 7", "retry", "help", "quit"):
        assert command in said
    assert "temp: 0.9" not in said


def test_the_end_of_input_ends_the_talk(teller: StoryGenerator) -> None:
    assert talk(teller).endswith("> \n")


def test_ctrl_c_keeps_what_was_told_and_goes_on(teller: StoryGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = type(teller).stream

    def interrupted(self: StoryGenerator, *args: object, **more: object) -> object:
        yield from list(stream(self, *args, **more))[:2]  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(type(teller), "stream", interrupted)
    said = talk(teller, "The fox", "temp", "quit")
    assert "The fox" in said
    assert "temp: 0.9" in said
