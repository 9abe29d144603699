"""`python -m benchmarks NAME [--json] ...`: run one benchmark and print its figures."""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from collections.abc import Sequence
from typing import Protocol

from rich.progress import Progress

from benchmarks import plots
from benchmarks.report import BadData, Report, progress_bar

NAMES = (
    "bytes",
    "conversations",
    "edge_settings",
    "embeddings",
    "engines",
    "facts",
    "first_contact",
    "general",
    "langchain",
    "latency",
    "llama_index",
    "recall",
    "rerank",
    "router",
    "routing",
    "scale",
    "steps",
    "tokens",
    "trim",
)


class Benchmark(Protocol):
    """What a module of this package offers to be run by name; its docstring is its help."""

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the benchmark's own options."""

    def run(self, options: argparse.Namespace, progress: Progress) -> Report:
        """Measure. Raises `BadData` for data that cannot be measured on."""


def load(name: str) -> Benchmark:
    """The module of a benchmark, imported only when it is named."""
    module: Benchmark = importlib.import_module(f"benchmarks.{name}")
    return module


def parser(names: Sequence[str] = NAMES) -> argparse.ArgumentParser:
    """One sub-command a benchmark, each with the options that all have."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = top.add_subparsers(dest="name", required=True, metavar="NAME")
    for name in names:
        benchmark = load(name)
        text = inspect.getdoc(benchmark) or name
        command = commands.add_parser(
            name,
            help=text.splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument(
            "--json", action="store_true", help="print the figures as a last line of JSON too"
        )
        command.add_argument(
            "--plot", metavar="PATH", help="draw the main figures into this .svg or .png file"
        )
        command.add_argument("--quick", action="store_true", help="leave out what takes minutes")
        command.add_argument(
            "--dir", metavar="PATH", help="where to put the databases (a temporary folder)"
        )
        benchmark.arguments(command)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmark; 0 when it was measured, 2 when its data was bad."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    # All of them import both frameworks, which takes longer than many a run.
    options = parser([given[0]] if given and given[0] in NAMES else NAMES).parse_args(given)
    try:
        if options.plot:
            plots.check(options.plot)
        benchmark = load(options.name)
        with progress_bar() as progress:
            report = benchmark.run(options, progress)
        report.show(as_json=options.json)
        if options.plot:
            plots.save(report, options.plot, getattr(benchmark, "picture", plots.bars))
    except BadData as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
