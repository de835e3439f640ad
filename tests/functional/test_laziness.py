"""What is not needed is not imported: each case in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "textual", "matplotlib", "sklearn", "datasets", "pandas", "pyarrow", "transformers", "accelerate", "ftfy")
HIDE_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" or name.startswith("torch."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, NoTorch())
"""


def loaded(code: str, *, hide: str = "") -> set[str]:
    """Names of the top-level modules that are loaded after ``code`` ran."""
    program = f"{hide}\nimport sys\ntry:\n    {code}\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    program += "import json\nsys.stderr.write('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stderr.splitlines()[-1]))


def command(*arguments: str) -> str:
    return f"sys.argv = {['storyteller', *arguments]!r}; from storyteller.cli.main import run; run()"


@pytest.mark.parametrize(
    "code",
    [
        "import storyteller",
        "from storyteller import StorytellerError, SamplingParams, Step",
        command("--help"),
        command("--version"),
        command("gen", "--help"),
        command("eval", "--help"),
    ],
)
def test_light_things_stay_light(code: str) -> None:
    modules = loaded(code)
    assert "storyteller" in modules
    assert modules.isdisjoint({*HEAVY, "onnxruntime", "onnx", "rich"})


def test_help_needs_no_numbers() -> None:
    assert loaded(command("--help")).isdisjoint({"numpy", "tokenizers"})


def test_importing_the_package_imports_nothing_at_all() -> None:
    assert loaded("import storyteller").isdisjoint({"numpy", "typer", "platformdirs", "tokenizers"})


def test_telling_a_story_needs_no_torch_and_nothing_heavy(tiny_checkpoint: Path) -> None:
    tell = command("gen", "-m", str(tiny_checkpoint), "-n", "3", "--confidence", "--stats", "The fox")
    assert loaded(tell).isdisjoint(HEAVY)
    # The graph is in the cache now: onnx, which only makes it, is not needed any more.
    assert "onnx" not in loaded(tell)


def test_the_python_api_needs_no_torch(tiny_checkpoint: Path) -> None:
    code = f"from storyteller import StoryGenerator; StoryGenerator({str(tiny_checkpoint)!r}).generate('The fox', max_len=3)"
    assert loaded(code).isdisjoint(HEAVY)


def test_evaluation_needs_no_torch(tiny_checkpoint: Path) -> None:
    evaluate = command("eval", "-m", str(tiny_checkpoint), "--data", "sample", "--max-stories", "2")
    assert loaded(evaluate).isdisjoint({*HEAVY} - {"ftfy"})


@pytest.mark.parametrize(
    "arguments",
    [("gen", "-n", "3", "The fox"), ("eval", "--data", "sample", "--max-stories", "2")],
)
def test_telling_and_evaluating_work_where_torch_is_not_installed(tiny_checkpoint: Path, arguments: tuple[str, ...]) -> None:
    assert "torch" not in loaded(command(*arguments, "-m", str(tiny_checkpoint)), hide=HIDE_TORCH)


@pytest.mark.parametrize(
    "arguments",
    [("gen", "-n", "3", "--device", "cuda", "The fox")],
)
def test_elsewhere_a_missing_torch_is_one_sentence(tiny_checkpoint: Path, arguments: tuple[str, ...]) -> None:
    program = f"{HIDE_TORCH}\n{command(*arguments, '-m', str(tiny_checkpoint))}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (1, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: this needs torch, which is not installed")
    assert hint.startswith("hint: pip install")


def test_help_is_there_in_a_blink() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "storyteller", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # The computer's own time, the best of several: it may be busy with other tests.
    assert min(seconds() for _ in range(5)) < 0.4
