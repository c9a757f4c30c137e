"""Encoded bytes -> the picture that is stored, and its pixels. Imports sources."""
