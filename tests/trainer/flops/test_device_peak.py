"""Peaks by the names that torch reports."""

import pytest
import torch

from ovocr.trainer.flops.device_peak import device_peak_flops, peak_flops


@pytest.mark.parametrize(
    ("name", "bfloat16", "float32"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12, 19.5e12),
        ("NVIDIA A100 80GB PCIe", 312e12, 19.5e12),
        ("NVIDIA H100 80GB HBM3", 989e12, 67e12),
        ("NVIDIA H100 PCIe", 756e12, 51e12),
        ("NVIDIA H200", 989e12, 67e12),
        ("NVIDIA B200", 2250e12, 75e12),
        ("NVIDIA L40S", 362e12, 91.6e12),
    ],
)
def test_known_devices(name: str, bfloat16: float, float32: float) -> None:
    assert (peak_flops(name, bf16=True), peak_flops(name, bf16=False)) == (bfloat16, float32)


@pytest.mark.parametrize("name", ["NVIDIA A100-SXM4-40GB MIG 1g.5gb", "NVIDIA H200 NVL", "NVIDIA L40", "Tesla T4", ""])
def test_other_devices_have_no_known_peak(name: str) -> None:
    assert peak_flops(name, bf16=True) is None


def test_a_cpu_has_no_known_peak() -> None:
    assert device_peak_flops(torch.device("cpu"), bf16=False) is None
