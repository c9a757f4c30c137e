"""From labelled data sets to the batches of a step or an evaluation: sample order, records, images, loaders.

Imports config, ranks, dataset, recordio and vocab.
"""
