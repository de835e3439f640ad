"""The figures by name: which analysis each needs, and how its records become a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from storyteller.analysis.confidence import PROMPTS, calibration, token_confidence
from storyteller.analysis.diversity import PROMPT as DIVERSITY_PROMPT
from storyteller.analysis.diversity import generation_diversity
from storyteller.analysis.dynamics import PROMPT as DYNAMICS_PROMPT
from storyteller.analysis.dynamics import generation_dynamics
from storyteller.analysis.embedding import Method, embedding_map
from storyteller.analysis.forgetting import forgetting_curve
from storyteller.analysis.growth import training_growth
from storyteller.analysis.heroes import name_tracking
from storyteller.analysis.importance import token_importance
from storyteller.analysis.lens import logit_lens
from storyteller.analysis.record import Record
from storyteller.checkpoint.files import replace_file
from storyteller.engine.generate import generate
from storyteller.errors import UsageInvalid
from storyteller.figures.confidence import confidence_figure
from storyteller.figures.diversity import diversity_figure
from storyteller.figures.dynamics import dynamics_figure
from storyteller.figures.embedding import embedding_figure
from storyteller.figures.forgetting import forgetting_figure
from storyteller.figures.growth import growth_figure
from storyteller.figures.heroes import names_figure
from storyteller.figures.importance import importance_figure
from storyteller.figures.lens import lens_figure
from storyteller.figures.theme import LIGHT, Page, Theme, settle, styled
from storyteller.training.journal import JOURNAL, read_journal
from storyteller.training.sample import sample_stories

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel

TEXT = "Once upon a time there was a little girl who loved to play with her toy"
SAMPLE_STRIDE = 140
STORY_TOKENS = 220
FORMATS = ("png", "svg", "pdf")
# Nothing of the day or the place goes into a file: the same picture is the same bytes.
METADATA: Mapping[str, Mapping[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the figures are to be about; None leaves it to each figure.

    ``held_out`` is text that the model was not trained on, for calibration, and ``held_out_name`` what a reader should know of it.
    """

    prompt: str | None = None
    text: str | None = None
    seed: int = 0
    method: Method = "tsne"
    target: str | None = None
    contrast: str | None = None
    held_out: Sequence[str] | None = None
    held_out_name: str = ""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The records of a figure by file name, and how to draw them."""

    records: Mapping[str, Record]
    draw: Callable[[Theme], Page]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A figure that can be asked for: ``name``, what it shows in a sentence, whether it belongs to the extra ones, and its making."""

    name: str
    meaning: str
    make: Callable[[LoadedModel, Request], Drawn] = field(repr=False)
    extra: bool = False


def _embedding(model: LoadedModel, request: Request) -> Drawn:
    record = embedding_map(model, method=request.method, seed=request.seed)
    return Drawn({"embedding": record}, lambda theme: embedding_figure(record, theme))


def _dynamics(model: LoadedModel, request: Request) -> Drawn:
    record = generation_dynamics(model, request.prompt or DYNAMICS_PROMPT, seed=request.seed)
    return Drawn({"dynamics": record}, lambda theme: dynamics_figure(record, theme))


def _importance(model: LoadedModel, request: Request) -> Drawn:
    record = token_importance(model, request.text or TEXT, target=request.target, contrast=request.contrast, seed=request.seed)
    return Drawn({"importance": record}, lambda theme: importance_figure(record, theme))


def _confidence(model: LoadedModel, request: Request) -> Drawn:
    record = token_confidence(model, PROMPTS if request.prompt is None else (request.prompt,))
    if request.held_out is None:
        return Drawn({"confidence": record}, lambda theme: confidence_figure(record, None, theme, model=model.name))
    measured = calibration(model, request.held_out, seed=request.seed)
    return Drawn(
        {"confidence": record, "calibration": measured},
        lambda theme: confidence_figure(record, measured, theme, model=model.name, text=request.held_out_name),
    )


def _diversity(model: LoadedModel, request: Request) -> Drawn:
    record = generation_diversity(model, request.prompt or DIVERSITY_PROMPT, seed=request.seed)
    return Drawn({"diversity": record}, lambda theme: diversity_figure(record, theme, model=model.name))


def _forgetting(model: LoadedModel, request: Request) -> Drawn:
    texts = [request.text] if request.text else [story.text for story in islice(sample_stories(), 0, None, SAMPLE_STRIDE)]
    record = forgetting_curve(model, texts, seed=request.seed)
    return Drawn({"forgetting": record}, lambda theme: forgetting_figure(record, theme))


def _names(model: LoadedModel, request: Request) -> Drawn:
    params = replace(model.generation, max_len=STORY_TOKENS)
    text = request.text or generate(model, request.prompt or DYNAMICS_PROMPT, params, request.seed)
    record = name_tracking(model, text)
    return Drawn({"names": record}, lambda theme: names_figure(record, theme))


def _growth(model: LoadedModel, request: Request) -> Drawn:
    record = training_growth(read_journal(model.path / JOURNAL), model=model.name)
    return Drawn({"growth": record}, lambda theme: growth_figure(record, theme))


def _lens(model: LoadedModel, request: Request) -> Drawn:
    record = logit_lens(model, request.text or TEXT)
    return Drawn({"lens": record}, lambda theme: lens_figure(record, theme))


EXHIBITS: tuple[Exhibit, ...] = (
    Exhibit("embedding", "which words the model holds to be alike", _embedding),
    Exhibit("dynamics", "what goes on in the network while it tells", _dynamics),
    Exhibit("importance", "which past tokens each prediction comes from", _importance),
    Exhibit("confidence", "how sure the model is, and how often it is right", _confidence),
    Exhibit("diversity", "how different and how repetitive the stories of one prompt are", _diversity),
    Exhibit("forgetting", "how soon each kind of word fades from memory", _forgetting, extra=True),
    Exhibit("names", "whether the model still knows its hero", _names, extra=True),
    Exhibit("growth", "how the loss fell in training, and what was told meanwhile", _growth, extra=True),
    Exhibit("lens", "what each layer would say next", _lens, extra=True),
)


def exhibit_named(name: str) -> Exhibit:
    """The figure ``name``; raises :class:`~storyteller.errors.UsageInvalid` with the nearest right name."""
    from difflib import get_close_matches

    known = {exhibit.name: exhibit for exhibit in EXHIBITS}
    if name not in known:
        near = get_close_matches(name, known, 1)
        raise UsageInvalid(
            f"there is no figure {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
            f"figures: {', '.join(known)}; storyteller figures --list",
        )
    return known[name]


def save_page(page: Page, path: Path, *, dpi: int = 200, theme: Theme = LIGHT) -> None:
    """Write ``page`` as its suffix says (png, svg or pdf), in one move; the same page gives the same bytes."""
    form = path.suffix.removeprefix(".")
    if form not in FORMATS:
        raise UsageInvalid(f"figures are written as {', '.join(FORMATS)}, not {form!r}")
    with styled(theme):
        settle(page)
        replace_file(path, lambda fresh: page.savefig(fresh, format=form, dpi=dpi, metadata=dict(METADATA[form])))
