"""Does training on a selection help? Arms, budgets, training, measurement, verdict; no store."""
