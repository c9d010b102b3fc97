"""One file per verb; the only place where the parts of the package meet."""
