"""Importing PyTorch files: what is recognised, what is refused, and that nothing in a file is run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from storyteller.checkpoint.format import read_checkpoint, verify
from storyteller.checkpoint.importing import import_pytorch
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import CheckpointInvalid

VOCAB = 300


class Reference(nn.Module):
    """A language model as a person would write it, with names of their own."""

    def __init__(self, embed: int = 6, hidden: int = 8, layers: int = 2, cell: Any = nn.GRU, **more: Any) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(VOCAB, embed)
        self.rnn = cell(embed, hidden, layers, batch_first=True, **more)
        self.fc_out = nn.Linear(hidden, VOCAB)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.fc_out(self.rnn(self.token_embedding(ids))[0])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(Tokenizer.train(["The fox found a red ball. The fox ran home."] * 4, VOCAB).to_str(), encoding="utf-8")
    return path


def saved(folder: Path, content: Any) -> Path:
    path = folder / "gru_story_model.pt"
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 0.1}]}},
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}, "loss": 1.5},
        lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
        lambda state: {name: value.double() for name, value in state.items()},
    ],
)
@pytest.mark.parametrize(("embed", "hidden", "layers"), [(6, 8, 2), (8, 8, 1)])
def test_a_model_in_any_common_wrapping_computes_what_it_did(
    tmp_path: Path, tokenizer: Path, wrap: Any, embed: int, hidden: int, layers: int
) -> None:
    torch.manual_seed(3)
    model = Reference(embed, hidden, layers).eval()
    checkpoint = import_pytorch(saved(tmp_path, wrap(model.state_dict())), tokenizer, tmp_path / "out")
    assert (checkpoint.config.embed_dim, checkpoint.config.hidden_dim, checkpoint.config.num_layers) == (embed, hidden, layers)
    assert not checkpoint.config.tie_weights
    from storyteller.checkpoint.reference import reference_logits

    ids = np.arange(40).reshape(20, 2)
    with torch.no_grad():
        expected = model(torch.from_numpy(ids.T)).numpy().swapaxes(0, 1)
    np.testing.assert_allclose(reference_logits(checkpoint.config, checkpoint.weights(), ids), expected, atol=1e-5)
    assert verify(tmp_path / "out").sealed


def test_shared_and_missing_parts(tmp_path: Path, tokenizer: Path) -> None:
    model = Reference(8, 8, 1, bias=False)
    model.fc_out = nn.Linear(8, VOCAB, bias=False)
    model.fc_out.weight = model.token_embedding.weight
    checkpoint = import_pytorch(saved(tmp_path, model.state_dict()), tokenizer, tmp_path / "out")
    assert checkpoint.config.tie_weights
    assert not checkpoint.weights()["gru.bias_ih_l0"].any()
    only = {name: value for name, value in model.state_dict().items() if not name.startswith("fc_out")}
    assert import_pytorch(saved(tmp_path, only), tokenizer, tmp_path / "again").config == checkpoint.config


def without(state: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in names}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: Reference(cell=nn.LSTM).state_dict(), "an LSTM, and storyteller runs GRUs only"),
        (lambda: Reference(cell=nn.RNN).state_dict(), "a plain RNN"),
        (lambda: Reference(bidirectional=True).state_dict(), "both directions"),
        (lambda: nn.Linear(3, 4).state_dict(), "no state dict with a GRU"),
        (lambda: [1, 2], "no state dict with a GRU"),
        (lambda: {**Reference().state_dict(), "attention.weight": torch.zeros(4, 4)}, "belong to no GRU language model: attention.weight"),
        (lambda: {**Reference().state_dict(), "steps": torch.zeros(3)}, "belong to no GRU language model: steps"),
        (lambda: without(Reference().state_dict(), "fc_out.weight"), "cannot be told from the other tensors"),
        (lambda: without(Reference().state_dict(), "rnn.weight_hh_l0"), "first recurrent layer in the file is not whole"),
        (lambda: without(Reference().state_dict(), "rnn.weight_hh_l1"), "gru.weight_hh_l1 should have the shape (24, 8), but has none"),
        (lambda: {**Reference().state_dict(), "other.weight_ih_l0": torch.zeros(24, 6)}, "2 recurrent networks"),
        (lambda: {**Reference().state_dict(), "fc_out.weight": torch.zeros(20, 8)}, "has 300 rows, the output layer 20"),
        (lambda: {**Reference().state_dict(), "rnn.bias_ih_l0": torch.zeros(24, dtype=torch.int64)}, "int64, which is no plain tensor"),
        (lambda: {**Reference().state_dict(), "rnn.bias_ih_l0": torch.full((24,), float("nan"))}, "numbers that float32 cannot hold"),
        (lambda: Reference(), "holds more than tensors; nothing in it was run"),
    ],
)
def test_anything_else_is_refused_with_words_and_leaves_nothing(tmp_path: Path, tokenizer: Path, content: Any, words: str) -> None:
    with pytest.raises(CheckpointInvalid) as caught:
        import_pytorch(saved(tmp_path, content()), tokenizer, tmp_path / "out")
    assert words in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["gru_story_model.pt"]


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_file_that_would_run_code_runs_none(tmp_path: Path, tokenizer: Path, write: Any) -> None:
    trace = tmp_path / "executed"
    write({**Reference().state_dict(), "surprise": Touch(trace)}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointInvalid, match="nothing in it was run"):
        import_pytorch(tmp_path / "bad.pt", tokenizer, tmp_path / "out")
    assert not trace.exists()


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_damaged_file(tmp_path: Path, tokenizer: Path, keep: int) -> None:
    path = saved(tmp_path, Reference().state_dict())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointInvalid, match="is damaged"):
        import_pytorch(path, tokenizer, tmp_path / "out")


def test_a_file_that_is_not_there(tmp_path: Path, tokenizer: Path) -> None:
    with pytest.raises(CheckpointInvalid, match="there is no file"):
        import_pytorch(tmp_path / "none.pt", tokenizer, tmp_path / "out")
    with pytest.raises(CheckpointInvalid, match=r"none.json cannot be read"):
        import_pytorch(tmp_path / "none.pt", tmp_path / "none.json", tmp_path / "out")


def test_tokenizers_that_do_not_fit(tmp_path: Path, tokenizer: Path) -> None:
    from tokenizers import Tokenizer as Bpe
    from tokenizers import models, pre_tokenizers, trainers

    path = saved(tmp_path, Reference().state_dict())
    large = tmp_path / "large.json"
    large.write_text(Tokenizer.train([f"{number} other words make tokens" for number in range(999)], 320).to_str())
    with pytest.raises(CheckpointInvalid, match=r"tokens, but the network in .* 300"):
        import_pytorch(path, large, tmp_path / "out")
    spaceless = Bpe(models.BPE())
    spaceless.pre_tokenizer = pre_tokenizers.Whitespace()
    spaceless.train_from_iterator(["The fox ran — home."] * 4, trainers.BpeTrainer(special_tokens=["<|endoftext|>"], show_progress=False))
    spaceless.save(str(large))
    with pytest.raises(CheckpointInvalid, match="byte-level"):
        import_pytorch(path, large, tmp_path / "out")
    large.write_text("{}")
    with pytest.raises(CheckpointInvalid, match=r"large.json: not a tokenizer"):
        import_pytorch(path, large, tmp_path / "out")


def test_a_directory_that_is_there_is_left_alone(tmp_path: Path, tokenizer: Path, tiny_checkpoint: Path) -> None:
    before = read_checkpoint(tiny_checkpoint).sha256
    with pytest.raises(CheckpointInvalid, match="already there"):
        import_pytorch(saved(tmp_path, Reference().state_dict()), tokenizer, tiny_checkpoint)
    assert verify(tiny_checkpoint).sha256 == before
