"""The precision that a training takes where none is asked for."""

from __future__ import annotations

import pytest
import torch

from storyteller.training.devices import auto_precision, cpu_multiplies_bf16


@pytest.mark.parametrize(
    ("instructions", "precision"),
    [({}, "float32"), ({"avx512_f": True, "avx512_bf16": False}, "float32"), ({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16")],
)
def test_a_cpu_trains_in_bf16_only_where_it_multiplies_in_it(
    monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    assert auto_precision("cpu") == precision


def test_a_torch_that_does_not_tell_is_taken_at_its_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not cpu_multiplies_bf16()
