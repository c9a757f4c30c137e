"""The folder of a training run, its checkpoints, the best of them, and extensions. Imports config and ranks."""
