"""The grid of immutable blocks: SQL decides what is true, LanceDB holds the bytes."""
