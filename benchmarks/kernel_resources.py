"""Registers, shared memory and spills of the Triton kernels, compiled ahead of time without a GPU.

    python benchmarks/kernel_resources.py [--arch 80 90] [--json FILE]

Each kernel is compiled as for 1,024 images of 100 tags, embeddings of width 1,024 and 365,187 classes, with bfloat16
and float32 products, for one sum over the negatives without and with weights, and for the sums of eight independent
samples. The figures come from the compiler's report.
A spill is a register that does not fit and goes through memory. The exit code is 1 if there is a spill.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ovocr.trainer.kernels.center_gradients import center_gradients_kernel
from ovocr.trainer.kernels.embedding_gradients import embedding_gradients_kernel
from ovocr.trainer.kernels.logit_gradients import logit_gradients_kernel
from ovocr.trainer.kernels.negative_sums import negative_sums_kernel
from ovocr.trainer.kernels.row_adamw import row_adamw_kernel
from ovocr.trainer.kernels.row_sgd import row_sgd_kernel
from ovocr.trainer.kernels.skipped_pairs import skipped_pairs_kernel
from ovocr.trainer.kernels.tiling import Tiling, tilings_for
from ovocr.trainer.kernels.unit_rows import unit_rows_kernel

CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
# Spilled registers go to local memory and back; tensor cores compute matrix products.
INSTRUCTIONS = {"spills": r"\b(?:STL|LDL)\b", "tensor_core": r"\b(?:HGMMA|HMMA|QGMMA)\b"}
DIM = 1024
TYPES = {torch.bfloat16: "bf16", torch.float32: "fp32"}

Launch = tuple[str, Any, dict[str, str], dict[str, Any], int, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", type=int, nargs="+", default=[80, 90])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"triton {triton.__version__}")
    columns = ("arch", "warps", "stages", "registers", "shared_bytes", "stack_bytes", "spills", "tensor_core")
    print(f"{'kernel':34s}" + "".join(f"{column:>13s}" for column in columns))
    records = []
    for arch in options.arch:
        for launch in launches(arch):
            records.append(resources(launch, arch))
            print(f"{launch[0]:34s}" + "".join(f"{records[-1][column]:>13}" for column in columns), flush=True)
    if options.json:
        options.json.write_text(json.dumps(records, indent=1) + "\n")
    if any(record["spills"] for record in records):
        sys.exit("there are spills")


def launches(arch: int) -> list[Launch]:
    """Yields name, kernel, argument types, constants, warps and stages of every launch on this architecture."""
    found: list[Launch] = []
    rows = {"rows_ptr": "*i64", "dim": "i32"}
    for dtype, name in TYPES.items():
        tilings = tilings_for(dtype, arch // 10)
        unit = {"unit_ptr": f"*{name}"}
        found.append(
            (
                f"unit_rows {name}",
                unit_rows_kernel,
                {"weight_ptr": "*fp32", **rows, **unit, "inverse_ptr": "*fp32", "count": "i32", "first_row": "i32"},
                {"HAS_ROWS": True, "BLOCK_S": 4, "BLOCK_D": DIM},
                4,
                3,
            )
        )
        both = {**unit, "embeddings_ptr": f"*{name}", "mask_ptr": "*i32", "weights_ptr": "*fp32", "dim": "i32"}
        both |= {"count": "i32", "batch": "i32", "words": "i32"}
        for count, weighted, title in ((1, False, "shared"), (1, True, "weighted"), (8, True, "independent")):
            sums = both | {"exp_ptr": "*fp32", "cosine_ptr": "*fp32"}
            constants = {"HAS_FILTER": False, "HAS_WEIGHTS": weighted, "SUMS": count}
            found.append(product(f"negative_sums {title} {name}", negative_sums_kernel, sums, constants, tilings.sums))
            logits = both | {"slope_ptr": "*fp32", "gradient_ptr": f"*{name}", "along_ptr": "*fp32"}
            found.append(
                product(
                    f"logit_gradients {title} {name}",
                    logit_gradients_kernel,
                    logits,
                    constants | {"K_PADDED": 16},
                    tilings.logits,
                )
            )
        gradient = {
            "gradient_ptr": f"*{name}",
            **unit,
            "out_ptr": "*fp32",
            "count": "i32",
            "batch": "i32",
            "dim": "i32",
        }
        centers = gradient | {"embeddings_ptr": f"*{name}", "along_ptr": "*fp32", "inverse_ptr": "*fp32"}
        found.append(product(f"center_gradients {name}", center_gradients_kernel, centers, {}, tilings.centers))
        embeddings = gradient | {"blocks_per_split": "i32"}
        found.append(
            product(f"embedding_gradients {name}", embedding_gradients_kernel, embeddings, {}, tilings.embeddings)
        )
    optimizer = {"weight_ptr": "*fp32", "gradient_ptr": "*fp32", **rows}
    constants = {"HAS_ROWS": True, "BY_ROW": False, "BLOCK_D": DIM}
    adamw = optimizer | {"mean_ptr": "*fp32", "square_ptr": "*fp32", "steps_ptr": "*fp32"}
    found.append(("row_adamw", row_adamw_kernel, adamw, constants, 4, 3))
    found.append(("row_sgd", row_sgd_kernel, optimizer | {"momentum_ptr": "*fp32"}, constants, 4, 3))
    mask = {
        "positions_ptr": "*i64",
        "mask_ptr": "*i32",
        "pairs_ptr": "*i32",
        "count": "i32",
        "columns": "i32",
        "words": "i32",
    }
    found.append(("skipped_pairs", skipped_pairs_kernel, mask, {"BLOCK": 1024}, 4, 3))
    return found


def product(name: str, kernel: Any, types: dict[str, str], constants: dict[str, Any], tiling: Tiling) -> Launch:
    return name, kernel, types, constants | tiling.constants(), tiling.num_warps, tiling.num_stages


def resources(launch: Launch, arch: int) -> dict[str, Any]:
    """Compiles one launch and returns the figures of the compiler's report."""
    name, kernel, types, constants, warps, stages = launch
    signature = {arg: "constexpr" if arg in constants else types.get(arg, "fp32") for arg in kernel.arg_names}
    # As the launcher infers from its arguments: pointers, width and batch are multiples of 16.
    aligned = [i for i, arg in enumerate(kernel.arg_names) if arg.endswith("_ptr") or arg in ("dim", "batch", "words")]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(kernel.arg_names.index(arg),): value for arg, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i in aligned},
    )
    compiled = triton.compile(
        source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps, "num_stages": stages}
    )
    return {
        "kernel": name,
        "arch": f"sm_{arch}",
        "warps": warps,
        "stages": stages,
        "shared_bytes": compiled.metadata.shared,
        **inspect(compiled.asm["cubin"]),
    }


def inspect(cubin: bytes) -> dict[str, Any]:
    """Returns registers per thread, stack bytes, and counts of relevant instructions in the machine code."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        usage = run_cuobjdump("--dump-resource-usage", path)
        code = run_cuobjdump("--dump-sass", path)
    registers, stack = (int(re.findall(rf"{field}:(\d+)", usage)[-1]) for field in ("REG", "STACK"))
    counts = {name: len(re.findall(pattern, code)) for name, pattern in INSTRUCTIONS.items()}
    return {"registers": registers, "stack_bytes": stack, **counts}


def run_cuobjdump(option: str, path: Path) -> str:
    return subprocess.run([str(CUOBJDUMP), option, str(path)], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
