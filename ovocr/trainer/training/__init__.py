"""The training loop: model, step, schedule, clipping, metrics. Imports heads, data, backbone, optim and runs."""
