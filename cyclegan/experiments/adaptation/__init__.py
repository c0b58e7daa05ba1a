"""Does translation help a segmenter? Source pictures with labels, translated, against the target's own pictures."""
