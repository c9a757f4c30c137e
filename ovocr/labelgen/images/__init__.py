"""Encoded bytes -> the image that is stored, and its pixels. Imports sources."""
