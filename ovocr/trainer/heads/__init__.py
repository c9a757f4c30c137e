"""Multi-label Partial FC: margin softmax over sampled class centers, whose rows are split over the ranks.

Imports kernels, optim and ranks.
"""
