"""Triton kernels of the Partial FC head and the row-wise optimizers, one per file with its launch function.

Imports nothing else of the trainer. The kernel modules are imported only when used: Triton is not a dependency of the
trainer; CUDA builds of torch include it. If TRITON_INTERPRET=1 is set before the first import, the kernels run on CPU
tensors, as in the tests.

Letters in kernels: s position of a sampled center, b image, d channel, k slot; BLOCK_X is the number of elements of x
per program. Tiles are named by their axes like tensors: ``cos_SB`` is [BLOCK_S, BLOCK_B].
"""
