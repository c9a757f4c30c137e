"""Experiment trackers of a run: TensorBoard, Weights & Biases, MLflow; one module each, behind one protocol.

Imports config and runs. The package of a tracker is imported when a run that uses the tracker starts.
"""
