"""Which past tokens make the model say the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from storyteller.analysis.labels import token_label, token_labels
from storyteller.analysis.network import Floats, Network
from storyteller.analysis.record import Record
from storyteller.analysis.retention import retained
from storyteller.errors import UsageInvalid

if TYPE_CHECKING:
    from storyteller.analysis.gradients import Target
    from storyteller.checkpoint.load import LoadedModel
    from storyteller.engine.model import GRULM

METHODS = ("gradient", "integrated", "occlusion", "retention")
LONGEST = 256
UNCHANGED = 0.7
"""Mean rank correlation with the control from which on a map counts as unchanged."""
LEAST_RANKED = 5
OCCLUDED_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenImportance(Record):
    """R predictions explained by T tokens; all numbers are in logits (differences of logits with a contrast).

    ``tokens``: labels of what was read, the end token that starts every story first. Prediction r stands after the token with the index
    ``places[r]``; ``targets[r]`` is the token whose logit is explained, ``contrasts`` the one it is set against ("" for none);
    ``outputs`` (R,) that logit, or difference. ``maps[method]``: float64 (R, T), how much each token raises the output, 0 for tokens
    not read yet. For retention ``maps["retention"].sum(1) + initial + bias`` is ``outputs``. For integrated gradients the map sums to
    ``integrated_differences`` (R,), output less that of zero embeddings, within :attr:`integrated_error`.
    ``control_maps``: the same with the weights of each tensor shuffled; ``control_similarity``: mean Spearman correlation of the absolute
    values of the two, over the predictions with five tokens or more (nan-free: 0 where nothing varies).
    """

    model: str
    precision: str
    text: str
    tokens: tuple[str, ...]
    places: tuple[int, ...]
    targets: tuple[str, ...]
    contrasts: tuple[str, ...]
    seed: int
    outputs: NDArray[np.float64]
    bias: NDArray[np.float64]
    initial: NDArray[np.float64]
    integrated_differences: NDArray[np.float64]
    maps: Mapping[str, NDArray[np.float64]]
    control_maps: Mapping[str, NDArray[np.float64]]
    control_similarity: Mapping[str, float]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that were asked for, in their order."""
        return tuple(method for method in METHODS if method in self.maps)

    @property
    def unchanged(self) -> tuple[str, ...]:
        """Methods whose map hardly differs from that of shuffled weights, so that it says little about what was learned."""
        return tuple(method for method in self.methods if self.control_similarity.get(method, 0.0) >= UNCHANGED)

    @property
    def integrated_error(self) -> float:
        """Largest distance of a sum of integrated gradients from the difference that it should be, in logits."""
        if "integrated" not in self.maps:
            return 0.0
        return float(np.abs(self.maps["integrated"].sum(1) - self.integrated_differences).max())

    def influence(self, method: str) -> NDArray[np.float64]:
        """Overall influence of each token, (T,): the mean of its share |a| / Σ|a| over the predictions made after it was read."""
        return mean_share(self.shares(method)[:, : len(self.tokens)], self.places)

    def shares(self, method: str) -> NDArray[np.float64]:
        """Each prediction's map as shares of Σ|a|, signed: (R, T), for retention (R, T + 2) with initial state and bias at the end."""
        values = self.maps[method]
        if method == "retention":
            values = np.column_stack([values, self.initial, self.bias])
        return signed_shares(values)


def signed_shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row as shares of its Σ|a|; a row of zeros stays one."""
    return _quotient(values, np.abs(values).sum(1, keepdims=True))


def mean_share(shares: NDArray[np.float64], places: Sequence[int]) -> NDArray[np.float64]:
    """Mean of |share| of each token over the predictions whose place is not before it, 0 for a token without any."""
    read = np.asarray(places)[:, None] >= np.arange(shares.shape[1])
    counts = read.sum(0)
    return _quotient((np.abs(shares) * read).sum(0), counts)


def token_importance(
    model: LoadedModel,
    text: str,
    *,
    methods: Sequence[str] = METHODS,
    target: str | None = None,
    contrast: str | None = None,
    seed: int = 0,
) -> TokenImportance:
    """Explain the prediction of each token of ``text``, and of the token that the model would say next.

    ``target`` names another next token to explain; with ``contrast`` only that last prediction is explained, as the difference of the
    two logits ("why *dog* rather than *cat*"). ``methods``: "gradient" (gradient × input), "integrated" (integrated gradients from zero
    embeddings), "occlusion" (output less that without the token's embedding) and "retention" (:mod:`storyteller.analysis.retention`, top
    layer); the first two need torch. All use the float32 weights, whatever precision the model tells in.

    Raises :class:`~storyteller.errors.UsageInvalid` for unknown methods, a text of less than two or more than 256 tokens, and a
    ``target`` or ``contrast`` that is not one token of the model.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown or not methods:
        raise UsageInvalid(f"there is no method {unknown[0]!r}" if unknown else "no method was named", f"methods: {', '.join(METHODS)}")
    tokenizer = model.tokenizer
    ids = [tokenizer.end_id, *tokenizer.encode(text.rstrip(" \t"))]
    if not 3 <= len(ids) <= LONGEST:
        raise UsageInvalid(f"a text to explain must have 2 to {LONGEST - 1} tokens, not {len(ids) - 1}")
    network = Network.of(model)
    hidden = network.read_ids(ids).hidden[-1]
    last = len(ids) - 1
    following = int(network.logits(hidden[last]).argmax()) if target is None else one_token(model, target)
    against = None if contrast is None else one_token(model, contrast)
    targets: list[Target]
    if against is None:
        targets = [(place, ids[place + 1] if place < last else following, None) for place in range(1, last + 1)]
    else:
        targets = [(last, following, against)]
    torch_model = model.torch_model() if {"gradient", "integrated"} & set(methods) else None
    maps, sums = _explain(network, torch_model, ids, targets, methods)
    shuffled = network.shuffled(seed)
    control, _ = _explain(shuffled, torch_model, ids, targets, methods)
    directions, biases = _directions(network, targets)
    places = tuple(place for place, _, _ in targets)
    return TokenImportance(
        model=model.name,
        precision=model.precision,
        text=text,
        tokens=token_labels(tokenizer, ids),
        places=places,
        targets=tuple(token_label(tokenizer, token) for _, token, _ in targets),
        contrasts=tuple("" if other is None else token_label(tokenizer, other) for _, _, other in targets),
        seed=seed,
        outputs=(hidden[list(places)].astype(np.float64) * directions).sum(-1) + biases,
        bias=biases,
        initial=sums["initial"],
        integrated_differences=sums["integrated"],
        maps=maps,
        control_maps=control,
        control_similarity={method: _similarity(maps[method], control[method], places) for method in maps},
    )


def one_token(model: LoadedModel, word: str) -> int:
    """The id of ``word`` with a space before it, or else as it stands.

    Raises :class:`~storyteller.errors.UsageInvalid` if neither is a token.
    """
    spellings = [model.tokenizer.encode(text) for text in (f" {word}", word)]
    for ids in spellings:
        if len(ids) == 1 and word:
            return ids[0]
    raise UsageInvalid(f"{word!r} is not one token for this model", "choose a shorter or more usual word")


def _explain(
    network: Network, torch_model: GRULM | None, ids: Sequence[int], targets: Sequence[Target], methods: Sequence[str]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """The map of each method, and what else it takes to check their sums."""
    maps: dict[str, NDArray[np.float64]] = {}
    sums = {"initial": np.zeros(len(targets)), "integrated": np.zeros(len(targets))}
    if torch_model is not None:
        from storyteller.analysis import gradients

        torch_network = gradients.with_weights(torch_model, network.weights)
        if "gradient" in methods:
            maps["gradient"] = gradients.gradient_times_input(torch_network, ids, targets)
        if "integrated" in methods:
            maps["integrated"], sums["integrated"] = gradients.integrated_gradients(torch_network, ids, targets)
    if "occlusion" in methods:
        maps["occlusion"] = occlusion(network, ids, targets)
    if "retention" in methods:
        maps["retention"], sums["initial"] = retention(network, ids, targets)
    return maps, sums


def occlusion(network: Network, ids: Sequence[int], targets: Sequence[Target]) -> NDArray[np.float64]:
    """Output less the output with token s's embedding set to zero, (targets, T)."""
    embedded = network.embed(ids)
    directions, _ = _directions(network, targets)
    places = [place for place, _, _ in targets]

    def outputs(inputs: Floats) -> NDArray[np.float64]:
        hidden = network.read(inputs).hidden[-1][places].astype(np.float64)
        values: NDArray[np.float64] = np.einsum("rbh,rh->rb", hidden, directions)
        return values

    whole = outputs(embedded[:, None])
    maps = np.zeros((len(targets), len(ids)))
    for start in range(0, len(ids), OCCLUDED_AT_ONCE):
        some = range(start, min(start + OCCLUDED_AT_ONCE, len(ids)))
        without = np.repeat(embedded[:, None], len(some), axis=1)
        without[list(some), range(len(some))] = 0
        maps[:, some.start : some.stop] = whole - outputs(without)
    # Rounding differs with the size of a batch; what is not read yet has no effect at all.
    return np.where(np.asarray(places)[:, None] >= np.arange(len(ids)), maps, 0.0)


def retention(network: Network, ids: Sequence[int], targets: Sequence[Target]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The logit of each target split over tokens (targets, T) and initial state (targets,); with the bias they sum to it exactly."""
    directions, _ = _directions(network, targets)
    rows: dict[int, list[int]] = {}
    for row, (place, _, _) in enumerate(targets):
        rows.setdefault(place, []).append(row)
    maps, initial = np.zeros((len(targets), len(ids))), np.zeros(len(targets))
    for place, parts in enumerate(retained(network.read_ids(ids))):
        for row in rows.get(place, ()):
            values = parts @ directions[row]
            initial[row], maps[row, : place + 1] = values[0], values[1:]
    return maps, initial


def _directions(network: Network, targets: Sequence[Target]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each target the vector and the number with output = state · vector + number."""
    matrix, bias = (values.astype(np.float64) for values in network.readout)
    vectors = np.array([matrix[token] - (0 if other is None else matrix[other]) for _, token, other in targets])
    numbers = np.array([bias[token] - (0 if other is None else bias[other]) for _, token, other in targets])
    return vectors, numbers


def _quotient(values: NDArray[np.float64], by: NDArray[Any]) -> NDArray[np.float64]:
    """``values / by``, and 0 where that has no meaning."""
    result: NDArray[np.float64] = np.divide(values, by, out=np.zeros_like(values), where=by > 0)
    return result


def _similarity(one: NDArray[np.float64], other: NDArray[np.float64], places: Sequence[int]) -> float:
    """Mean Spearman correlation of the absolute values, row by row over what was read."""
    from scipy.stats import rankdata

    correlations = []
    for row, place in enumerate(places):
        if place + 1 < LEAST_RANKED:
            continue
        first, second = (rankdata(np.abs(values[row, : place + 1])) for values in (one, other))
        first, second = first - first.mean(), second - second.mean()
        scale = float(np.sqrt((first @ first) * (second @ second)))
        correlations.append(float(first @ second) / scale if scale else 0.0)
    return float(np.mean(correlations)) if correlations else 0.0
