"""``storyteller train``: from text to a model."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from storyteller import training
from storyteller.cli import completion
from storyteller.cli.group import INTERRUPTED
from storyteller.cli.output import say
from storyteller.errors import DependencyMissing
from storyteller.training.config import RULES, Config, Preset

WATCHED = "How it is watched"
SECTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "Data": {
        "dataset": ("--dataset",),
        "valid_files": ("--valid",),
        "csv_text_column": ("--text-column",),
        "separator": ("--separator",),
        "valid_share": ("--valid-share",),
        "max_stories": ("--max-stories",),
    },
    "Model": {
        "preset": ("--preset",),
        "out": ("--out", "-o"),
        "init_from": ("--init-from",),
        "resume": ("--resume",),
        "vocab_size": ("--vocab-size",),
        "embed_dim": ("--embed-dim",),
        "hidden_dim": ("--hidden-dim",),
        "num_layers": ("--layers", "--num-layers"),
        "tie_weights": ("--tie-weights",),
    },
    "How long": {
        "num_epochs": ("--epochs", "--num-epochs"),
        "max_iterations": ("--max-iterations",),
        "time_limit": ("--time-limit",),
        "patience": ("--patience",),
    },
    "How it learns": {
        "batch_size": ("--batch-size",),
        "seq_len": ("--seq-len",),
        "accumulate": ("--accumulate",),
        "learning_rate": ("--learning-rate", "--lr"),
        "warmup": ("--warmup",),
        "weight_decay": ("--weight-decay",),
        "beta2": ("--beta2",),
        "grad_clip": ("--grad-clip",),
        "dropout": ("--dropout",),
        "label_smoothing": ("--label-smoothing",),
        "ema_decay": ("--ema-decay",),
        "reset_at_end": ("--reset-at-end",),
        "seed": ("--seed", "-s"),
    },
    WATCHED: {
        "eval_every": ("--eval-every",),
        "eval_stories": ("--eval-stories",),
        "sample_every": ("--sample-every",),
        "sample_prompts": ("--sample-prompt",),
        "save_every": ("--save-every",),
    },
    "Machine": {
        "device": ("--device",),
        "precision": ("--precision",),
        "threads": ("--threads",),
    },
}
"""Every option that is a field of :class:`Config`: its section and its names; meaning and legal range are the field's own."""

TYPES: dict[str, Any] = {"whole": int, "number": float, "flag": bool, "texts": list[str]}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(_with_fields(train))


def train(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE…", help=f"{RULES['files'].meaning[0].upper()}{RULES['files'].meaning[1:]}.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.", rich_help_panel=WATCHED)] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write each event to stdout as a line of JSON.", rich_help_panel=WATCHED)] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines on a terminal, too.", rich_help_panel=WATCHED)] = False,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            "--push-to-hub", metavar="OWNER/MODEL", help="Upload the model when it is done, card included.", rich_help_panel=WATCHED
        ),
    ] = None,
    **fields: Any,
) -> None:
    """Train a model on stories; the directory it is made in is at once a model for gen -m DIR.

    \b
    storyteller train --dataset sample --preset tiny --out models/mine
    storyteller train stories.txt --preset small --out models/mine --time-limit 90m
    storyteller train --resume --out models/mine
    storyteller train

    The last one trains on TinyStories. Ctrl-C saves and stops, and --resume goes on exactly from there.
    """
    from storyteller.checkpoint import hub
    from storyteller.cli.train_display import open_display
    from storyteller.training.beginning import output_directory
    from storyteller.training.events import Finished
    from storyteller.training.interrupt import Interrupt

    given = {name: value for name, value in fields.items() if value is not None and value != []}
    config = Config(**given, **({"files": files} if files else {}))
    if "preset" not in given and not _resumes_elsewhere(config):
        config.preset = _auto_preset()
    # Of several processes that train together, the first one uploads.
    repository = push_to_hub if not dry_run and os.environ.get("RANK", "0") == "0" else None
    if repository is not None:
        # Whoever may not write there should hear of it before the training, not after.
        hub.make_repository(repository)
    reason = None
    with Interrupt() as interrupt, open_display(as_json=as_json, plain=plain) as display:
        for event in training.train_events(config, stop=interrupt.requested, progress=display.preparing, dry_run=dry_run):
            display.show(event)
            if isinstance(event, Finished):
                reason = event.result.reason
    if reason == "stopped":
        say(f"go on with: storyteller train --resume --out {output_directory(config)}")
        raise typer.Exit(INTERRUPTED)
    if repository is not None:
        say(hub.push(output_directory(config), repository))


def _resumes_elsewhere(config: Config) -> bool:
    """Whether the preset is that of the training that is resumed."""
    from storyteller.checkpoint.format import TRAINER
    from storyteller.training.beginning import output_directory

    return config.resume and config.out is not None and (output_directory(config) / TRAINER).exists()


def _auto_preset() -> Preset:
    try:
        from storyteller.training.devices import auto_preset
    except ModuleNotFoundError as error:
        raise DependencyMissing(f"training needs the package {error.name}", f"pip install {error.name}") from error
    return auto_preset()


def _with_fields(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` one option for each field in SECTIONS, in the place of its ``**fields``."""
    signature = inspect.signature(command, eval_str=True)
    files, *others = (parameter for parameter in signature.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD)
    fields = [_parameter(field, flags, panel) for panel, names in SECTIONS.items() for field, flags in names.items()]
    parameters = [files, *fields, *(parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in others)]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what inspect.signature reads
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(field: str, flags: tuple[str, ...], panel: str) -> inspect.Parameter:
    rule = RULES[field]
    kind = TYPES.get(rule.kind, str)
    legal = "" if rule.kind in ("flag", "text", "texts", "choice") else f" ({rule.legal.removesuffix(', or None')})"
    help = f"{rule.meaning[0].upper()}{rule.meaning[1:]}{legal}."
    if rule.kind == "flag" and field not in ("resume",):
        flags = (f"{flags[0]}/--no-{flags[0].removeprefix('--')}",)
    metavar = (
        None
        if rule.kind == "flag"
        else {"whole": "NUMBER", "number": "NUMBER", "duration": "TIME", "choice": "|".join(rule.choices)}.get(rule.kind, "TEXT")
    )
    # A twin of its own: STORYTELLER_PRECISION and its like are about telling stories, not about training.
    twin = "STORYTELLER_TRAIN_" + flags[0].partition("/")[0].removeprefix("--").upper().replace("-", "_")
    completed = completion.presets if field == "preset" else completion.models if field == "init_from" else None
    option = typer.Option(
        *flags, envvar=twin, rich_help_panel=panel, help=help, metavar=metavar, show_default=False, autocompletion=completed
    )
    return inspect.Parameter(field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option])
