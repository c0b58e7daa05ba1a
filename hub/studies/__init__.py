"""Studies on the Hub: figures on model cards, and the data set of votes."""
