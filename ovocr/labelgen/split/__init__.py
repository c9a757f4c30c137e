"""Divides a labelled data set into training and held-out images. Imports dataset, sources, tagging and shards."""
