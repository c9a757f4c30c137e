"""Pictures of a labelled data set with what was read in them: a sample of it, as a page to look at."""
