"""Floating point operations of a training step, and the peak of known devices.

Imports config.
"""
