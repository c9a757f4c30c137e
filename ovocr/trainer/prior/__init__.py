"""What a run keeps of its training data: how frequent each class is, and which images they are.

May import data, runs and ranks.
"""
