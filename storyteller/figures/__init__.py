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
from storyteller.figures.gallery import save_page
from storyteller.figures.importance import draw_importance_map, draw_influence, draw_strips, importance_figure
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
    "draw_embedding",
    "draw_half_lives",
    "draw_importance_map",
    "draw_influence",
    "draw_measures",
    "draw_movement",
    "draw_neighbours",
    "draw_openness",
    "draw_similarity",
    "draw_strips",
    "draw_table",
    "draw_trajectory",
    "dynamics_figure",
    "embedding_figure",
    "importance_figure",
    "label_trajectory",
    "save_page",
    "styled",
]
