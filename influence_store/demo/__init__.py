"""`make demo`: small open models and texts, and the main job told as a story."""
