"""The settings of a training: every assignment is checked, presets fill what nobody assigned."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyteller.engine.architecture import PRESETS
from storyteller.errors import ConfigInvalid
from storyteller.training.config import CHANGEABLE, RULES, Config, parse_duration


def test_the_reference_form_works_as_its_users_write_it() -> None:
    from storyteller.training import Config as Imported

    config = Imported()
    config.vocab_size = 4000
    config.embed_dim = 512
    config.hidden_dim = 1024
    config.num_layers = 3
    config.batch_size = 256
    config.num_epochs = 100
    config.learning_rate = 0.001
    config.train_csv_path = "train.csv"
    config.val_csv_path = "valid.csv"
    config.csv_text_column = "text"
    config.custom_text_file = "more.txt"
    config.use_tinystories = False
    assert config.architecture == PRESETS["base"]
    assert config.total_iterations(per_epoch=7) == 700


def test_no_torch_is_needed_to_write_settings_down() -> None:
    code = "import sys; from storyteller.training import Config; Config(preset='tiny'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_every_field_has_a_legal_default_and_every_default_a_rule() -> None:
    config = Config()
    annotated = {name for name in Config.__annotations__ if not name.startswith("_")}
    assert annotated == set(RULES)
    for name, rule in RULES.items():
        assert rule.check(name, getattr(config, name)) == getattr(config, name)
    assert set(RULES) >= CHANGEABLE


@pytest.mark.parametrize(
    ("field", "value", "legal"),
    [
        ("vocab_size", 100, "257 to 65,535"),
        ("num_layers", 0, "1 to 64"),
        ("num_layers", True, "whole number"),
        ("batch_size", 2.5, "whole number from 1"),
        ("batch_size", "64", "whole number from 1"),
        ("dropout", 1.0, "0 to below 1"),
        ("dropout", float("nan"), "0 to below 1"),
        ("learning_rate", 0, "greater than 0 to 10"),
        ("learning_rate", float("inf"), "greater than 0 to 10"),
        ("grad_clip", -1.0, "from 0 up"),
        ("time_limit", "soon", "90m, 2h30m, 45s"),
        ("time_limit", 0, "greater than 0"),
        ("max_iterations", 0, "from 1 up, or None"),
        ("tie_weights", "yes", "true or false"),
        ("preset", "huge", "tiny, small, base"),
        ("precision", "int8", "auto, float32, bf16, fp16"),
        ("device", "tpu:0", "auto, cpu, cuda"),
        ("train_csv_path", "  ", "not empty"),
        ("train_csv_path", 7, "not empty"),
        ("files", ["a.txt", ""], "none of them empty"),
        ("files", None, "none of them empty"),
        ("learning_rate", None, "greater than 0"),
    ],
)
def test_nonsense_names_field_value_and_legal_range(field: str, value: object, legal: str) -> None:
    config = Config()
    before = getattr(config, field)
    with pytest.raises(ConfigInvalid) as caught:
        setattr(config, field, value)
    assert caught.value.message.startswith(f"{field} must be ")
    assert legal in caught.value.message
    assert caught.value.message.endswith(f"not {value!r}")
    assert getattr(config, field) == before


@pytest.mark.parametrize(("wrong", "right"), [("learing_rate", "learning_rate"), ("batchsize", "batch_size"), ("epochs", "num_epochs")])
def test_an_unknown_field_gets_a_suggestion(wrong: str, right: str) -> None:
    with pytest.raises(ConfigInvalid, match=f"{wrong}.*did you mean {right}"):
        setattr(Config(), wrong, 1)
    with pytest.raises(ConfigInvalid, match="no training setting 'zzz'"):
        Config(zzz=1)


def test_a_field_cannot_be_removed() -> None:
    with pytest.raises(ConfigInvalid, match="seed"):
        del Config().seed


def test_a_preset_sets_what_was_not_assigned_in_any_order() -> None:
    config = Config(hidden_dim=300, preset="tiny")
    assert (config.hidden_dim, config.embed_dim, config.batch_size) == (300, PRESETS["tiny"].embed_dim, 32)
    config = Config()
    config.batch_size = 9
    config.preset = "small"
    assert (config.batch_size, config.num_layers) == (9, 2)
    config.preset = "base"
    assert (config.batch_size, config.num_layers) == (9, 3)
    assert config.assigned == {"batch_size": 9, "preset": "base"}


def test_the_last_configuration_is_the_one_that_was_touched_last() -> None:
    first, second = Config(), Config()
    assert Config.last() is second
    first.seed = 5
    assert Config.last() is first
    Config.from_dict(second.to_dict())
    assert Config.last() is first


def test_settings_survive_their_dict() -> None:
    config = Config(preset="tiny", files=["a.txt", "b.csv:2"], time_limit="90m", sample_prompts=("Hello",))
    assert Config.from_dict(config.to_dict()) == config
    assert config != Config()
    assert config.time_limit == 5400
    assert "time_limit=5400.0" in repr(config)


@pytest.mark.parametrize(
    ("fields", "total"),
    [
        ({}, 70),
        ({"num_epochs": 3}, 21),
        ({"max_iterations": 5}, 5),
        ({"num_epochs": 3, "max_iterations": 30}, 21),
        ({"time_limit": "1h"}, None),
        ({"time_limit": "1h", "num_epochs": 2}, 14),
    ],
)
def test_how_many_iterations_are_asked_for(fields: dict[str, Any], total: int | None) -> None:
    assert Config(**fields).total_iterations(per_epoch=7) == total


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("2h30m", 9000), ("45s", 45), ("45", 45), ("1.5h", 5400), ("1d", 86400), ("1m30", 90), (3, 3), (0.5, 0.5)],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-3m", "5x", "0m", "1h 5", True, None, float("nan")])
def test_what_is_no_duration(text: object) -> None:
    assert parse_duration(text) is None


@given(st.sampled_from(sorted(RULES)), st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())))
def test_any_value_is_kept_or_refused_in_words(field: str, value: object) -> None:
    config = Config()
    try:
        setattr(config, field, value)
    except ConfigInvalid as error:
        assert field in error.message
    else:
        assert Config.from_dict(config.to_dict()) == config
