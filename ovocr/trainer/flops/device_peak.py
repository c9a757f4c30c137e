"""Peak FLOPs per second of NVIDIA's data-centre GPUs, from NVIDIA's data sheets.

bfloat16 is the dense peak of the tensor cores; data sheets also state the peak with sparsity, which is twice as high.
float32 is without TF32, as torch multiplies by default. The peak of a part of a GPU (MIG) is not known.
"""

import re

import torch

# Pattern of the whole name that torch reports; TFLOP/s in bfloat16 and in float32.
_PEAKS = (
    (r"NVIDIA A100-(SXM4|PCIE)-(40|80)GB|NVIDIA A100 80GB PCIe", 312.0, 19.5),
    (r"NVIDIA H100 80GB HBM3", 989.0, 67.0),  # SXM
    (r"NVIDIA H100 PCIe", 756.0, 51.0),
    (r"NVIDIA H200", 989.0, 67.0),  # SXM; the name of the H200 NVL ends in NVL
    (r"NVIDIA B200", 2250.0, 75.0),
    (r"NVIDIA L40S", 362.0, 91.6),
)


def peak_flops(device_name: str, *, bf16: bool) -> float | None:
    """Returns the peak of a GPU, FLOP/s; None if it is not known.

    device_name: as torch.cuda.get_device_name reports it. bf16: whether products are in bfloat16, else in float32.
    """
    for pattern, bfloat16, float32 in _PEAKS:
        if re.fullmatch(pattern, device_name):
            return (bfloat16 if bf16 else float32) * 1e12
    return None


def device_peak_flops(device: torch.device, *, bf16: bool) -> float | None:
    """Returns the peak of a device, FLOP/s; None for a CPU and for a GPU that is not known."""
    return peak_flops(torch.cuda.get_device_name(device), bf16=bf16) if device.type == "cuda" else None
