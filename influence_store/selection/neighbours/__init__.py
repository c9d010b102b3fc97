"""Which samples are nearest to each sample? The sparse kernel of selections over a million rows."""
