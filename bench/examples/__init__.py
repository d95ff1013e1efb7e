"""The common-ai provider's example DAGs, unchanged, against keyless: which run, and whether their answers are of use."""
