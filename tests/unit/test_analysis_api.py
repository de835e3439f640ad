from __future__ import annotations

import subprocess
import sys

import pytest

import storyteller.analysis
import storyteller.figures


def test_every_public_name_is_there() -> None:
    for package in (storyteller.analysis, storyteller.figures):
        assert package.__all__ == sorted(package.__all__)
        for name in package.__all__:
            assert getattr(package, name).__doc__, name
    assert set(storyteller.analysis.__all__) <= set(dir(storyteller.analysis))


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'magic'"):
        _ = storyteller.analysis.magic


def test_analyses_are_light_until_they_are_used() -> None:
    code = (
        "import sys; from storyteller.analysis import token_importance, embedding_map, generation_diversity\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'captum', 'sacrebleu', 'scipy'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (result.stdout, result.stderr) == ("[]\n", "")
