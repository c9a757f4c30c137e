"""Multi-label Partial FC: margin softmax over sampled class centers, spread over ranks by rows."""
