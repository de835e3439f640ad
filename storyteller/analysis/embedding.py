"""The embedding space: which tokens the model holds to be alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from storyteller.analysis.network import Floats, Network
from storyteller.analysis.record import Record
from storyteller.analysis.words import OTHER, group_of, whole_words
from storyteller.errors import DependencyMissing, UsageInvalid

if TYPE_CHECKING:
    from storyteller.checkpoint.load import LoadedModel

Method = Literal["tsne", "pca", "umap"]
METHODS: tuple[Method, ...] = ("tsne", "pca", "umap")
QUERIES = ("dog", "mom", "happy", "ran", "park", "Lily", "big", "she")
NEIGHBOURS = 10
"""Size of the neighbourhoods whose preservation is stated."""
PERPLEXITY = 30.0
LEAST = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddingMap(Record):
    """N whole-word tokens in two dimensions.

    ``words`` (N) and ``groups`` (N) their kinds, in the order of ``ids`` (N,), the more frequent first; ``points``: float64 (N, 2).
    ``trustworthiness``: Venna and Kaski 2001, 0 to 1, for neighbourhoods of ``neighbourhood``: 1 = who is near in the picture is near in
    the embedding. ``kept``: share of the nearest neighbours by cosine that stay so in the picture. Both measure against cosine distance.
    ``explained``: share of variance of the two axes, for PCA only, else (). ``neighbours[i]``: the words nearest to ``queries[i]`` by
    cosine among the N, ``cosines`` float64 (queries, neighbours).
    """

    model: str
    method: str
    seed: int
    words: tuple[str, ...]
    groups: tuple[str, ...]
    neighbourhood: int
    trustworthiness: float
    kept: float
    explained: tuple[float, ...]
    queries: tuple[str, ...]
    neighbours: tuple[tuple[str, ...], ...]
    ids: NDArray[np.int64]
    points: NDArray[np.float64]
    cosines: NDArray[np.float64]


def embedding_map(
    model: LoadedModel,
    *,
    method: Method = "tsne",
    seed: int = 0,
    most: int = 1000,
    queries: Sequence[str] | None = None,
    nearest: int = 6,
) -> EmbeddingMap:
    """Lay out up to ``most`` whole-word tokens: those of the word lists first, then the most frequent others.

    ``method``: "tsne" (scikit-learn, from the PCA, seeded), "pca", or "umap" (needs umap-learn). Distances are those of embeddings of
    length 1, so that they rank as cosines do. ``queries``: words whose nearest neighbours are told; None takes usual ones that the model
    knows. Raises :class:`~storyteller.errors.UsageInvalid` for an unknown method, a query that is no token, or a vocabulary with fewer than
    8 whole words, and :class:`~storyteller.errors.DependencyMissing` for umap where it is not installed.
    """
    if method not in METHODS:
        raise UsageInvalid(f"there is no method {method!r}", f"methods: {', '.join(METHODS)}")
    found = whole_words(model.tokenizer)
    if len(found) < LEAST:
        raise UsageInvalid(f"the vocabulary has only {len(found)} whole words; a map needs {LEAST}", "choose a model with a larger one")
    listed = sorted(found, key=lambda id: (group_of(found[id]) == OTHER, id))
    ids = np.array(sorted(listed[:most]), np.int64)
    words = tuple(found[id] for id in ids.tolist())
    unit = _unit(Network.of(model).embed(ids.tolist()))
    points, explained = _layout(unit, method, seed)
    neighbourhood = min(NEIGHBOURS, (len(ids) - 1) // 2 - 1)
    chosen = _queries(words, queries)
    names, cosines = _neighbours(unit, words, chosen, min(nearest, len(ids) - 1))
    return EmbeddingMap(
        model=model.name,
        method=method,
        seed=seed,
        words=words,
        groups=tuple(group_of(word) for word in words),
        neighbourhood=neighbourhood,
        trustworthiness=_trustworthiness(unit, points, neighbourhood),
        kept=_kept(unit, points, neighbourhood),
        explained=explained,
        queries=chosen,
        neighbours=names,
        ids=ids,
        points=points,
        cosines=cosines,
    )


def _unit(vectors: Floats) -> NDArray[np.float64]:
    values = vectors.astype(np.float64)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    return values


def _queries(words: Sequence[str], queries: Sequence[str] | None) -> tuple[str, ...]:
    if queries is None:
        return tuple(word for word in QUERIES if word in words) or tuple(words[:1])
    for word in queries:
        if word not in words:
            raise UsageInvalid(f"{word!r} is not among the words of this map", f"it has {', '.join(words[:8])} and so on")
    return tuple(queries)


def _layout(unit: NDArray[np.float64], method: Method, seed: int) -> tuple[NDArray[np.float64], tuple[float, ...]]:
    from sklearn.decomposition import PCA

    pca = PCA(n_components=min(50, *unit.shape), svd_solver="full").fit(unit)
    reduced = pca.transform(unit)
    if method == "pca":
        return reduced[:, :2].astype(np.float64), tuple(float(share) for share in pca.explained_variance_ratio_[:2])
    if method == "umap":
        try:
            from umap import UMAP
        except ModuleNotFoundError as error:
            raise DependencyMissing("umap is not installed", "pip install umap-learn") from error
        return np.asarray(UMAP(n_components=2, metric="cosine", random_state=seed, n_jobs=1).fit_transform(unit), np.float64), ()
    from sklearn.manifold import TSNE

    tsne = TSNE(perplexity=min(PERPLEXITY, (len(unit) - 1) / 3), init="pca", random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit_transform(reduced.astype(np.float32)), np.float64), ()


def _trustworthiness(unit: NDArray[np.float64], points: NDArray[np.float64], neighbourhood: int) -> float:
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(unit, points, n_neighbors=neighbourhood))


def _kept(unit: NDArray[np.float64], points: NDArray[np.float64], neighbourhood: int) -> float:
    closeness = unit @ unit.T
    distance = np.square(points[:, None] - points[None]).sum(-1)
    np.fill_diagonal(closeness, -np.inf)
    np.fill_diagonal(distance, np.inf)
    before = np.argsort(-closeness, axis=1, kind="stable")[:, :neighbourhood]
    after = np.argsort(distance, axis=1, kind="stable")[:, :neighbourhood]
    return float(np.mean([len(set(one) & set(other)) for one, other in zip(before.tolist(), after.tolist(), strict=True)]) / neighbourhood)


def _neighbours(
    unit: NDArray[np.float64], words: Sequence[str], queries: Sequence[str], nearest: int
) -> tuple[tuple[tuple[str, ...], ...], NDArray[np.float64]]:
    places = [words.index(word) for word in queries]
    closeness = unit[places] @ unit.T
    closeness[range(len(places)), places] = -np.inf
    best = np.argsort(-closeness, axis=1, kind="stable")[:, :nearest]
    return tuple(tuple(words[place] for place in row) for row in best.tolist()), np.take_along_axis(closeness, best, axis=1)
