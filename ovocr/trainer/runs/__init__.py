"""The folder of a run and its checkpoints. Imports config and ranks."""
