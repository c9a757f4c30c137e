"""Makes vocabularies from the stored text of labelled data sets: shards counted, merged, ranked by frequency."""
