"""The folder of a training run, its checkpoints and the best of them. Imports config and ranks."""
