"""Row-wise optimizers for class centers. Imports kernels."""
