"""Weights of a PyTorch file, brought into a checkpoint directory: the only place that reads one, and tensors are all that it reads.

``torch.load`` runs with ``weights_only=True``, so that nothing in the file is executed. Tensors are matched by name and shape to
embedding, GRU and output layer, under whatever names a program gave its modules; the architecture follows from the shapes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from storyteller.checkpoint.difference import SAMPLE_TEXT, sample_ids
from storyteller.checkpoint.format import Checkpoint, read_checkpoint, write_checkpoint
from storyteller.checkpoint.reference import reference_logits
from storyteller.engine.architecture import GRUConfig
from storyteller.engine.tokenizer import Tokenizer
from storyteller.errors import CheckpointInvalid, ConfigInvalid, DependencyMissing

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float32]

LARGEST_DIFFERENCE = 1e-3
WRAPPERS = re.compile(r"^(?:(?:module|_orig_mod)\.)+")
RECURRENT = re.compile(r"(?P<prefix>.*?)(?P<kind>weight|bias)_(?P<side>ih|hh)_l(?P<layer>\d+)(?P<reverse>_reverse)?")
CELLS = {4: "an LSTM", 1: "a plain RNN"}
HINT = "storyteller models import FILE.pt --tokenizer tokenizer.json wants the state dict of embedding, nn.GRU and output layer"


def import_pytorch(file: Path, tokenizer_file: Path, out: Path) -> Checkpoint:
    """Write the network in ``file`` and its tokenizer as the checkpoint directory ``out``, which must not be there yet.

    What was written is read back, and its logits are compared with those of ``torch.nn.GRU`` over the tensors as they were found.
    Raises :class:`CheckpointInvalid`, in words, for anything that is not such a network, and :class:`DependencyMissing` without torch.
    """
    tokenizer = _read_tokenizer(tokenizer_file)
    tensors = _read_tensors(file)
    config, weights = match(tensors)
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointInvalid(f"{tokenizer_file} has {tokenizer.vocab_size:,} tokens, but the network in {file} {config.vocab_size:,}")
    card = f"# {out.name}\n\nImported from the PyTorch file {file.name}; what it was trained on is not known here.\n"
    write_checkpoint(out, config, weights, tokenizer, training={"imported_from": file.name}, card=card)
    try:
        checkpoint = read_checkpoint(out)
        _check_forward(checkpoint, weights)
    except BaseException:
        shutil.rmtree(out)
        raise
    return checkpoint


def match(tensors: Mapping[str, Floats]) -> tuple[GRUConfig, dict[str, Floats]]:
    """The architecture, and the tensors under the names of :meth:`GRUConfig.shapes`; missing biases are zeros.

    Raises :class:`CheckpointInvalid` naming what does not fit.
    """
    recurrent, others = _split(tensors)
    layers = 1 + max(layer for layer, _ in recurrent)
    hidden = _hidden_dim(recurrent)
    embed = recurrent[0, "weight_ih"].shape[-1]
    matrices = {name: array for name, array in others.items() if array.ndim == 2}
    embedding, output = _embedding_and_output(matrices, embed, hidden)
    vocab = matrices[embedding].shape[0]
    tied = output is None or (embed == hidden and np.array_equal(matrices[embedding], matrices[output]))
    bias = _output_bias(others, output, vocab)
    odd = sorted(set(others) - {embedding, output, bias})
    if odd:
        raise CheckpointInvalid(f"the file holds tensors that belong to no GRU language model: {', '.join(odd[:3])}", HINT)
    try:
        config = GRUConfig(vocab_size=vocab, embed_dim=embed, hidden_dim=hidden, num_layers=layers, dropout=0.0, tie_weights=tied)
    except ConfigInvalid as error:
        raise CheckpointInvalid(f"the network in the file is not one that storyteller can run: {error.message}") from error
    found = {f"gru.{part}_l{layer}": array for (layer, part), array in recurrent.items()}
    found["embedding.weight"] = matrices[embedding]
    if output is not None and not tied:
        found["output.weight"] = matrices[output]
    if bias is not None:
        found["output.bias"] = others[bias]
    weights = {}
    for name, shape in config.shapes().items():
        array = found.get(name, np.zeros(shape, np.float32) if "bias" in name else None)
        if array is None or array.shape != shape:
            raise CheckpointInvalid(f"{name} should have the shape {shape}, but has {'none' if array is None else array.shape}", HINT)
        weights[name] = array
    return config, weights


def _read_tokenizer(file: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(file)
    except OSError as error:
        raise CheckpointInvalid(f"{file} cannot be read: {error.strerror or error}") from error
    except CheckpointInvalid as error:
        raise CheckpointInvalid(f"{file}: {error.message}") from error
    if len(tokenizer.token_bytes) != tokenizer.vocab_size or tokenizer.decode(tokenizer.encode(SAMPLE_TEXT)) != SAMPLE_TEXT:
        raise CheckpointInvalid(f"{file} does not give a text back as it was: storyteller tells with byte-level BPE only")
    return tokenizer


def _read_tensors(file: Path) -> dict[str, Floats]:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise DependencyMissing("a PyTorch file is read with torch, which is not installed", "pip install 'torch>=2.10,<2.14'") from error
    if not file.is_file():
        raise CheckpointInvalid(f"there is no file {file}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the bytes of the file make it raise
        raise CheckpointInvalid(
            f"{file} is damaged, or holds more than tensors; nothing in it was run", "save it again: torch.save(model.state_dict(), FILE)"
        ) from error
    state = _state_dict(content)
    if state is None:
        raise CheckpointInvalid(f"{file} holds no state dict with a GRU", HINT)
    found = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise CheckpointInvalid(
                f"{file} holds {name} as {str(tensor.dtype).removeprefix('torch.')}, which is no plain tensor of weights"
            )
        found[WRAPPERS.sub("", name)] = tensor.detach().to(torch.float32).numpy()
    return found


def _state_dict(content: Any) -> Mapping[str, Tensor] | None:
    """The first mapping of names to tensors, a GRU's among them, at the top or one level down."""
    import torch

    candidates = [content, *(content.values() if isinstance(content, Mapping) else ())]
    for candidate in candidates:
        if (
            isinstance(candidate, Mapping)
            and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in candidate.items())
            and any(RECURRENT.fullmatch(name) for name in candidate)
        ):
            return candidate
    return None


def _split(tensors: Mapping[str, Floats]) -> tuple[dict[tuple[int, str], Floats], dict[str, Floats]]:
    recurrent: dict[tuple[int, str], Floats] = {}
    others = {}
    prefixes = set()
    for name, array in tensors.items():
        found = RECURRENT.fullmatch(name)
        if found is None:
            others[name] = array
            continue
        if found["reverse"]:
            raise CheckpointInvalid("the network in the file reads in both directions, and so cannot tell a story from its beginning on")
        prefixes.add(found["prefix"])
        recurrent[int(found["layer"]), f"{found['kind']}_{found['side']}"] = array
    if len(prefixes) != 1:
        raise CheckpointInvalid(f"the file holds {len(prefixes)} recurrent networks, not one", HINT)
    if (0, "weight_ih") not in recurrent or (0, "weight_hh") not in recurrent:
        raise CheckpointInvalid("the first recurrent layer in the file is not whole", HINT)
    return recurrent, others


def _hidden_dim(recurrent: Mapping[tuple[int, str], Floats]) -> int:
    first = recurrent[0, "weight_hh"]
    if first.ndim != 2 or first.shape[1] == 0 or first.shape[0] != 3 * first.shape[1]:
        gates = first.shape[0] / first.shape[1] if first.ndim == 2 and first.shape[1] else 0
        kind = CELLS.get(int(gates)) if gates == int(gates) else None
        raise CheckpointInvalid(f"the recurrent layer in the file is {kind or 'no GRU'}, and storyteller runs GRUs only")
    return int(first.shape[1])


def _embedding_and_output(matrices: Mapping[str, Floats], embed: int, hidden: int) -> tuple[str, str | None]:
    """Names of the two matrices; no output where the embedding is all that there is and widths allow it to be both."""
    embeddings = [name for name, array in matrices.items() if array.shape[1] == embed]
    outputs = [name for name, array in matrices.items() if array.shape[1] == hidden]
    if embed == hidden and len(matrices) == 2:
        embeddings = [name for name in matrices if "emb" in name.lower()] or embeddings
        outputs = [name for name in matrices if name not in embeddings] if len(embeddings) == 1 else outputs
    if len(matrices) == 1 and embed == hidden:
        return embeddings[0], None
    if len(embeddings) != 1 or len(outputs) != 1 or embeddings == outputs:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in list(matrices.items())[:4])
        raise CheckpointInvalid(f"embedding and output layer cannot be told from the other tensors in the file ({shapes or 'none'})", HINT)
    if matrices[embeddings[0]].shape[0] != matrices[outputs[0]].shape[0]:
        raise CheckpointInvalid(
            f"the embedding in the file has {matrices[embeddings[0]].shape[0]:,} rows, the output layer {matrices[outputs[0]].shape[0]:,}",
            HINT,
        )
    return embeddings[0], outputs[0]


def _output_bias(others: Mapping[str, Floats], output: str | None, vocab: int) -> str | None:
    names = [name for name, array in others.items() if array.shape == (vocab,)]
    if output is not None:
        beside = output.removesuffix("weight") + "bias"
        names = [beside] if beside in names else names
    return names[0] if len(names) == 1 else None


def _check_forward(checkpoint: Checkpoint, weights: Mapping[str, Floats]) -> None:
    """Compare the logits of what was written with those of ``torch.nn.GRU`` over the tensors of the file."""
    import torch

    config = checkpoint.config
    ids = sample_ids(checkpoint)[:-1]
    gru = torch.nn.GRU(config.embed_dim, config.hidden_dim, config.num_layers)
    gru.load_state_dict({name.removeprefix("gru."): torch.from_numpy(array) for name, array in weights.items() if name.startswith("gru.")})
    with torch.no_grad():
        hidden, _ = gru(torch.from_numpy(weights["embedding.weight"])[torch.from_numpy(ids)])
        output = torch.from_numpy(weights["embedding.weight" if config.tie_weights else "output.weight"])
        expected = (hidden @ output.T + torch.from_numpy(weights["output.bias"])).numpy()
    found = reference_logits(config, checkpoint.weights(), ids)
    # Written so that a difference that is not a number fails, too.
    if not np.abs(found - expected).max() <= LARGEST_DIFFERENCE:
        raise CheckpointInvalid("what was written does not compute what torch computes with these tensors")
