"""What an input of the encoder shows of an image: the whole or a crop, the tags in it, and the height of their text.

Imports dataset and base. Neither OpenCV nor torch is needed, so reports work without the trainer.
"""
