"""What a model says about itself: ``training.json`` for programs, the model card ``README.md`` for people."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from storyteller import __version__
from storyteller.checkpoint.files import replace_text
from storyteller.checkpoint.format import CARD, TRAINING, to_json
from storyteller.engine.architecture import GRUConfig
from storyteller.training.corpus import EncodedCorpus
from storyteller.training.journal import JOURNAL, read_journal

PACKAGES = ("torch", "accelerate", "tokenizers", "numpy")
LICENCES = {"tinystories": "CDLA-Sharing-1.0 (TinyStories, Eldan & Li, arXiv 2305.07759)", "sample": "MIT"}
SHOWN_SETTINGS = (
    "batch_size",
    "seq_len",
    "learning_rate",
    "warmup",
    "weight_decay",
    "beta2",
    "grad_clip",
    "label_smoothing",
    "dropout",
    "ema_decay",
    "reset_at_end",
    "seed",
)


def training_record(
    settings: Mapping[str, Any], corpus: EncodedCorpus, figures: Mapping[str, Any], machine: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``training.json`` holds: data with its fingerprint, settings, figures, versions."""
    return {
        "data": {
            "key": corpus.key,
            "report": corpus.report.to_json(),
            "train": corpus.train_counts.to_json(),
            "valid": corpus.valid_counts.to_json(),
            "fingerprint": corpus.fingerprint.to_json(),
        },
        "settings": dict(settings),
        "figures": dict(figures),
        "machine": dict(machine),
        "versions": {"storyteller": __version__, "python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Replace ``training.json``."""
    replace_text(folder / TRAINING, to_json(record))


def write_card(folder: Path, config: GRUConfig, record: Mapping[str, Any]) -> None:
    """Replace the model card: what the network is, what it read, how it was trained, how well it predicts, what it says."""
    lines = read_journal(folder / JOURNAL)
    samples: Sequence[Mapping[str, str]] = next((line["samples"] for line in reversed(lines) if line.get("samples")), [])
    replace_text(folder / CARD, card(folder.resolve().name, config, record, samples))


def card(name: str, config: GRUConfig, record: Mapping[str, Any], samples: Sequence[Mapping[str, str]]) -> str:
    """The Markdown of a model card."""
    data, figures, settings = record["data"], record["figures"], record["settings"]
    width = f"{config.embed_dim} → {config.num_layers} GRU layers of {config.hidden_dim}"
    parts = [
        f"# {name}",
        "",
        f"A GRU language model that tells stories, trained with storyteller {record['versions']['storyteller']}. "
        f'Hear it: `storyteller gen -m {name} "Once upon a time"`.',
        "",
        "## The network",
        "",
        f"{config.parameters:,} parameters: embedding {width}, output layer "
        f"{'tied to the embedding' if config.tie_weights else 'of its own'}, byte-level BPE with {config.vocab_size:,} entries.",
        "",
        "## Data",
        "",
        *(f"- {_source(source)}" for source in data["report"]["sources"]),
        f"- in all {data['train']['tokens']:,} tokens to train on, "
        f"{data['valid']['tokens']:,} in {data['valid']['stories']:,} stories held out",
        *_licences(settings),
        "",
        "## Training",
        "",
        *_progress(figures, record["machine"]),
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {setting} | {settings[setting]} |" for setting in SHOWN_SETTINGS),
        "",
        "## Figures",
        "",
        *_figures(figures),
        "",
        "## Samples",
        "",
        *(_samples(samples) or ["None were told."]),
        "",
        "## Limits",
        "",
        "It tells short, simple stories and knows nothing of the world. It may lose a name, contradict itself, or say what nobody meant: "
        "read along before a child does.",
    ]
    return "\n".join(parts) + "\n"


def _source(source: Mapping[str, Any]) -> str:
    used = [f"{source[kind]:,} {words}" for kind, words in (("train", "to train on"), ("valid", "held out")) if source[kind]]
    dropped = sum(source["dropped"].values())
    return f"{Path(source['name']).name}: {source['read']:,} stories read, " + ", ".join(
        [*used, *([f"{dropped:,} dropped"] if dropped else [])]
    )


def _licences(settings: Mapping[str, Any]) -> list[str]:
    names = {name.split(":")[0] for name in settings["dataset"]} | ({"tinystories"} if settings["use_tinystories"] else set())
    return [f"- licence of {name}: {LICENCES[name]}" for name in sorted(names & set(LICENCES))]


def _progress(figures: Mapping[str, Any], machine: Mapping[str, Any]) -> list[str]:
    if not figures:
        return ["Not begun."]
    hours = figures["seconds"] / 3600
    return [
        f"{figures['iterations']:,} iterations, {figures['tokens']:,} tokens, {hours:.2f} hours on {machine['device']} "
        f"({machine['processes']} process{'es' if machine['processes'] > 1 else ''}, {machine['threads']} threads, "
        f"{machine['precision']}). "
        f"The kept weights are {'the running average' if figures['best_averaged'] else 'those'} of iteration {figures['best_iteration']:,}."
    ]


def _figures(figures: Mapping[str, Any]) -> list[str]:
    if figures.get("bits_per_byte") is None:
        return ["Not measured yet."]
    return [
        "Held-out stories, each from an empty memory, end token included:",
        "",
        "| nats per token | perplexity | bits per byte | stories |",
        "|---|---|---|---|",
        f"| {figures['nats_per_token']:.4f} | {figures['perplexity']:.3f} | {figures['bits_per_byte']:.4f} | {figures['stories']:,} |",
    ]


def _samples(samples: Sequence[Mapping[str, str]]) -> list[str]:
    told = []
    for sample in samples:
        quoted = (sample["prompt"] + sample["text"]).replace("\n", "\n> ")
        told += [f"> {quoted}", ""]
    return told[:-1]
