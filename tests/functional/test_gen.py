"""``storyteller gen`` as its users meet it: in this process where that tells all, in one of its own for signals, pipes and terminals."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from storyteller import StoryGenerator
from storyteller.checkpoint.load import load
from storyteller.cli.main import app

COMMAND = (sys.executable, "-m", "storyteller", "gen")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@pytest.fixture(autouse=True)
def model(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORYTELLER_MODEL", str(tiny_checkpoint))
    # Its graph is in the cache from here on, so that no test meets the line which says that it is being made.
    load(tiny_checkpoint)
    return tiny_checkpoint


def gen(*arguments: str, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["gen", *arguments], input=input)


def told(model: Path, prompt: str, **options: Any) -> str:
    return StoryGenerator(model).generate(prompt, **options)


def stories(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["stories"]
    return found


def test_stdout_holds_the_story_and_a_line_break_and_nothing_else(model: Path) -> None:
    result = gen("The fox", "--seed", "3", "-n", "20")
    assert result.exit_code == 0
    assert result.stdout == told(model, "The fox", seed=3, max_len=20) + "\n"
    assert result.stderr == ""


@pytest.mark.parametrize("spelling", ["--temp", "--temperature", "-t"])
def test_spellings_mean_the_same(model: Path, spelling: str) -> None:
    result = gen("The fox", spelling, "0.3", "-s", "3", "--max-new-tokens", "9", "-m", str(model))
    assert result.stdout == told(model, "The fox", temperature=0.3, seed=3, max_len=9) + "\n"


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (("--top-k", "5"), "top_k", 5),
        (("--top-p", "0.5"), "top_p", 0.5),
        (("--min-p", "0.1"), "min_p", 0.1),
        (("--typical-p", "0.4"), "typical_p", 0.4),
        (("--repetition-penalty", "1.2"), "repetition_penalty", 1.2),
        (("--presence-penalty", "0.2"), "presence_penalty", 0.2),
        (("--frequency-penalty", "0.3"), "frequency_penalty", 0.3),
        (("--penalty-window", "10"), "penalty_window", 10),
        (("--dry-multiplier", "0.8"), "dry_multiplier", 0.8),
        (("--dry-base", "2"), "dry_base", 2),
        (("--dry-allowed-length", "3"), "dry_allowed_length", 3),
        (("--dry-window", "99"), "dry_window", 99),
        (("--no-repeat-ngram", "4"), "no_repeat_ngram", 4),
        (("--ban", "cat", "--ban", "a dog"), "ban", ["cat", "a dog"]),
        (("--gentle",), "gentle", True),
        (("--stop", "The end"), "stop", ["The end"]),
        (("--until", "sentence"), "until", "sentence"),
        (("--ignore-end",), "ignore_end", True),
        (("--style", "careful"), "temperature", 0.5),
        (("--style", "careful", "-t", "0.7"), "temperature", 0.7),
    ],
)
def test_every_option_reaches_the_recipe(arguments: tuple[str, ...], field: str, value: object) -> None:
    result = gen("The fox", "--json", "-n", "2", *arguments)
    assert result.exit_code == 0, result.stderr
    assert stories(result)[0]["recipe"]["params"][field] == value


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("STORYTELLER_TEMPERATURE", "0.25", "temperature", 0.25),
        ("STORYTELLER_TOP_K", "7", "top_k", 7),
        ("STORYTELLER_STOP", "The end\nOnce upon", "stop", ["The end", "Once upon"]),
        ("STORYTELLER_BAN", "a dog", "ban", ["a dog"]),
        ("STORYTELLER_STYLE", "careful", "temperature", 0.5),
        ("STORYTELLER_MAX_LEN", "3", "max_len", 3),
    ],
)
def test_an_option_has_its_twin_in_the_environment(
    variable: str, value: str, field: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert stories(gen("The fox", "--json"))[0]["recipe"]["params"][field] == expected


def test_a_flag_wins_over_its_twin_and_over_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def params(*arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = stories(gen("The fox", "--json", "-n", "2", *arguments))[0]["recipe"]["params"]
        return found

    (tmp_path / "storyteller.toml").write_text("[sampling]\ntop_k = 11\n[styles.bedtime]\ntemperature = 0.6\n", encoding="utf-8")
    assert params()["top_k"] == 11
    assert params("--style", "bedtime")["temperature"] == 0.6
    monkeypatch.setenv("STORYTELLER_TOP_K", "12")
    assert params()["top_k"] == 12
    assert params("--top-k", "13")["top_k"] == 13


def test_samples_come_in_order_with_a_line_between(model: Path) -> None:
    result = gen("The fox", "--samples", "3", "--seed", "5", "-n", "12")
    singles = [told(model, "The fox", seed=seed, max_len=12) + "\n" for seed in (5, 6, 7)]
    assert result.stdout == "---\n".join(singles)


def test_json_is_one_object_that_always_holds_a_list(model: Path) -> None:
    result = gen("The fox ", "--json", "--samples", "2", "--seed", "5", "-n", "12")
    values = json.loads(result.stdout)
    assert values["schema_version"] == 1
    assert result.stderr == ""
    for number, story in enumerate(values["stories"]):
        assert set(story) == {"sample", "seed", "prompt", "text", "ids", "finish_reason", "stats", "recipe"}
        assert (story["sample"], story["seed"], story["prompt"]) == (number, 5 + number, "The fox")
        assert story["prompt"] + story["text"] == told(model, "The fox ", seed=5 + number, max_len=12)
        assert story["stats"]["tokens"] == len(story["ids"]) <= 12
        assert story["finish_reason"] in ("length", "end")
        assert story["recipe"]["seed"] == 5 + number
        assert len(story["recipe"]["sha256"]) == 64
    assert len(stories(gen("The fox", "--json", "-n", "1"))) == 1


def test_a_stream_is_a_json_object_for_every_token(model: Path) -> None:
    lines = gen("The fox", "--stream", "jsonl", "--samples", "2", "--seed", "5", "-n", "12").stdout.splitlines()
    for sample, story in enumerate(stories(gen("The fox", "--json", "--samples", "2", "--seed", "5", "-n", "12"))):
        events = [event for event in map(json.loads, lines) if event["sample"] == sample]
        assert [event["id"] for event in events] == story["ids"]
        assert "".join(event["text"] for event in events) == story["text"]
        assert [event["finish_reason"] for event in events[:-1]] == [None] * (len(events) - 1)
        assert events[-1]["finish_reason"] == story["finish_reason"]


def test_without_a_seed_the_story_is_another_each_time_and_its_seed_is_kept(model: Path) -> None:
    one, other = (stories(gen("The fox", "--json", "-n", "20"))[0] for _ in range(2))
    assert one["seed"] != other["seed"]
    assert told(model, "The fox", seed=one["seed"], max_len=20) == one["prompt"] + one["text"]


def test_verbose_tells_seed_model_and_recipe_beside_the_story() -> None:
    result = gen("The fox", "-n", "3", "--seed", "4", "--verbose")
    assert "seed: 4" in result.stderr
    recipe = next(line for line in result.stderr.splitlines() if line.startswith("recipe: "))
    assert json.loads(recipe.removeprefix("recipe: "))["seed"] == 4
    assert "model: " in result.stderr
    assert result.stdout == gen("The fox", "-n", "3", "--seed", "4").stdout


def test_stats_go_to_stderr(tmp_path: Path) -> None:
    result = gen("The fox", "-n", "9", "--stats", "--samples", "2", "--seed", "4", "--quiet")
    assert result.stdout == gen("The fox", "-n", "9", "--samples", "2", "--seed", "4").stdout
    assert len(re.findall(r"stats: \d+ tokens, .* tokens/s, first after .* s, perplexity .*, distinct-2 .*", result.stderr)) == 2
    assert "stats: all 2 together" in result.stderr


def test_raw_text_is_what_the_model_says(model: Path) -> None:
    result = gen("The fox", "--raw", "--seed", "9", "-n", "20")
    assert result.stdout.removesuffix("\n") == told(model, "The fox", seed=9, max_len=20, post_process=False)


def test_a_pipe_without_an_argument_and_a_dash_read_stdin(model: Path) -> None:
    expected = told(model, "The fox", seed=2, max_len=9) + "\n"
    assert gen("--seed", "2", "-n", "9", input="The fox\n").stdout == expected
    assert gen("-", "--seed", "2", "-n", "9", input="The fox\r\n").stdout == expected
    assert gen("--seed", "2", "-n", "9", input=b"\xef\xbb\xbfThe fox").stdout == expected


def test_with_an_argument_stdin_is_not_touched(model: Path) -> None:
    read, write = os.pipe()
    try:
        os.write(write, b"left alone")
        result = subprocess.run([*COMMAND, "The fox", "-s", "2", "-n", "9"], stdin=read, capture_output=True, text=True, timeout=60)
        assert result.stdout.startswith("The fox")
        assert os.read(read, 100) == b"left alone"
    finally:
        os.close(read)
        os.close(write)


def test_empty_and_closed_stdin_tell_from_nothing(model: Path) -> None:
    expected = told(model, "", seed=2, max_len=9) + "\n"
    assert gen("--seed", "2", "-n", "9", input="").stdout == expected
    closed = subprocess.run(
        f"exec {sys.executable} -m storyteller gen --seed 2 -n 9 <&-", shell=True, capture_output=True, encoding="utf-8", timeout=60
    )
    assert (closed.returncode, closed.stdout) == (0, expected)


def test_stdin_that_is_no_text_is_an_error_in_words() -> None:
    result = gen("--seed", "2", input=b"The \xff fox")
    assert result.exit_code == 4
    assert "error: what stdin holds is not UTF-8 text (byte 4)" in result.stderr


def test_bytes_that_are_no_text_in_an_argument_become_a_stand_in() -> None:
    result = subprocess.run([*COMMAND, b"The \xff fox", "-n", "1"], capture_output=True, timeout=60)
    assert result.returncode == 0
    assert result.stdout.startswith("The \ufffd fox".encode())


def test_colours_are_for_terminals_marks_for_the_rest() -> None:
    plain = gen("The fox", "-n", "30", "--seed", "3").stdout
    marked = gen("The fox", "-n", "30", "--seed", "3", "--confidence")
    assert "°" in marked.stdout
    assert "\x1b" not in marked.stdout + marked.stderr
    assert marked.stdout.replace("°", "") == plain
    assert "probability: sure (from 0.7), likely" in marked.stderr
    colored = gen("The fox", "-n", "30", "--seed", "3", "--confidence", "--color", "always", "--quiet")
    assert "\x1b[" in colored.stdout
    assert "°" not in colored.stdout
    assert re.sub(r"\x1b\[[\d;]*m", "", colored.stdout) == plain
    assert colored.stderr == ""


@pytest.mark.parametrize(
    ("variables", "arguments", "colored"),
    [
        ({"FORCE_COLOR": "1"}, (), True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, (), False),
        ({"FORCE_COLOR": "1"}, ("--color", "never"), False),
        ({"NO_COLOR": "1"}, ("--color", "always"), True),
        ({"STORYTELLER_COLOR": "always"}, (), True),
    ],
)
def test_who_asked_for_colour(
    variables: dict[str, str], arguments: tuple[str, ...], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[" in gen("The fox", "-n", "30", "--seed", "3", "--confidence", *arguments).stdout) is colored


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("-t", "11"), 2, "temperature must be a number from 0 to 10"),
        (("-t", "warm"), 2, "invalid value for '--temperature'"),
        (("--until", "dawn"), 2, "until must be 'length' or 'sentence'"),
        (("--samples", "0"), 2, "--samples"),
        (("--seed", "-1"), 2, "a seed must be a whole number from 0"),
        (("--stream", "xml"), 2, "--stream knows jsonl only"),
        (("--json", "--stream", "jsonl"), 2, "choose one"),
        (("--style", "wlid"), 2, "did you mean wild?"),
        (("--tempo", "-1"), 2, "tempo must be a number from 0"),
        (("--color", "blue"), 2, "color must be one of"),
        (("--temprature", "1"), 2, "did you mean"),
        (("-m", "no-such-model"), 3, "there is no model named 'no-such-model'"),
        (("-m", "./nowhere"), 3, "there is no model at ./nowhere"),
        (("-m", "x.pt"), 4, "never read"),
        (("--replay", "nowhere.json"), 4, "there is no file nowhere.json"),
    ],
)
def test_errors_are_words_and_a_code(arguments: tuple[str, ...], code: int, words: str) -> None:
    result = gen("The fox", *arguments) if "--replay" not in arguments else gen(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_adds_the_traceback_before_and_after_the_command() -> None:
    for arguments in (["--debug", "gen", "-m", "nope"], ["gen", "-m", "nope", "--debug"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 3
        assert "Traceback" in result.stderr
        assert "error: there is no model named 'nope'" in result.stderr


def test_a_replay_tells_the_same_stories_again(tmp_path: Path) -> None:
    first = gen("The fox ", "--samples", "2", "--json", "-n", "15", "--style", "wild", "--stop", "zzz")
    path = tmp_path / "fox.json"
    path.write_text(first.stdout, encoding="utf-8")
    again = gen("--replay", str(path), "--json")
    assert again.exit_code == 0
    for one, other in zip(stories(first), stories(again), strict=True):
        assert {**one, "stats": 0} == {**other, "stats": 0}
    text = gen("--replay", str(path)).stdout
    assert text == "---\n".join(f"{story['prompt']}{story['text']}".removesuffix("\n") + "\n" for story in stories(first))


def test_a_single_recipe_is_enough(model: Path, tmp_path: Path) -> None:
    recipe = stories(gen("The fox", "--json", "-n", "9", "--seed", "6"))[0]["recipe"]
    (tmp_path / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    assert gen("--replay", "recipe.json").stdout == told(model, "The fox", seed=6, max_len=9) + "\n"


def saved(path: Path, **changes: Any) -> Path:
    values = json.loads(gen("The fox", "--json", "-n", "9", "--seed", "6").stdout)
    story = values["stories"][0]
    for name, value in changes.items():
        (story["recipe"] if name in story["recipe"] else story)[name] = value
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def test_a_replay_by_another_model_is_refused(tmp_path: Path, model: Path) -> None:
    path = saved(tmp_path / "fox.json", sha256="0" * 64, model=str(model))
    result = gen("--replay", str(path))
    assert (result.exit_code, result.stdout) == (4, "")
    assert "told by another model" in result.stderr
    assert "000000000000…" in result.stderr


def test_a_replay_that_turns_out_otherwise_says_where_and_why(tmp_path: Path, model: Path) -> None:
    ids = stories(gen("The fox", "--json", "-n", "9", "--seed", "6"))[0]["ids"]
    path = saved(tmp_path / "fox.json", ids=[*ids[:4], ids[4] + 1, *ids[5:]], version="0.0.1", model=str(model))
    result = gen("--replay", str(path))
    assert result.exit_code == 1
    assert result.stdout == told(model, "The fox", seed=6, max_len=9) + "\n"
    assert "token 5 is another one" in result.stderr
    assert "version was 0.0.1" in result.stderr


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stories": []}', '{"stories": [1]}', '{"stories": [{"recipe": {"seed": 1}}]}', "x"])
def test_a_file_that_holds_no_story_is_an_error_in_words(tmp_path: Path, text: str) -> None:
    (tmp_path / "fox.json").write_text(text, encoding="utf-8")
    result = gen("--replay", "fox.json")
    assert result.exit_code == 4
    assert result.stderr.startswith("error: ")
    assert "hint: save one with: storyteller gen --json" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("The fox",), ("--seed", "3"), ("-t", "1"), ("--gentle",), ("--raw",), ("--samples", "2"), ("--ban", "x")]
)
def test_a_replay_leaves_nothing_to_choose(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = saved(tmp_path / "fox.json")
    result = gen("--replay", str(path), *arguments)
    assert result.exit_code == 2
    assert "cannot be chosen with --replay" in result.stderr


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    line = f"{sys.executable} -m storyteller gen -n 100000 --ignore-end --seed 1 'The fox' 2>err | head -c 10; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", line], capture_output=True, encoding="utf-8", errors="replace", timeout=120)
    assert result.stdout == "The fox" + result.stdout[7:-2] + "0\n"
    assert (tmp_path / "err").read_text(encoding="utf-8") == ""


def interrupted(*arguments: str, after: int = 200) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a run that gets a Ctrl-C when it has written so many bytes."""
    with subprocess.Popen([*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = process.stdout.read(after)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
        return process.returncode, (seen + rest).decode("utf-8", "replace"), errors.decode()


ENDLESS = ("-n", "1000000", "--seed", "1", "--ignore-end", "The fox")


def test_ctrl_c_keeps_the_text_ends_the_line_and_exits_130() -> None:
    code, out, errors = interrupted(*ENDLESS)
    assert code == 130
    assert out.startswith("The fox")
    assert len(out) >= 100
    assert out.endswith("\n")
    assert errors == ""


def test_ctrl_c_leaves_whole_json_of_what_was_told(model: Path) -> None:
    with subprocess.Popen([*COMMAND, "--json", "--verbose", *ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        process.stderr.readline()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    story = json.loads(out)["stories"][0]
    assert story["finish_reason"] == "interrupted"
    assert 0 < story["stats"]["tokens"] == len(story["ids"])


def test_an_error_while_telling_ends_the_line_and_writes_no_half_json(monkeypatch: pytest.MonkeyPatch) -> None:
    from storyteller.cli import stories as module
    from storyteller.errors import StorytellerError

    def broken(self: module.Stories) -> Any:
        yield from list(steps(self))[:3]
        raise StorytellerError("the machine stopped")

    steps = module.Stories._steps
    monkeypatch.setattr(module.Stories, "_steps", broken)
    result = gen("The fox", "--seed", "3", "-n", "9")
    assert result.exit_code == 1
    assert result.stdout.startswith("The fox")
    assert result.stdout.endswith("\n")
    assert result.stderr == "error: the machine stopped\n"
    assert gen("The fox", "--seed", "3", "-n", "9", "--json").stdout == ""


def test_seeds_of_several_stories_take_one_line() -> None:
    result = gen("The fox", "--seed", "3", "-n", "2", "--samples", "4", "--ignore-end", "--verbose")
    assert "seeds: 3 to 6, 4 of 4 cut (--max-len)\n" in result.stderr


def on_a_terminal(*arguments: str, typed: bytes = b"", **environment: str) -> tuple[int, str, float]:
    """Exit code, what a terminal showed (stderr included), and seconds."""
    main, other = pty.openpty()
    begin = time.monotonic()
    process = subprocess.Popen([*COMMAND, *arguments], stdin=other, stdout=other, stderr=other, env={**os.environ, **environment})
    os.close(other)
    os.write(main, typed)
    shown = b""
    while select.select([main], [], [], 60)[0]:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(main)
    return process.wait(timeout=60), shown.decode("utf-8", "replace").replace("\r\n", "\n"), time.monotonic() - begin


def test_on_a_terminal_a_story_comes_from_nothing_with_its_seed(model: Path) -> None:
    code, shown, _ = on_a_terminal("-n", "20", "--ignore-end", "--tempo", "0")
    assert code == 0
    seed = re.search(r"seed: (\d+)", shown)
    assert seed is not None
    assert "--max-len" in shown
    assert len(shown) > 40


def test_on_a_terminal_control_characters_are_shown_as_stand_ins(model: Path) -> None:
    piped = gen("The fox", "-n", "300", "--ignore-end", "--seed", "1").stdout
    assert CONTROLS.search(piped)
    _, shown, _ = on_a_terminal("The fox", "-n", "300", "--ignore-end", "--seed", "1", "--tempo", "0", "--quiet")
    assert not CONTROLS.search(shown)
    assert shown == CONTROLS.sub("\ufffd", piped).replace("\r\n", "\n")


def test_on_a_terminal_markup_in_a_story_is_only_text() -> None:
    _, shown, _ = on_a_terminal("[bold]The[/bold] fox", "-n", "1", "--tempo", "0", "--quiet")
    assert shown.startswith("[bold]The[/bold] fox")


def test_on_a_terminal_a_story_takes_the_time_of_reading() -> None:
    _, _, fast = on_a_terminal("The fox", "-n", "40", "--ignore-end", "--seed", "1", "--tempo", "0")
    _, _, slow = on_a_terminal("The fox", "-n", "40", "--ignore-end", "--seed", "1", "--tempo", "40")
    assert slow > 0.9
    assert slow > fast + 0.4


def test_no_color_on_a_terminal_gives_marks() -> None:
    _, shown, _ = on_a_terminal("The fox", "-n", "30", "--seed", "3", "--confidence", "--tempo", "0", NO_COLOR="1", TERM="xterm")
    assert "°" in shown
    assert "\x1b" not in shown
    _, shown, _ = on_a_terminal("The fox", "-n", "30", "--seed", "3", "--confidence", "--tempo", "0", TERM="xterm")
    assert "\x1b[1;38;5;167m" in shown
