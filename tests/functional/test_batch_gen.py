"""``storyteller gen --prompts``: a whole file of prompts, in order, in parts, and on from where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from storyteller import StoryGenerator
from storyteller.cli import batch
from storyteller.cli.main import app

PROMPTS = ("The fox", "Once upon", "", "The owl ", "A ball", "In the wood", "They")


@pytest.fixture(autouse=True)
def model(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORYTELLER_MODEL", str(tiny_checkpoint))
    monkeypatch.setattr(batch, "SIDE_BY_SIDE", 3)
    lines = [json.dumps(prompt if number % 2 else {"prompt": prompt, "more": 1}) for number, prompt in enumerate(PROMPTS)]
    Path("prompts.jsonl").write_text("\n".join([*lines[:3], "", *lines[3:]]) + "\n", encoding="utf-8")
    return tiny_checkpoint


def gen(*arguments: str, input: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["gen", "-n", "6", "--prompts", *arguments], input=input)


def stories(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_prompt_gets_its_stories_in_order_and_as_gen_tells_them(model: Path) -> None:
    result = gen("prompts.jsonl", "--samples", "2", "--seed", "5", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    told = stories(result.stdout)
    assert [(one["index"], one["sample"]) for one in told] == [(index, sample) for index in range(7) for sample in range(2)]
    assert [one["seed"] for one in told] == list(range(5, 19))
    assert [one["prompt"] for one in told[::2]] == [prompt.rstrip() for prompt in PROMPTS]
    teller = StoryGenerator(model)
    assert [one["prompt"] + one["text"] for one in told] == [
        teller.generate(PROMPTS[one["index"]], max_len=6, seed=one["seed"]) for one in told
    ]


def test_a_line_may_have_its_own_seed_and_stdin_may_hold_the_prompts(model: Path) -> None:
    told = stories(gen("-", "--samples", "2", "--seed", "5", input=b'"The fox"\n{"prompt": "The owl", "seed": 40}\n').stdout)
    assert [one["seed"] for one in told] == [5, 6, 40, 41]


def test_parts_make_the_whole() -> None:
    whole = gen("prompts.jsonl", "--samples", "2", "--seed", "5").stdout
    parts = [stories(gen("prompts.jsonl", "--samples", "2", "--seed", "5", "--shard", f"{part}/3").stdout) for part in (1, 2, 3)]
    assert {one["index"] for one in parts[1]} == {1, 4}
    assert sorted((one for part in parts for one in part), key=lambda one: (one["index"], one["sample"])) == stories(whole)


@pytest.mark.parametrize("seed", [("--seed", "5"), ()])
@pytest.mark.parametrize("whole_lines", [0, 1, 3, 8, 13, 14])
def test_an_interrupted_telling_goes_on_to_the_same_file(seed: tuple[str, ...], whole_lines: int) -> None:
    arguments = ("prompts.jsonl", "--samples", "2", *seed, "--out", "stories.jsonl")
    out = Path("stories.jsonl")
    assert gen(*arguments).stdout == ""
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 14
    half = lines[whole_lines][:20] if 0 < whole_lines < 14 else b""
    out.write_bytes(b"".join(lines[:whole_lines]) + half)
    assert gen(*arguments).exit_code == 0
    if whole_lines or seed:
        assert out.read_bytes() == whole


@pytest.mark.parametrize(
    "other", [("--seed", "6"), ("--samples", "3"), ("--temperature", "0.3"), ("--shard", "1/2"), ("--raw",), ("--precision", "int8")]
)
def test_stories_of_another_telling_are_not_mixed_in(other: tuple[str, ...]) -> None:
    gen("prompts.jsonl", "--samples", "2", "--seed", "5", "--out", "stories.jsonl")
    before = Path("stories.jsonl").read_bytes()
    result = gen("prompts.jsonl", "--samples", "2", "--seed", "5", "--out", "stories.jsonl", *other)
    assert result.exit_code == 2
    assert "choose another --out" in result.stderr
    assert Path("stories.jsonl").read_bytes() == before


@pytest.mark.parametrize("content", ["hello", "hello\n", "[1]\n", '{"a": 1}\n'])
def test_a_file_of_something_else_is_left_alone(content: str) -> None:
    Path("notes.txt").write_text(content)
    result = gen("prompts.jsonl", "--out", "notes.txt")
    assert (result.exit_code, "holds no stories" in result.stderr) == (2, True)
    assert Path("notes.txt").read_text() == content


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"Once upon a time", "line 2 is not JSON"),
        (b"\xff", "line 2 is not JSON"),
        (b"[1]", "line 2 has no prompt"),
        (b'{"text": "x"}', "line 2 has no prompt"),
        (b'{"prompt": "x", "seed": -1}', "line 2: a seed must be"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: bytes, words: str) -> None:
    Path("bad.jsonl").write_bytes(b'"The fox"\n' + line + b"\n")
    result = gen("bad.jsonl")
    assert result.exit_code == 4
    assert words in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("none.jsonl",), 4, "none.jsonl cannot be read"),
        (("prompts.jsonl", "The fox"), 2, "prompt does not go with it"),
        (("prompts.jsonl", "--json"), 2, "json does not go with it"),
        (("prompts.jsonl", "--shard", "0/3"), 2, "i from 1 to n"),
        (("prompts.jsonl", "--shard", "4/3"), 2, "i from 1 to n"),
        (("prompts.jsonl", "--shard", "x"), 2, "i from 1 to n"),
    ],
)
def test_what_makes_no_sense(arguments: tuple[str, ...], code: int, words: str) -> None:
    result = gen(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr


def test_out_without_prompts() -> None:
    result = CliRunner().invoke(app, ["gen", "The fox", "--out", "x"])
    assert (result.exit_code, "go with --prompts" in result.stderr) == (2, True)


def test_only_a_few_prompts_are_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    told: list[int] = []
    tell = batch.stream_batch

    def counted(name: Any, prompts: Any, *more: Any, **options: Any) -> Any:
        told.append(len(prompts))
        assert len(read) <= sum(told)
        return tell(name, prompts, *more, **options)

    prompt = batch._prompt
    monkeypatch.setattr(batch, "stream_batch", counted)
    monkeypatch.setattr(batch, "_prompt", lambda *more: read.append(1) or prompt(*more))
    assert gen("prompts.jsonl").exit_code == 0
    assert told == [3, 3, 1]
