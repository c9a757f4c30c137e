"""The folder of a training run and its checkpoints. Imports config and ranks."""
