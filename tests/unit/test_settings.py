"""Settings: what wins, where it came from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from storyteller import paths
from storyteller.engine.params import SamplingParams
from storyteller.errors import ConfigInvalid, InvalidParams, UsageInvalid
from storyteller.settings import MEANINGS, SIMPLE, STYLES, TABLES, Settings, check_setting, read_settings, sampling_params

GENERATION = SamplingParams(temperature=0.9, top_p=0.95, max_len=222)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "storyteller.toml"


def user_file(text: str) -> Path:
    path = paths.config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_said_means_the_defaults_and_their_origin() -> None:
    settings = read_settings()
    assert settings == Settings(origins=settings.origins)
    assert set(settings.origins.values()) == {"default"}


def test_each_place_wins_over_the_one_before(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tempo() -> tuple[float, str]:
        settings = read_settings()
        return settings.tempo, settings.origins["tempo"]

    assert tempo() == (30.0, "default")
    user = user_file("tempo = 1")
    assert tempo() == (1.0, str(user))
    project.write_text("tempo = 2", encoding="utf-8")
    assert tempo() == (2.0, str(project))
    monkeypatch.setenv("STORYTELLER_TEMPO", "3")
    assert tempo() == (3.0, "STORYTELLER_TEMPO")
    flagged = read_settings({"tempo": 4.0, "model": None})
    assert (flagged.tempo, flagged.origins["tempo"], flagged.origins["model"]) == (4.0, "flag", "default")


def test_an_empty_variable_says_nothing() -> None:
    assert read_settings(environ={"STORYTELLER_MODEL": ""}).model is None


@pytest.mark.parametrize(("text", "threads"), [("auto", None), ("3", 3)])
def test_threads_are_a_number_or_auto(text: str, threads: int | None) -> None:
    assert read_settings(environ={"STORYTELLER_THREADS": text}).threads == threads
    assert read_settings({"threads": text}, environ={}).threads == threads


def test_styles_and_sampling_of_both_files_are_laid_over_each_other(project: Path) -> None:
    user_file("[sampling]\nmax_len = 10\ntop_k = 5\n[styles.bedtime]\ntemperature = 0.6\n")
    project.write_text("[sampling]\nmax_len = 20\n[styles.silly]\ntemperature = 2\n", encoding="utf-8")
    settings = read_settings()
    assert settings.sampling == {"max_len": 20, "top_k": 5}
    assert set(settings.styles) == {"bedtime", "silly"}


def test_each_value_of_a_table_has_an_origin_of_its_own(project: Path) -> None:
    user = user_file("[sampling]\nmax_len = 10\ntop_k = 5\n[sources]\nbears = 'a/bears'\n")
    project.write_text("[sampling]\nmax_len = 20\n[styles.silly]\ntemperature = 2\n", encoding="utf-8")
    origins = read_settings().origins
    assert (origins["sampling.max_len"], origins["sampling.top_k"]) == (str(project), str(user))
    assert (origins["styles.silly"], origins["sources.bears"]) == (str(project), str(user))


def test_every_setting_has_a_meaning() -> None:
    assert set(MEANINGS) == {*SIMPLE, *TABLES}


@pytest.mark.parametrize(
    ("key", "value"),
    [("tempo", 3), ("sampling.top_k", 4), ("styles.bedtime.top_p", 0.5), ("styles.bedtime", {"top_p": 0.5}), ("sources.bears", "a/bears")],
)
def test_a_setting_by_its_key(key: str, value: object) -> None:
    check_setting(key, value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("temop", 3, "there is no setting 'temop'; did you mean tempo?"),
        ("tempo.x", 3, "there is no setting 'tempo.x'"),
        ("sampling.", 3, "there is no setting 'sampling.'"),
        ("sampling.top_k.x", 3, "there is no setting 'sampling.top_k.x'"),
        ("sampling.topk", 3, "did you mean top_k?"),
        ("styles.bedtime.top_p", 2, "top_p must be a number from 0 to 1"),
        ("color", "blue", "color must be one of"),
    ],
)
def test_a_key_or_value_that_is_not_legal(key: str, value: object, words: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        check_setting(key, value)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle = 'x'", "there is no setting 'modle'; did you mean model?"),
        ("tempo = -1", "tempo must be a number from 0"),
        ("tempo = true", "tempo must be a number from 0"),
        ("tempo = nan", "tempo must be a number from 0"),
        ("threads = 0", "threads must be 'auto' or a whole number from 1 to 1024"),
        ("color = 'allways'", "must be one of auto, always, never, not 'allways'; did you mean always?"),
        ("device = 3", "device must be one of"),
        ("model = 3", "model must be a name in quotes"),
        ("style = ''", "style must be a name in quotes"),
        ("sampling = 3", "a table of sampling parameters"),
        ("styles = 3", "styles must be tables"),
        ("[styles]\nbedtime = 3", "a table of sampling parameters"),
        ("sources = 3", "sources must be a table"),
        ("[sources]\nbears = 3", "sources must be a table of texts"),
        ("[sampling]\ntop_p = 2", "top_p must be a number from 0 to 1"),
        ("[styles.bedtime]\ntemprature = 1", "there is no sampling parameter 'temprature'; did you mean temperature?"),
        ("tempo = ", "is not TOML"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_place(project: Path, text: str, words: str) -> None:
    project.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigInvalid) as caught:
        read_settings()
    assert words in caught.value.message
    assert str(project) in caught.value.message


def test_a_file_that_is_no_text_is_named(project: Path) -> None:
    project.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigInvalid, match="is not TOML"):
        read_settings()


def test_a_mistake_in_a_variable_is_named() -> None:
    with pytest.raises(ConfigInvalid, match="STORYTELLER_TEMPO: tempo must be a number"):
        read_settings(environ={"STORYTELLER_TEMPO": "soon"})


def test_parameters_are_the_models_own_when_nothing_is_said() -> None:
    assert sampling_params(GENERATION, {}, Settings()) == GENERATION


def test_single_options_win_over_style_over_sampling_over_model() -> None:
    settings = Settings(sampling={"max_len": 50, "temperature": 0.1, "top_k": 9}, styles={"bedtime": {"temperature": 0.2, "top_k": 8}})
    params = sampling_params(GENERATION, {}, settings, style="bedtime", overrides={"top_k": 7})
    assert (params.top_p, params.max_len, params.temperature, params.top_k) == (0.95, 50, 0.2, 7)


def test_the_settings_style_counts_when_none_is_asked_for() -> None:
    settings = Settings(style="careful")
    assert sampling_params(GENERATION, {}, settings).temperature == STYLES["careful"]["temperature"]
    assert sampling_params(GENERATION, {}, settings, style="wild").temperature == STYLES["wild"]["temperature"]


def test_a_models_own_style_changes_only_what_differs_from_its_defaults() -> None:
    own = {"wild": SamplingParams(temperature=1.3, top_p=0.95, max_len=222)}
    params = sampling_params(GENERATION, own, Settings(sampling={"max_len": 50}), style="wild")
    assert (params.temperature, params.max_len) == (1.3, 50)


def test_a_users_style_goes_before_a_models_of_that_name() -> None:
    own = {"wild": SamplingParams(temperature=1.3)}
    assert sampling_params(GENERATION, own, Settings(styles={"wild": {"temperature": 1.7}}), style="wild").temperature == 1.7


@pytest.mark.parametrize("style", STYLES)
def test_built_in_styles_are_legal(style: str) -> None:
    assert sampling_params(GENERATION, {}, Settings(), style=style).max_len == 222


def test_an_unknown_style_names_the_nearest_and_all() -> None:
    with pytest.raises(UsageInvalid, match="there is no style 'wlid'; did you mean wild") as caught:
        sampling_params(GENERATION, {}, Settings(styles={"bedtime": {}}), style="wlid")
    assert "balanced, bedtime, careful, wild" in caught.value.hint


def test_an_option_out_of_range_names_the_range() -> None:
    with pytest.raises(InvalidParams, match="temperature must be a number from 0 to 10"):
        sampling_params(GENERATION, {}, Settings(), overrides={"temperature": 11})
