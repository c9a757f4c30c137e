"""Row-wise optimizers for class centers, and the handling of row-sparse gradients. Imports kernels."""
