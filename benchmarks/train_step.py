"""A training step beside one of the released architecture, in the same run on the same machine.

    python -m benchmarks.train_step --batch 32 --patches 196 --width 512 --categories 80 --json OUT

Each head runs in a process of its own, so that its peak memory is its own. The released one holds
its attention's (B, P, C, A) several times over; with ``--reference-batch`` it takes fewer images,
and its time and its memory above the start (but for gradients and the optimiser's moments) are
scaled to the batch, as both grow image by image.
Compared are the released head (D = d, A = 2 d), this program's at the same widths, and this
program's as it is configured by default.

Letters: B batch, P patches, d token width, C categories, D model width, A attention width.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.baselines.released import ReleasedHead
from benchmarks.gpu.timing import median_seconds
from benchmarks.runs import (
    Runner,
    Sheet,
    answer_parent,
    end_with_the_cell,
    peak_memory,
    run_child,
    say,
)
from benchmarks.table import print_table
from clsl_core.errors import ClslError, InputError
from clsl_core.recovery.head.clsl import CLSLHead, ModelConfig
from clsl_core.recovery.head.losses import LossConfig, asymmetric_loss

__all__ = ["HEADS", "add_options", "main", "measure", "run"]

_VECTOR = 300  # E
_WARM_UP = 2  # steps that are not counted

Request = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None, runner: Runner = run_child) -> int:
    """Run from the command line; 0 when everything was measured."""
    if arguments is None and sys.argv[1:] == ["--child"]:
        answer_parent(run)
        return 0
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train_step", description=(__doc__ or "").splitlines()[0]
    )
    add_options(parser)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args(arguments)
    try:
        sheet = Sheet.open(options.json, {}, resume=False)
        measure(sheet, options, runner)
    except ClslError as error:
        say(f"train_step: {error}")
        return 1
    return 1 if any("failed" in cell for cell in sheet.cells) else 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Sizes of the step."""
    parser.add_argument("--batch", type=int, default=32, help="images in a step")
    parser.add_argument(
        "--reference-batch", type=int, default=0, help="of the released head; 0: the same"
    )
    parser.add_argument("--patches", type=int, default=196, help="a square number")
    parser.add_argument("--width", type=int, default=512, help="of a token")
    parser.add_argument("--categories", type=int, nargs="+", default=[80])
    parser.add_argument("--steps", type=int, default=3, help="steps to take the median of")
    parser.add_argument("--device", default=_device(), help="of torch")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one head")


def measure(sheet: Sheet, options: argparse.Namespace, runner: Runner = run_child) -> None:
    """Measure every head at every number of categories, and print the table.

    Raises:
        InputError: A size makes no sense.
    """
    if round(options.patches**0.5) ** 2 != options.patches:
        raise InputError(f"{options.patches} patches form no square.")
    for count in options.categories:
        for name in HEADS:
            reference = name == "released" and options.reference_batch
            request = {
                "head": name,
                "batch": options.reference_batch if reference else options.batch,
                "patches": options.patches,
                "width": options.width,
                "categories": count,
                "steps": options.steps,
                "device": options.device,
            }
            say(f"{name}, {count} categories")
            answer = runner("benchmarks.train_step", request, options.timeout, ["--child"])
            record = {"key": f"step-{name}-{count}", **request, **answer}
            if "seconds" in record:
                factor = options.batch / request["batch"]
                record["scaled_seconds"] = record["seconds"] * factor
                fixed = min(record["fixed_bytes"], record["step_bytes"])
                record["scaled_bytes"] = fixed + (record["step_bytes"] - fixed) * factor
            sheet.add(record, [])
    _report([cell for cell in sheet.cells if cell["key"].startswith("step-")], options.batch)


def run(request: Request) -> dict[str, Any]:
    """Time forward, backward and update of one head (the child's side).

    Returns:
        ``seconds`` of the median step, ``step_bytes`` of memory the steps took above the start,
        ``fixed_bytes`` of it for gradients and the optimiser, which do not grow with the batch,
        ``threads`` and whether autocast was on.
    """
    device = torch.device(str(request["device"]))
    torch.manual_seed(0)
    head = HEADS[request["head"]](request).to(device).train()
    shape = (request["batch"], request["patches"], request["width"])
    tokens = nn.functional.normalize(torch.randn(shape), dim=-1).to(device)
    targets = (torch.rand(request["batch"], request["categories"]) < 0.05).float().to(device)
    learned = [parameter for parameter in head.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=1e-4)
    cuda = device.type == "cuda"
    start = torch.cuda.memory_allocated() if cuda else peak_memory()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    # The released program trains in float32; this one in bfloat16 where there is a GPU.
    narrow = bool(request.get("autocast", cuda and request["head"] != "released"))

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=narrow):
            loss = _loss(head(tokens), targets)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    seconds = median_seconds(step, device, request["steps"], _WARM_UP)
    peak = torch.cuda.max_memory_allocated() if cuda else peak_memory()
    return {
        "seconds": seconds,
        "step_bytes": peak - start,
        "fixed_bytes": 3 * sum(p.numel() * p.element_size() for p in learned),
        "threads": torch.get_num_threads(),
        "device_name": torch.cuda.get_device_name() if cuda else "CPU",
        "autocast": narrow,
    }


def _loss(output: Any, targets: Tensor) -> Tensor:
    config = LossConfig()
    losses = [asymmetric_loss(z.float(), targets, config).mean() for z in (output.z1, output.z0)]
    return losses[0] + losses[1]


def _released(request: Request) -> nn.Module:
    side = round(request["patches"] ** 0.5)
    width, count = request["width"], request["categories"]
    return ReleasedHead((side, side), width, count, torch.randn(count, _VECTOR), 2 * width)


def _ours(request: Request, config: ModelConfig) -> nn.Module:
    side, count = round(request["patches"] ** 0.5), request["categories"]
    vectors = np.random.default_rng(0).normal(size=(count, _VECTOR)).astype(np.float32)
    priors = np.full(count, 0.05, np.float32)
    return CLSLHead(config, (side, side), request["width"], priors, vectors=vectors)


def _same_widths(request: Request) -> nn.Module:
    width = request["width"]
    config = ModelConfig(width=width, attention_width=2 * width, hidden=width, encoder=True)
    return _ours(request, config)


def _default(request: Request) -> nn.Module:
    return _ours(request, ModelConfig())


HEADS: Mapping[str, Callable[[Request], nn.Module]] = {
    "released": _released,
    "ours, same widths": _same_widths,
    "ours, default": _default,
}
"""The heads by name, the reference first."""


def _report(records: Sequence[Mapping[str, Any]], batch: int) -> None:
    rows = []
    for count in dict.fromkeys(record["categories"] for record in records):
        own = [record for record in records if record["categories"] == count]
        reference = next((r for r in own if r["head"] == "released" and "seconds" in r), None)
        rows += [_row(record, reference) for record in own]
    print(f"one training step of {batch} images\n")
    print_table(
        ["categories", "head", "seconds", "images/s", "faster", "memory MB", "less memory"], rows
    )


def _row(record: Mapping[str, Any], reference: Mapping[str, Any] | None) -> list[str]:
    start = [str(record["categories"]), record["head"]]
    if "seconds" not in record:
        return [*start, str(record["failed"])]
    ratios = ["", ""]
    if reference is not None:
        ratios = [
            f"{reference[name] / max(record[name], 1e-9):.1f} ×"
            for name in ("scaled_seconds", "scaled_bytes")
        ]
    rate = record["batch"] / record["seconds"]
    return [
        *start,
        f"{record['scaled_seconds']:.2f}",
        f"{rate:.1f}",
        ratios[0],
        f"{record['scaled_bytes'] / 1e6:.0f}",
        ratios[1],
    ]


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    end_with_the_cell()
    sys.exit(main())
