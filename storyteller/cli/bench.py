"""``storyteller bench``: how fast this is here, beside the usual PyTorch loop."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from storyteller.cli import options
from storyteller.cli.output import is_terminal, say, write, write_json
from storyteller.errors import UsageInvalid

BENCH = "Measurement"
PRESETS = ("base", "small", "tiny")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    preset: Annotated[
        str, options.option("--preset", panel=BENCH, scope="bench", metavar="|".join(PRESETS), help="Sizes of the model, base otherwise.")
    ] = "base",
    quick: Annotated[bool, options.option("--quick", panel=BENCH, scope="bench", help="Half a minute, and rougher figures.")] = False,
    train: Annotated[bool, options.option("--train", panel=BENCH, scope="bench", help="Training throughput, too.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure how fast stories are told on this computer.

    \b
    storyteller bench --quick
    storyteller bench --train --json > figures.json

    A model with random weights is told beside the usual PyTorch loop, both taking turns; a pipe gets JSON.
    """
    if preset not in PRESETS:
        raise UsageInvalid(f"--preset must be one of {', '.join(PRESETS)}, not {preset!r}")
    from storyteller.bench.report import FULL, QUICK
    from storyteller.bench.report import bench as measure
    from storyteller.paths import cache_dir

    notify = (lambda line: None) if quiet else say
    report = measure(preset, QUICK if quick else FULL, cache_dir(), train=train, notify=notify)
    if as_json or not is_terminal(sys.stdout):
        write_json(report)
    else:
        write(table(report))


def table(report: Mapping[str, Any]) -> str:
    """The report as lines for a person."""
    parts = report["parts"]
    lines = [f"{report['preset']}, {report['machine']['processor']}, {report['machine']['processors']} processors", ""]
    for title, part in (("one story", "one_stream"), ("16 stories at once", "batch16"), ("reading 256 tokens", "prefill")):
        baseline = parts[part]["baseline"]
        lines.append(f"{title:<22} {'tokens/s':>9} {'slowest':>9} {'fastest':>9} {'times':>7}")
        for name, rate in parts[part]["tokens_per_second"].items():
            ratio = parts[part]["ratio"].get(name)
            times = f"{ratio:.1f}" if ratio is not None else "1" if name == baseline else ""
            label = f"torch, {name.split()[1]} threads" if name.startswith("plain") else name
            lines.append(f"  {label:<20} {rate['median']:>9,.0f} {rate['slowest']:>9,.0f} {rate['fastest']:>9,.0f} {times:>7}")
    lines += ["", *(f"{cell}" for cell in _grid(parts.get("grid", [])))]
    cold, limits = parts["cold_start"], parts["limits"]
    lines += [
        f"auto                   {report['precision']}",
        f"first word after       {cold['seconds']:.2f} s ({cold['memory_bytes'] / 1e6:.0f} MB); import torch alone: "
        f"{cold['import_torch_seconds']:.2f} s",
        f"cost of full records   {report['step_overhead']:+.1%}",
        f"share of the roofline  {report['roofline_share']:.0%}; of the arithmetic peak, 64 rows: {limits['arithmetic_share']:.0%}",
    ]
    if "training" in report:
        lines.append(f"training               {report['training_share']:.0%} of a bare loop's speed ({report['training']['preset']})")
    return "\n".join(lines) + "\n"


def _grid(cells: list[Mapping[str, Any]]) -> list[str]:
    """Bare steps, tokens per second: a line for runtime and threads, a column for rows."""
    if not cells:
        return []
    columns = sorted({cell["rows"] for cell in cells})
    lines = [f"{'bare steps, tokens/s':<22} " + " ".join(f"{rows:>6} rows" for rows in columns)]
    for runtime, threads in dict.fromkeys((cell["runtime"], cell["threads"]) for cell in cells):
        rates = [cell["tokens_per_second"]["median"] for cell in cells if (cell["runtime"], cell["threads"]) == (runtime, threads)]
        lines.append(f"  {runtime + f', {threads} threads':<20} " + " ".join(f"{rate:>11,.0f}" for rate in rates))
    return [*lines, ""]
