"""``make bench``: how fast keyless is beside what it is made of, how fast DAG files are read, and how good the answers are."""
