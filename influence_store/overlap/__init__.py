"""Which rows say the same as others, in one dataset or in what it will be judged on?

Pure: word hashes and vectors in, pairs and clusters out; `jobs/near_duplicates.py` and
`jobs/leaks.py` store what is found.
"""
