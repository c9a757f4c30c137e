"""Rotary positions over (t, h, w) (arXiv 2104.09864; three axes as in the released OneVision encoders).

Half of a head's dimension is split 4:6:6 into frequencies of t, h and w; the angles [f] of the half are repeated to [f,
f] over the whole dimension. The rotation nevertheless pairs neighbouring channels (2i, 2i + 1), so the two channels of
a pair have different angles. This is not a rotation in the strict sense, but the released weights were trained with it.

Shape suffixes: B images, L patches, N attention heads, E channels of a head.
"""

import torch
from torch import Tensor

# Sixteenths of half a head's dimension for t, h and w.
_SPLIT = (4, 6, 6)


def grid_positions(frames: int, rows: int, columns: int, *, device: torch.device | None = None) -> Tensor:
    """Returns the (t, h, w) of every patch of an image or video, in token order: int64 [frames*rows*columns, 3]."""
    axes = (torch.arange(size, device=device) for size in (frames, rows, columns))
    return torch.cartesian_prod(*axes)


def clip_positions(times_BT: Tensor, rows: int, columns: int) -> Tensor:
    """Returns the (t, h, w) of every patch of clips with these frame times: int64 [B, T * rows * columns, 3]."""
    batch, frames = times_BT.shape
    grid_L3 = grid_positions(frames, rows, columns, device=times_BT.device)
    times_BL = times_BT.repeat_interleave(rows * columns, dim=1)
    positions_BL3 = grid_L3.expand(batch, -1, -1).clone()
    positions_BL3[..., 0] = times_BL
    return positions_BL3


def rotary_tables(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Returns cosine and sine of every channel's angle, float32 [..., L, head_dim], for positions [..., L, 3].

    Angles are computed in float32 without a matrix product, which autocast would round to bfloat16.
    """
    sixteenth = head_dim // 32
    angles = []
    for axis, share in enumerate(_SPLIT):
        count = share * sixteenth
        exponents = torch.arange(count, dtype=torch.float32, device=positions.device) / count
        frequencies = 1.0 / theta**exponents
        angles.append(positions[..., axis, None].to(torch.float32) * frequencies)
    half = torch.cat(angles, dim=-1)
    angle = torch.cat((half, half), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x_BNLE: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates queries or keys by the tables of ``rotary_tables``, which broadcast to [B, N, L, E]; keeps the dtype.

    With E = 4: (a, b, c, d) becomes (a cos0 - b sin0, b cos1 + a sin1, c cos2 - d sin2, d cos3 + c sin3).
    """
    turned_BNLE = torch.stack((-x_BNLE[..., 1::2], x_BNLE[..., ::2]), dim=-1).flatten(-2)
    return (x_BNLE * cos + turned_BNLE * sin).to(x_BNLE.dtype)  # the float32 tables promoted bfloat16
