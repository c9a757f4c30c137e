"""The training loop: model, optimizers, step, schedule, clipping, metrics, starting and resuming runs, evaluation.

Imports measures, tracking, heads, backbone, data, optim, runs, config, kernels and ranks.
"""
