"""Triton kernels of the Partial FC head, one a file: the kernel and the function that launches it.

Imported only where they are used: Triton is no dependency of the trainer, CUDA builds of torch bring it. With
TRITON_INTERPRET=1 in the environment before the first import they run on CPU tensors, which is how tests see them.

Letters in kernels: s a sampled center's position, b an image, d a channel, k a slot; BLOCK_X elements of x a program.
Tiles are named by their axes as tensors are: ``cos_SB`` is [BLOCK_S, BLOCK_B].
"""
