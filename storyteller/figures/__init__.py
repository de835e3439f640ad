"""Figures from the records of :mod:`storyteller.analysis`: the only importer of matplotlib; no model is loaded here, no window opened.

``draw_*`` draw one panel into a given axis; ``*_figure`` compose a page with title and caption. Colours are those of a
:class:`~storyteller.figures.theme.Theme`; use them within :func:`~storyteller.figures.theme.styled`.
"""
