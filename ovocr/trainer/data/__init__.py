"""From labelled data sets to the batches of a step: order, records, pictures, loader."""
