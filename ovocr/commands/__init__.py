"""The commands of `ovocr`. Each parses its options, calls one function and prints the result.

May import every other room, but loads heavy packages only when a command runs.
"""
