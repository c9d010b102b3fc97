"""The verbs of the command line, in the order of the work: data, measure, learn, use."""
