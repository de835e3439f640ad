from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from storyteller.analysis.embedding import EmbeddingMap, embedding_map
from storyteller.analysis.words import NAMES, group_of, whole_words, word_groups
from storyteller.checkpoint.format import write_checkpoint
from storyteller.checkpoint.load import LoadedModel, load
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.params import SamplingParams
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import DependencyMissing, UsageInvalid

ANIMALS = ("dog", "cat", "fox", "owl", "bear", "frog", "duck", "goat", "bird", "fish")
FEELINGS = ("happy", "sad", "angry", "proud", "glad", "shy", "calm", "brave", "lonely", "bored")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Animals lie along one axis, feelings along another, with a little noise; the fox is nearest to the owl."""
    text = " ".join((*ANIMALS, *FEELINGS, "Lily", "the"))
    tokenizer = Tokenizer.train([f" {text}"] * 50, 420)
    config = GRUConfig(vocab_size=tokenizer.vocab_size, embed_dim=8, hidden_dim=4, num_layers=1, dropout=0.0)
    weights = {name: np.zeros(shape, np.float32) for name, shape in config.shapes().items()}
    table = weights["embedding.weight"]
    table[:] = np.random.default_rng(2).normal(0, 0.15, table.shape)
    for axis, words in enumerate((ANIMALS, FEELINGS)):
        for word in words:
            table[tokenizer.encode(f" {word}")[0], axis] += 1
    fox, owl = (tokenizer.encode(f" {word}")[0] for word in ("fox", "owl"))
    table[owl] = 2 * table[fox]
    path = tmp_path_factory.mktemp("embedding") / "made"
    write_checkpoint(path, config, weights, tokenizer, SamplingParams(), {}, "# made\n")
    return load(path)


def test_every_word_list_word_is_in_one_group_only() -> None:
    groups = {group: words for group, words in word_groups().items() if group != NAMES}
    total = sum(len(words) for words in groups.values())
    assert total > 1000
    assert total == len(set().union(*groups.values()))


@pytest.mark.parametrize(
    ("word", "group"),
    [
        ("dog", "animals"),
        ("Dog", "animals"),
        ("Lily", "names"),
        ("mommy", "family"),
        ("happy", "feelings"),
        ("ran", "verbs"),
        ("park", "places"),
        ("the", "function"),
        ("!", "punctuation"),
        ("xylograph", "other"),
    ],
)
def test_words_have_groups(word: str, group: str) -> None:
    assert group_of(word) == group


def test_whole_words_are_a_space_and_letters(model: LoadedModel) -> None:
    found = whole_words(model.tokenizer)
    assert {*ANIMALS, *FEELINGS, "Lily", "the"} <= set(found.values())
    for id, word in found.items():
        assert model.tokenizer.token_texts[id] == f" {word}"
        assert word.isalpha()
        assert len(word) > 1 or word in "aI"


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_what_is_alike_lies_together(model: LoadedModel, method: str) -> None:
    record = embedding_map(model, method=method)  # type: ignore[arg-type]
    assert record.points.shape == (len(record.words), 2)
    assert record.groups == tuple(group_of(word) for word in record.words)
    animals = record.points[[record.words.index(word) for word in ANIMALS]]
    feelings = record.points[[record.words.index(word) for word in FEELINGS]]
    apart = np.linalg.norm(animals.mean(0) - feelings.mean(0))
    for group in (animals, feelings):
        assert apart > 1.5 * np.linalg.norm(group - group.mean(0), axis=1).mean()
    assert 0.7 < record.trustworthiness <= 1
    assert 0 < record.kept <= 1


def test_neighbours_are_those_by_cosine(model: LoadedModel) -> None:
    record = embedding_map(model, method="pca", queries=["fox", "happy"], nearest=5)
    assert record.queries == ("fox", "happy")
    assert record.neighbours[0][0] == "owl"
    assert record.cosines[0, 0] == pytest.approx(1, abs=1e-6)
    table = model.checkpoint.weights()["embedding.weight"].astype(np.float64)
    ids = [model.tokenizer.encode(f" {word}")[0] for word in ("happy", record.neighbours[1][0])]
    one, other = table[ids]
    assert record.cosines[1, 0] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-6)
    assert (np.diff(record.cosines, axis=1) <= 0).all()
    assert set(record.neighbours[1]) <= set(FEELINGS)


def test_pca_says_what_its_axes_hold(model: LoadedModel) -> None:
    record = embedding_map(model, method="pca")
    assert len(record.explained) == 2
    assert record.explained[0] >= record.explained[1] > 0
    assert record.points.var(axis=0)[0] >= record.points.var(axis=0)[1]


def test_a_picture_that_loses_nothing_says_so(model: LoadedModel) -> None:
    flat = embedding_map(model, method="pca")
    assert flat.kept < 1
    two = model.checkpoint.weights()["embedding.weight"]
    assert two.shape[1] > 2
    from storyteller.analysis.embedding import _kept, _trustworthiness

    random = np.random.default_rng(0)
    angles = random.uniform(0, 2 * np.pi, 40)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    assert _kept(circle, circle, 5) == 1
    assert _trustworthiness(circle, circle, 5) == pytest.approx(1)
    assert _kept(circle, random.normal(size=(40, 2)), 5) < 0.4


def test_the_same_seed_gives_the_same_map(model: LoadedModel, tmp_path: Path) -> None:
    one, other = embedding_map(model, seed=3), embedding_map(model, seed=3)
    assert np.array_equal(one.points, other.points)
    one.save(tmp_path / "map")
    assert np.array_equal(EmbeddingMap.load(tmp_path / "map").points, one.points)


def test_what_makes_no_map_is_refused(model: LoadedModel, tiny_checkpoint: Path) -> None:
    with pytest.raises(UsageInvalid, match="no method 'mds'"):
        embedding_map(model, method="mds")  # type: ignore[arg-type]
    with pytest.raises(UsageInvalid, match="'zebra' is not among the words"):
        embedding_map(model, queries=["zebra"])
    few = embedding_map(model, most=12, method="pca")
    assert len(few.words) == 12


@pytest.mark.skipif(importlib.util.find_spec("umap") is not None, reason="umap is installed here")
def test_umap_is_asked_for_in_words(model: LoadedModel) -> None:
    with pytest.raises(DependencyMissing, match="umap is not installed"):
        embedding_map(model, method="umap")
