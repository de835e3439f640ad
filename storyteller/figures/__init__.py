"""Figures from the records of :mod:`storyteller.analysis`: the only importer of matplotlib; no model is loaded here, no window opened.

``draw_*`` draw one panel into a given axis; ``*_figure`` compose a page with title and caption. Colours are those of a
:class:`~storyteller.figures.theme.Theme`; use them within :func:`~storyteller.figures.theme.styled`.
"""

from storyteller.figures.confidence import confidence_figure, draw_calibration, draw_confidence
from storyteller.figures.diversity import diversity_figure, draw_distribution, draw_measures, draw_similarity, draw_table
from storyteller.figures.dynamics import (
    draw_active_units,
    draw_half_lives,
    draw_movement,
    draw_openness,
    draw_trajectory,
    dynamics_figure,
    label_trajectory,
)
from storyteller.figures.embedding import draw_embedding, draw_neighbours, embedding_figure
from storyteller.figures.forgetting import draw_forgetting, draw_group_half_lives, forgetting_figure
from storyteller.figures.gallery import save_page
from storyteller.figures.growth import draw_losses, draw_samples, growth_figure
from storyteller.figures.heroes import draw_names, names_figure
from storyteller.figures.importance import draw_importance_map, draw_influence, draw_strips, importance_figure
from storyteller.figures.lens import draw_divergence, draw_lens, lens_figure
from storyteller.figures.theme import DARK, LIGHT, PAPER, Page, Theme, styled

__all__ = [
    "DARK",
    "LIGHT",
    "PAPER",
    "Page",
    "Theme",
    "confidence_figure",
    "diversity_figure",
    "draw_active_units",
    "draw_calibration",
    "draw_confidence",
    "draw_distribution",
    "draw_divergence",
    "draw_embedding",
    "draw_forgetting",
    "draw_group_half_lives",
    "draw_half_lives",
    "draw_importance_map",
    "draw_influence",
    "draw_lens",
    "draw_losses",
    "draw_measures",
    "draw_movement",
    "draw_names",
    "draw_neighbours",
    "draw_openness",
    "draw_samples",
    "draw_similarity",
    "draw_strips",
    "draw_table",
    "draw_trajectory",
    "dynamics_figure",
    "embedding_figure",
    "forgetting_figure",
    "growth_figure",
    "importance_figure",
    "label_trajectory",
    "lens_figure",
    "names_figure",
    "save_page",
    "styled",
]
