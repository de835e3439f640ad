import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from storyteller.engine import evaluate as module
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.evaluate import Evaluation, evaluate
from storyteller.engine.model import GRULM
from storyteller.engine.score import score
from storyteller.engine.tokenizer import Tokenizer
from storyteller.engine.torch_runtime import TorchRuntime
from storyteller.errors import CorpusEmpty

STORIES = [
    "Once upon a time there was a fox.",
    "Zoë saw 🐉🐉 in the dragon's “cave”.\n\nIt was dark. " * 5,
    "",
    "a",
    "The end.",
    "<|endoftext|>",
    "They all went home. " * 9,
]


@pytest.fixture(scope="module")
def network(small_tokenizer: Tokenizer) -> GRULM:
    torch.manual_seed(5)
    model = GRULM(GRUConfig(vocab_size=small_tokenizer.vocab_size, embed_dim=6, hidden_dim=8, num_layers=2, dropout=0.5)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
    return model


@pytest.fixture(scope="module")
def model(network: GRULM, small_tokenizer: Tokenizer) -> SimpleNamespace:
    return SimpleNamespace(runtime=TorchRuntime(network, "cpu"), tokenizer=small_tokenizer)


def nats_by_torch(network: GRULM, tokenizer: Tokenizer, text: str) -> tuple[float, int]:
    ids = torch.tensor([tokenizer.end_id, *tokenizer.encode(text), tokenizer.end_id])
    with torch.no_grad():
        logits, _ = network.double()(ids[:-1, None])
    network.float()
    return float(F.cross_entropy(logits[:, 0], ids[1:], reduction="sum")), len(ids) - 1


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
@pytest.mark.parametrize("logit_bytes", [1, 4 * 330 * 7, 64 << 20])
def test_figures_agree_with_an_independent_computation(
    model: SimpleNamespace, network: GRULM, batch: int, logit_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOGIT_BYTES", logit_bytes)
    monkeypatch.setattr(module, "BATCHES_SORTED", 2)
    scored = [nats_by_torch(network, model.tokenizer, text) for text in STORIES]
    nats, tokens = sum(nats for nats, _ in scored), sum(tokens for _, tokens in scored)
    size = sum(len(text.encode()) for text in STORIES)
    result = evaluate(model, iter(STORIES), batch=batch)
    assert (result.tokens, result.bytes, result.stories) == (tokens, size, len(STORIES))
    assert result.nats_per_token == pytest.approx(nats / tokens, rel=1e-6)
    assert result.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert result.bits_per_byte == pytest.approx(nats / math.log(2) / size, rel=1e-6)


def test_score_sums_to_the_nats_of_evaluate(model: SimpleNamespace) -> None:
    for text in STORIES:
        if text:
            steps = list(score(model, text))
            result = evaluate(model, [text])
            assert -sum(step.logprob for step in steps) == pytest.approx(result.nats_per_token * result.tokens, rel=1e-5)
            assert len(steps) == result.tokens


def test_stories_do_not_depend_on_their_neighbours(model: SimpleNamespace) -> None:
    alone = [evaluate(model, [text]) for text in STORIES if text]
    together = evaluate(model, [text for text in STORIES if text])
    nats = sum(result.nats_per_token * result.tokens for result in alone)
    assert together.nats_per_token * together.tokens == pytest.approx(nats, rel=1e-6)


def test_bytes_are_those_of_the_text_as_it_can_be_written(model: SimpleNamespace) -> None:
    assert evaluate(model, ["\ud83d\ude00"]) == evaluate(model, ["😀"])
    assert evaluate(model, ["\ud83d"]).bytes == 3


def test_a_model_that_knows_the_text_has_no_surprise(scripted) -> None:
    result = evaluate(scripted("Zoë laughed."), ["Zoë laughed."])
    assert result.nats_per_token == pytest.approx(0, abs=1e-6)
    assert result.perplexity == pytest.approx(1)


def test_a_model_that_knows_nothing_has_the_surprise_of_its_vocabulary(small_tokenizer: Tokenizer) -> None:
    class Uniform:
        num_layers, hidden_dim, vocab_size = 1, 1, small_tokenizer.vocab_size

        def initial_state(self, batch: int) -> np.ndarray:
            return np.zeros((1, batch, 1), np.float32)

        def prefill(self, ids: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return np.full((*ids.shape, self.vocab_size), 1e4, np.float32), state

    result = evaluate(SimpleNamespace(runtime=Uniform(), tokenizer=small_tokenizer), STORIES)
    assert result.perplexity == pytest.approx(small_tokenizer.vocab_size)


def test_prefills_stay_within_memory(scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    model = scripted("Once")
    vocab_size = model.runtime.vocab_size
    monkeypatch.setattr(module, "LOGIT_BYTES", 4 * vocab_size * 10)
    sizes = []
    prefill = model.runtime.prefill

    def watched(ids, state):
        sizes.append(ids.size)
        return prefill(ids, state)

    monkeypatch.setattr(model.runtime, "prefill", watched)
    evaluate(model, STORIES, batch=4)
    assert max(sizes) <= 10


def test_the_record_has_these_fields() -> None:
    assert Evaluation.__slots__ == ("nats_per_token", "perplexity", "bits_per_byte", "tokens", "bytes", "stories")


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_nothing_to_evaluate_is_an_error_in_words(model: SimpleNamespace, texts: list[str]) -> None:
    with pytest.raises(CorpusEmpty, match="no text"):
        evaluate(model, texts)
