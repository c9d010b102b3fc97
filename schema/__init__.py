"""The contract: what a sample is, how it is identified, what lies on disk and in SQL."""
