"""From labelled data sets to the batches of a step: sample order, records, images, crops and loaders.

Imports config, ranks, dataset, recordio and vocab.
"""
