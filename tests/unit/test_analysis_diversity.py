from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storyteller.analysis.diversity import MEASURES, GenerationDiversity, generation_diversity, pair_similarity, self_bleu
from storyteller.checkpoint.load import LoadedModel, load
from storyteller.engine.generate import stream
from storyteller.engine.params import SamplingParams
from storyteller.engine.repetition import distinct_n, words_of
from storyteller.errors import InvalidParams, UsageInvalid


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> LoadedModel:
    return load(tiny_checkpoint)


@pytest.fixture(scope="module")
def record(tiny: LoadedModel) -> GenerationDiversity:
    return generation_diversity(tiny, "The fox", temperatures=(0.3, 1.5), samples=4, new_tokens=30, seed=9)


def test_stories_and_numbers_are_those_of_single_streams(tiny: LoadedModel, record: GenerationDiversity) -> None:
    for row, temperature in enumerate((0.3, 1.5)):
        for sample in range(4):
            steps = list(stream(tiny, "The fox", SamplingParams(temperature=temperature, max_len=30), 9 + sample))
            told = "".join(step.text for step in steps)
            assert record.stories[row][sample] == told
            values = {measure: record.values[measure][row, sample] for measure in MEASURES}
            assert values["length"] == len(steps)
            assert values["perplexity"] == pytest.approx(math.exp(-np.mean([step.logprob for step in steps])), rel=1e-6)
            assert values["distinct_2"] == distinct_n(words_of(told), 2)


def test_means_lie_within_their_intervals(record: GenerationDiversity) -> None:
    assert record.measures == tuple(MEASURES)
    assert (record.low <= record.means + 1e-12).all()
    assert (record.means <= record.high + 1e-12).all()
    place = record.measures.index("distinct_1")
    assert record.means[:, place] == pytest.approx(record.values["distinct_1"].mean(1))
    place = record.measures.index("perplexity")
    assert record.means[:, place] == pytest.approx(np.exp(np.log(record.values["perplexity"]).mean(1)))


def test_a_model_that_tells_one_story_has_no_diversity(scripted: Callable[..., Any]) -> None:
    record = generation_diversity(scripted(" they all went home. they all went home."), "", samples=3, new_tokens=60)
    means = dict(zip(record.measures, record.means[0], strict=True))
    assert means["self_bleu"] == pytest.approx(100)
    assert means["repeated_4"] == pytest.approx(1 / 5)
    assert means["distinct_1"] == pytest.approx(4 / 8)
    assert means["perplexity"] == pytest.approx(1, abs=1e-3)
    assert record.similarity == pytest.approx(np.ones((9, 9)))
    assert (record.ended == 1).all()


def test_the_interval_of_a_share_is_wilsons(scripted: Callable[..., Any]) -> None:
    record = generation_diversity(scripted(" they all went home."), "", temperatures=(1.0,), samples=20, new_tokens=60)
    place = record.measures.index("drift")
    # None of 20: Brown, Cai and DasGupta 2001 give 0 to z² / (n + z²).
    assert (record.means[0, place], record.low[0, place]) == (0, 0)
    assert record.high[0, place] == pytest.approx(3.8415 / 23.8415, abs=1e-4)


def test_a_name_out_of_nowhere_is_counted(scripted: Callable[..., Any]) -> None:
    story = " was a girl. She went to the park and saw a big dog near the tree. Then Tom ran home and was very sad."
    record = generation_diversity(scripted(story), "", temperatures=(1.0,), samples=2, new_tokens=200)
    assert record.values["drift"].tolist() == [[1.0, 1.0]]


def test_self_bleu_is_against_all_others() -> None:
    texts = ["the cat sat on the mat today", "the cat sat on the mat today", "a dog ran over some very old hills"]
    values = self_bleu(texts)
    assert values[0] == values[1] == pytest.approx(100)
    assert values[2] < 10


def test_similarity_is_jaccard_of_word_pairs() -> None:
    table = pair_similarity(["a b c", "A b, d!", "x", ""])
    assert table[0, 1] == pytest.approx(1 / 3)
    assert table[0, 2] == 0
    assert table[2, 3] == 1
    assert np.array_equal(table, table.T)
    assert (np.diag(table) == 1).all()


def test_it_comes_back_from_the_disk(record: GenerationDiversity, tmp_path: Path) -> None:
    record.save(tmp_path / "diversity")
    again = GenerationDiversity.load(tmp_path / "diversity")
    assert again.stories == record.stories
    assert np.array_equal(again.values["self_bleu"], record.values["self_bleu"])


def test_what_makes_no_sense_is_refused(tiny: LoadedModel) -> None:
    with pytest.raises(UsageInvalid, match="2 to 200 samples"):
        generation_diversity(tiny, samples=1)
    with pytest.raises(UsageInvalid, match="at one temperature"):
        generation_diversity(tiny, temperatures=())
    with pytest.raises(InvalidParams, match="temperature"):
        generation_diversity(tiny, temperatures=(-1,))
