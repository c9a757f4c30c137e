"""Words (normalise, segment) and the vocabulary that gives them class ids."""
